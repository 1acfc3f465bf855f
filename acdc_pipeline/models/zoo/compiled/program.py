"""A compiled model before it is written: its words, weights, task and true edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from acdc_pipeline.models.zoo.compiled.builder import Builder
from acdc_pipeline.models.zoo.tokenizer import SPECIAL
from acdc_pipeline.specs.names import Ablation, HeadOrder

PromptPair = dict[str, str]
"""A line of a task's `pairs.jsonl`: clean, corrupted, correct, incorrect."""


@dataclass(frozen=True, slots=True)
class TrueEdge:
    """An edge the answer needs, why, and under which ablations removing it takes something away.

    An edge that carries the same on the clean and the corrupted prompt (a position, say) loses
    nothing when it is replaced by its corrupted self, and everything when it is set to zero.
    """

    edge: str
    why: str
    ablations: tuple[Ablation, ...] = ("corrupted", "zero", "mean")


@dataclass(frozen=True)
class Program:
    """A model whose circuit is known because its weights were set by hand.

    Args:
        name: name of the zoo model.
        title: what it computes, in a few words.
        behaviour: an example prompt and its answer.
        how: the mechanism, for people.
        task: name of the task whose prompts the model answers and the edges are true for.
        words: the vocabulary after the special tokens.
        build: writes the weights.
        edges: the true edges.
        found_by_acdc: the edges exact ACDC keeps, by order of heads inside a layer, where that
            is not the truth: it tests one edge at a time, so of two redundant paths the one it
            meets first goes, and the other stays. The same under every ablation.
        pairs: draws prompt pairs without end, for a task that is made for this model; None for
            a task of its own.
    """

    name: str
    title: str
    behaviour: str
    how: str
    task: str
    words: tuple[str, ...]
    build: Callable[[], Builder]
    edges: tuple[TrueEdge, ...]
    found_by_acdc: Mapping[HeadOrder, tuple[str, ...]] = field(default_factory=dict)
    pairs: Callable[[], Iterator[PromptPair]] | None = None

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every token in id order."""
        return (*SPECIAL, *self.words)


def token_ids(words: tuple[str, ...]) -> dict[str, int]:
    """The id of every token of a program with these words."""
    return {token: number for number, token in enumerate((*SPECIAL, *words))}
