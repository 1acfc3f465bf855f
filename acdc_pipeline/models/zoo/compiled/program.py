"""A compiled model before it is written: vocabulary, weights, task, true edges and heads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from acdc_pipeline.models.zoo.compiled.builder import Builder
from acdc_pipeline.models.zoo.tokenizer import SPECIAL
from acdc_pipeline.specs.names import Ablation, HeadOrder

PromptPair = dict[str, Any]
"""A line of a task's `pairs.jsonl`: clean, corrupted, correct, incorrect, spans."""

HeadKind = Literal[
    "previous-token",
    "duplicate-token",
    "current-token",
    "induction",
    "sink",
    "uniform",
    "idle",
    "copying",
    "suppressing",
    "backup",
]
"""Behaviour of a head on any tokens, by construction.

`previous-token`, `current-token` and `sink` attend only to that position (from position 1 on);
`duplicate-token` only to the earlier occurrence of the current token, to <bos> if there is none;
`induction` only to the token after that occurrence, likewise; `uniform` equally to all positions.
`idle` writes nothing. `copying` raises the logit of the attended token most, `suppressing` lowers
it. `backup` writes only where the head that it replaces writes nothing.
"""


@dataclass(frozen=True, slots=True)
class TrueEdge:
    """An edge that the answer needs, with the reason and the ablations under which it matters.

    An edge that carries the same value on the clean and the corrupted prompt, such as a position,
    matters when it is set to zero, but not when it is replaced by its corrupted value.

    `path` names the one of several redundant paths to which the edge belongs; None means all.

    `at` names the spans at which it matters under `corrupted` ablation, when it is removed in one
    span alone, separated by spaces. Without `ablations` it matters only so: removed at all tokens
    together it changes nothing.
    """

    edge: str
    why: str
    ablations: tuple[Ablation, ...] = ("corrupted", "zero", "mean")
    path: str | None = None
    at: str = ""

    @property
    def with_spans(self) -> tuple[str, ...]:
        """The names of the edge in each span of `at`."""
        return tuple(f"{self.edge}@{span}" for span in self.at.split())


@dataclass(frozen=True, slots=True)
class BuiltHead:
    """A head with known behaviour on any tokens: its scores have closed-form values."""

    head: str
    kinds: tuple[HeadKind, ...]
    why: str


@dataclass(frozen=True)
class Program:
    """A model whose circuit is known because its weights were set by hand.

    Args:
        name: name of the zoo model.
        title: short description of the computation.
        shows: property of the circuit on which methods are tested.
        behaviour: example prompt and answer.
        how: description of the mechanism.
        task: name of the task for whose prompts the edges are true.
        words: vocabulary after the special tokens.
        build: function that sets the weights.
        edges: true edges.
        heads: heads with known behaviour on any tokens.
        found_by_acdc: edges that exact ACDC keeps, by order of heads inside a layer, where they
            are not the truth: ACDC tests one edge at a time, removes the first of two redundant
            paths and keeps the other. The same under every ablation.
        found_because: explanation of `found_by_acdc`.
        pairs: endless generator of prompt pairs, for tasks that no other generator expresses.
    """

    name: str
    title: str
    shows: str
    behaviour: str
    how: str
    task: str
    words: tuple[str, ...]
    build: Callable[[], Builder]
    edges: tuple[TrueEdge, ...]
    heads: tuple[BuiltHead, ...] = ()
    found_by_acdc: Mapping[HeadOrder, tuple[str, ...]] = field(default_factory=dict)
    found_because: str = ""
    pairs: Callable[[], Iterator[PromptPair]] | None = None

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """All tokens in id order."""
        return (*SPECIAL, *self.words)

    @property
    def has_own_task(self) -> bool:
        """Whether the task was made for this model."""
        return self.task == self.name.replace("-", "_")

    @property
    def paths(self) -> tuple[str, ...]:
        """Names of the redundant paths; empty if every edge is needed."""
        return tuple(dict.fromkeys(edge.path for edge in self.edges if edge.path is not None))


def token_ids(words: tuple[str, ...]) -> dict[str, int]:
    """Return the id of every token of a program with these words."""
    return {token: number for number, token in enumerate((*SPECIAL, *words))}


def prompt_pair(
    clean: Iterable[str],
    corrupted: Iterable[str],
    correct: str,
    incorrect: str,
    spans: Iterable[str],
) -> PromptPair:
    """Return a pair of prompts given as words, with answers that begin with a space.

    Args:
        spans: the span of each of the first clean words; empty for those without a name.
    """
    positions: dict[str, list[int]] = {}
    for position, name in enumerate(spans, start=1):  # <bos> is token 0
        if name:
            positions.setdefault(name, []).append(position)
    return {
        "clean": " ".join(clean),
        "corrupted": " ".join(corrupted),
        "correct": f" {correct}",
        "incorrect": f" {incorrect}",
        "spans": positions,
    }
