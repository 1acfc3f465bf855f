"""The relation that a task is about, as pairs of tokens: what a prompt holds, and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.heads.copying import token_logits, token_ranks
from acdc_pipeline.heads.values import HeadValues
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.tokenization import encode, unknown_id
from acdc_pipeline.specs import TaskSpec
from acdc_pipeline.specs.generators import TableGenerator
from acdc_pipeline.specs.head_scores import TOP
from acdc_pipeline.specs.template import placeholders_of

_LEAST_TABLE_PAIRS = 4
"""Fewer pairs of single tokens are no relation."""


@dataclass(frozen=True)
class Relation:
    """Pairs of tokens: from `sources[i]` to `targets[i]`."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]


def word_pairs(task: TaskSpec) -> list[tuple[str, str]]:
    """What stands in the prompts, and the answer to it: `(France, Paris)`.

    A table of which every template uses one column, the same, and the answer another. Any other
    task declares no relation.
    """
    generator = task.generator
    if not isinstance(generator, TableGenerator) or task.answers is None:
        return []
    used = {name for text in generator.templates for name in placeholders_of(text, "templates")}
    asked = placeholders_of(task.answers.correct[0], "answers.correct")
    if len(used) != 1 or len(asked) != 1 or task.answers.correct[0] != f"{{{asked[0]}}}":
        return []
    (source,) = used
    pairs = ((row[source], row[asked[0]]) for row in generator.rows)
    return list(dict.fromkeys(pairs))


def relation_of(
    task: TaskSpec, tokenizer: PreTrainedTokenizerBase | None, vocab: int
) -> Relation | None:
    """The pairs of `task` whose words are one known token each, with a space in front.

    None where fewer than `_LEAST_TABLE_PAIRS` are left.
    """
    pairs = word_pairs(task) if tokenizer is not None else []
    if tokenizer is None or not pairs:
        return None
    unknown = unknown_id(tokenizer)
    ids = encode(tokenizer, [f" {word}" for pair in pairs for word in pair])
    kept = [
        (source[0], target[0])
        for source, target in zip(ids[::2], ids[1::2], strict=True)
        if len(source) == len(target) == 1
        and unknown not in (source[0], target[0])
        and max(source[0], target[0]) < vocab
    ]
    if len(kept) < _LEAST_TABLE_PAIRS:
        return None
    sources, targets = zip(*kept, strict=True)
    return Relation(sources, targets)


def relation_values(
    weights: TransformerWeights, relation: Relation, memory: int, task: str
) -> HeadValues:
    """Share of the pairs whose target is among a head's highest logits when it looks at the source.

    After Elhelo & Geva 2024 (arXiv 2412.11965).
    """
    sources = torch.tensor(relation.sources, device=weights.device)
    targets = torch.tensor(relation.targets, device=weights.device)
    ranks = token_ranks(weights, sources, targets, memory, most=TOP).from_top
    hits = (ranks < TOP).permute(2, 0, 1).to(torch.float64).numpy()
    return HeadValues.of_samples("relation", hits, task)


_LISTS_FILE = Path(__file__).with_name("ordered_words.txt")
"""One list a line, after Gould et al. 2023: numbers in words and digits, days, months, letters."""

_LEAST_LIST_PAIRS = 8
"""Fewer pairs of neighbours that are single tokens say nothing of a head."""

_LEAST_LIST = 3
"""A list of two words has only one other word to be confused with."""


def token_lists(tokenizer: PreTrainedTokenizerBase, vocab: int) -> list[list[int]]:
    """Runs of neighbours in the lists that are one known token each, with a space in front.

    Empty where that leaves fewer than `_LEAST_LIST_PAIRS` pairs of neighbours.
    """
    unknown = unknown_id(tokenizer)
    runs: list[list[int]] = []
    for line in _LISTS_FILE.read_text(encoding="utf-8").splitlines():
        words = line.split()
        run: list[int] = []
        for ids in [*encode(tokenizer, [f" {word}" for word in words]), ()]:
            if len(ids) == 1 and ids[0] != unknown and ids[0] < vocab and ids[0] not in run:
                run.append(ids[0])
                continue
            if len(run) >= _LEAST_LIST:
                runs.append(run)
            run = []
    return runs if sum(len(run) - 1 for run in runs) >= _LEAST_LIST_PAIRS else []


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
