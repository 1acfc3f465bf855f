"""Lists of words in order, and how well each head knows the next one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.heads.token_ranks import token_logits
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.tokenization import encode, unknown_id

LISTS_FILE = Path(__file__).with_name("ordered_words.txt")
"""One list a line, after Gould et al. 2023: numbers in words and digits, days, months, letters."""

LEAST_PAIRS = 8
"""Fewer pairs of neighbours that are single tokens say nothing of a head."""

LEAST_LIST = 3
"""A list of two words has only one other word to be confused with."""


def token_lists(tokenizer: PreTrainedTokenizerBase, vocab: int) -> list[list[int]]:
    """Runs of neighbours in the lists that are one known token each, with a space in front.

    Empty where that leaves fewer than `LEAST_PAIRS` pairs of neighbours.
    """
    unknown = unknown_id(tokenizer)
    runs: list[list[int]] = []
    for line in LISTS_FILE.read_text(encoding="utf-8").splitlines():
        words = line.split()
        run: list[int] = []
        for ids in [*encode(tokenizer, [f" {word}" for word in words]), ()]:
            if len(ids) == 1 and ids[0] != unknown and ids[0] < vocab and ids[0] not in run:
                run.append(ids[0])
                continue
            if len(run) >= LEAST_LIST:
                runs.append(run)
            run = []
    return runs if sum(len(run) - 1 for run in runs) >= LEAST_PAIRS else []


def successor_scores(
    weights: TransformerWeights, lists: Sequence[Sequence[int]]
) -> Float64[np.ndarray, "sample layer head"]:
    """For each word but the last of each list, whether its successor beats all words of the list.

    1 where it does, strictly, else 0.
    """
    layers = []
    for layer in range(len(weights.blocks)):
        found = []
        for ids in lists:
            words = torch.tensor(ids, device=weights.device)
            logits = token_logits(weights, layer, words[:-1], words)
            at = torch.arange(len(ids) - 1, device=weights.device)
            right = logits[:, at, at + 1].clone()
            logits[:, at, at + 1] = -torch.inf
            found.append((right > logits.amax(-1)).T)
        layers.append(torch.cat(found))
    return torch.stack(layers, dim=1).cpu().to(torch.float64).numpy()
