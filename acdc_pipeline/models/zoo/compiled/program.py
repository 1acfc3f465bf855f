"""A compiled model before it is written: its words, weights, task, true edges and heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from acdc_pipeline.models.zoo.compiled.builder import Builder
from acdc_pipeline.models.zoo.tokenizer import SPECIAL
from acdc_pipeline.specs.names import Ablation, HeadOrder

PromptPair = dict[str, str]
"""A line of a task's `pairs.jsonl`: clean, corrupted, correct, incorrect."""

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
"""What a head does by construction, on any tokens.

`previous-token`, `current-token` and `sink` look nowhere but there (from position 1 on);
`duplicate-token` nowhere but at the earlier place of the current token, at <bos> if it has none;
`induction` nowhere but at the token behind that place, likewise; `uniform` looks everywhere alike.
`idle` writes nothing. `copying` raises the logit of the token it looks at and no other more,
`suppressing` lowers it. `backup` writes where the head it stands in for writes nothing, and
nothing else.
"""


@dataclass(frozen=True, slots=True)
class TrueEdge:
    """An edge the answer needs, why, and under which ablations removing it takes something away.

    An edge that carries the same on the clean and the corrupted prompt (a position, say) loses
    nothing when it is replaced by its corrupted self, and everything when it is set to zero.

    Of several redundant paths, `path` names the one that the edge belongs to; an edge without is
    on all of them.
    """

    edge: str
    why: str
    ablations: tuple[Ablation, ...] = ("corrupted", "zero", "mean")
    path: str | None = None


@dataclass(frozen=True, slots=True)
class BuiltHead:
    """A head whose behaviour on any tokens is known: its scores have closed-form values."""

    head: str
    kinds: tuple[HeadKind, ...]
    why: str


@dataclass(frozen=True)
class Program:
    """A model whose circuit is known because its weights were set by hand.

    Args:
        name: name of the zoo model.
        title: what it computes, in a few words.
        shows: the shape of its circuit: what a method is tested on.
        behaviour: an example prompt and its answer.
        how: the mechanism, for people.
        task: name of the task whose prompts the model answers and the edges are true for.
        words: the vocabulary after the special tokens.
        build: writes the weights.
        edges: the true edges.
        heads: the heads that do something known on any tokens.
        found_by_acdc: the edges exact ACDC keeps, by order of heads inside a layer, where that
            is not the truth: it tests one edge at a time, so of two redundant paths the one it
            meets first goes, and the other stays. The same under every ablation.
        found_because: why ACDC keeps those, for people.
        pairs: draws prompt pairs without end, for a task that no other generator expresses.
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
        """Every token in id order."""
        return (*SPECIAL, *self.words)

    @property
    def has_own_task(self) -> bool:
        """Whether the task was made for this model, so that its circuit is this one."""
        return self.task == self.name.replace("-", "_")

    @property
    def paths(self) -> tuple[str, ...]:
        """The names of the redundant paths; none where every edge is needed."""
        return tuple(dict.fromkeys(edge.path for edge in self.edges if edge.path is not None))


def token_ids(words: tuple[str, ...]) -> dict[str, int]:
    """The id of every token of a program with these words."""
    return {token: number for number, token in enumerate((*SPECIAL, *words))}
