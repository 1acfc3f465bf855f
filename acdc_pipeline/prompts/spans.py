"""Spans: named sets of token positions that every prompt is divided into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress

import torch
from jaxtyping import Int
from torch import Tensor

from acdc_pipeline.errors import PromptError

PADDING = -1
"""The span of padding."""


@dataclass(frozen=True)
class Spans:
    """The span of every token; each token without padding belongs to exactly one.

    A span has the same name in every prompt whatever its positions, and may be missing in some.

    Args:
        names: the spans by their mean position as a share of the prompt's length, first to last.
        index: the number of the span of each clean token, -1 at padding.
        answers: the spans in which answers are predicted, in the order of `names`.
        sees: for each span, the spans with a token before or at one of its own in some prompt, in
            the order of `names`. Like `answers` it stays when prompts are picked, as a graph does.
    """

    names: tuple[str, ...]
    index: Int[Tensor, "batch pos"]
    answers: tuple[str, ...] = ()
    sees: tuple[tuple[str, ...], ...] = ()

    def to(self, device: torch.device) -> Spans:
        """Return the spans on another device."""
        return replace(self, index=self.index.to(device))

    def pick_rows(self, rows: Int[Tensor, " some"]) -> Spans:
        """Return the spans of the prompts in `rows`, in that order; all names stay."""
        return replace(self, index=self.index[rows])

    def names_of(self, row: int) -> list[str]:
        """Return the name of the span of each token of the prompt in `row`, without padding."""
        return [self.names[number] for number in self.index[row].tolist() if number != PADDING]

    def seen_by(self, name: str) -> tuple[str, ...]:
        """Return the spans that span `name` sees."""
        return self.sees[self.names.index(name)]

    def positions_of(self, row: int) -> dict[str, list[int]]:
        """Return the positions of each span of the prompt in `row`, without spans it lacks."""
        found: dict[str, list[int]] = {}
        for position, name in enumerate(self.names_of(row)):
            found.setdefault(name, []).append(position)
        return found


def spans_from_names(rows: Sequence[Sequence[str]], width: int) -> Spans:
    """Return the spans of prompts whose tokens have these names.

    Args:
        rows: the name of each token of each prompt, without padding.
        width: number of positions with padding.
    """
    places: dict[str, list[float]] = {}
    for row in rows:
        for position, name in enumerate(row):
            places.setdefault(name, []).append(position / len(row))
    names = sorted(places, key=lambda name: sum(places[name]) / len(places[name]))
    number = {name: i for i, name in enumerate(names)}
    padded = [[*map(number.__getitem__, row), *[PADDING] * (width - len(row))] for row in rows]
    return Spans(tuple(names), torch.tensor(padded))


def with_answers(
    spans: Spans, answer_row: Int[Tensor, " answer"], answer_pos: Int[Tensor, " answer"]
) -> Spans:
    """Return spans that know where answers are predicted, and which of them see which."""
    numbers = set(spans.index[answer_row, answer_pos].tolist())
    n_spans, (n_prompts, width) = len(spans.names), spans.index.shape
    first = torch.full((n_spans, n_prompts), width)
    last = torch.full((n_spans, n_prompts), -1)
    for number in range(n_spans):
        here, positions = spans.index == number, torch.arange(width)
        first[number] = torch.where(here, positions, width).amin(1)
        last[number] = torch.where(here, positions, -1).amax(1)
    visible = (first[None] <= last[:, None]).any(-1).tolist()
    return replace(
        spans,
        answers=tuple(name for i, name in enumerate(spans.names) if i in numbers),
        sees=tuple(tuple(compress(spans.names, row)) for row in visible),
    )


def in_spans_of(spans: Spans, others: Spans) -> Spans:
    """Return spans with the names, answers and visible spans of `others`, followed by their own.

    A span of `others` that no prompt has stays without a token.
    """
    names = (*others.names, *(name for name in spans.names if name not in others.names))
    new = torch.tensor([names.index(name) for name in spans.names])
    index = new[spans.index.clamp(min=0)].where(spans.index != PADDING, PADDING)
    seen = [
        {*(one for each in (others, spans) if name in each.names for one in each.seen_by(name))}
        for name in names
    ]
    return Spans(
        names,
        index,
        tuple(name for name in names if name in {*others.answers, *spans.answers}),
        tuple(tuple(one for one in names if one in visible) for visible in seen),
    )


def token_spans(lengths: Sequence[int], width: int, name: str, named: bool = False) -> Spans:
    """Return a span `t0`, `t1`, … for each position of prompts that have one length.

    Args:
        lengths: number of tokens of each prompt.
        width: number of positions with padding.
        name: name of the task in the error.
        named: whether the prompts name spans, which the error then proposes.

    Raises:
        PromptError: the prompts differ in length.
    """
    different = sorted(set(lengths))
    if len(different) > 1:
        raise PromptError(
            "the prompts differ in length: "
            + ", ".join(f"{lengths.count(n)} of {n} tokens" for n in different),
            where=name,
            field="positions",
            allowed="tokens for prompts of one length",
            fix="use positions 'spans', or prompts of one length"
            if named
            else "let `acdc tasks spans FILE` propose spans for positions 'spans', or use prompts "
            "of one length",
        )
    return spans_from_names([[f"t{i}" for i in range(n)] for n in lengths], width)
