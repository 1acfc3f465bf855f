"""The relation that a task is about, as pairs of tokens: what a prompt holds, and its answer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.heads.token_ranks import token_ranks
from acdc_pipeline.heads.values import HeadValues
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.tokenization import encode, unknown_id
from acdc_pipeline.specs import TaskSpec
from acdc_pipeline.specs.generators import TableGenerator
from acdc_pipeline.specs.head_scores import TOP
from acdc_pipeline.specs.template import placeholders_of

LEAST_PAIRS = 4
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

    None where fewer than `LEAST_PAIRS` are left.
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
    if len(kept) < LEAST_PAIRS:
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
