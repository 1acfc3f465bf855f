"""Scores of heads' knowledge of relations between tokens: a task's own, and successors in lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.heads.copying import are_top, rank_tokens, token_logits
from acdc_pipeline.heads.folded import available_values
from acdc_pipeline.heads.values import HeadValues, on_every_layer
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.tokenization import encode, unknown_id
from acdc_pipeline.specs import TaskSpec
from acdc_pipeline.specs.generators import TableGenerator
from acdc_pipeline.specs.head_scores import TOP
from acdc_pipeline.specs.template import placeholders_of

_LEAST_TABLE_PAIRS = 4
"""The least number of pairs of single tokens that make a relation."""


@dataclass(frozen=True)
class Relation:
    """Pairs of tokens: from `sources[i]` to `targets[i]`."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]


def word_pairs(task: TaskSpec) -> list[tuple[str, str]]:
    """The words of a prompt and of its answer, for instance `(France, Paris)`.

    Empty unless the task is a table of which every template uses the same single column, and the
    answer another.
    """
    generator = task.generator
    if not isinstance(generator, TableGenerator) or task.answers is None:
        return []
    used = {name for text in generator.templates for name in placeholders_of(text, "templates")}
    answers = placeholders_of(task.answers.correct[0], "answers.correct")
    if len(used) != 1 or len(answers) != 1 or task.answers.correct[0] != f"{{{answers[0]}}}":
        return []
    (source,) = used
    pairs = ((row[source], row[answers[0]]) for row in generator.rows)
    return list(dict.fromkeys(pairs))


def task_relation(
    task: TaskSpec, tokenizer: PreTrainedTokenizerBase | None, vocab: int
) -> Relation | None:
    """The pairs of `task` whose words are one known token each, with a leading space.

    None if fewer than `_LEAST_TABLE_PAIRS` are left.
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
    """The share of pairs whose target is among the highest logits of a head that reads the source.

    After Elhelo & Geva 2024 (arXiv 2412.11965).
    """
    sources = torch.tensor(relation.sources, device=weights.device)
    targets = torch.tensor(relation.targets, device=weights.device)
    ranks = rank_tokens(weights, sources, targets, memory, most=TOP).from_top
    samples = available_values(weights, are_top(weights, ranks), "ov")
    return HeadValues.of_samples("relation", samples, task)


_LISTS_FILE = Path(__file__).with_name("ordered_words.txt")
"""A list per line, after Gould et al. 2023: numbers in words and digits, days, months, letters."""

_LEAST_LIST_PAIRS = 8
"""The least number of neighbouring single tokens for which a head is scored."""

_LEAST_LIST = 3
"""The shortest list: in one of two words, only one could be confused with the successor."""


def token_lists(tokenizer: PreTrainedTokenizerBase, vocab: int) -> list[list[int]]:
    """The parts of the lists whose words are one known token each, with a leading space.

    Empty if they hold fewer than `_LEAST_LIST_PAIRS` pairs of neighbours.
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


def successor_values(
    weights: TransformerWeights, lists: Sequence[Sequence[int]]
) -> list[HeadValues]:
    """The score `successor`; none without lists."""
    if not lists:
        return []
    samples = available_values(weights, successor_scores(weights, lists), "ov")
    return [HeadValues.of_samples("successor", samples)]


def successor_scores(
    weights: TransformerWeights, lists: Sequence[Sequence[int]]
) -> Float64[np.ndarray, "sample layer head"]:
    """For each word with a successor, 1 if it has the highest logit of the list, else 0."""
    layers = []
    for layer in weights.topology.layers_with_heads:
        found = []
        for ids in lists:
            words = torch.tensor(ids, device=weights.device)
            logits = token_logits(weights, layer, words[:-1], words)
            at = torch.arange(len(ids) - 1, device=weights.device)
            right = logits[:, at, at + 1].clone()
            logits[:, at, at + 1] = -torch.inf
            found.append((right > logits.amax(-1)).T)
        layers.append(torch.cat(found))
    values = torch.stack(layers, dim=1).cpu().to(torch.float64).numpy()
    return on_every_layer(weights.topology, values)
