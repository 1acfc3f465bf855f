"""The rows of each span: token positions of all prompts, padded to equally many per prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.graph.spans import GraphSpans
from acdc_pipeline.prompts.spans import Spans


def graph_spans(spans: Spans, bidirectional: bool) -> GraphSpans:
    """Return the spans of a graph from those of prompts; tokens may see later ones."""
    sees = [spans.names] * len(spans.names) if bidirectional else spans.sees
    return GraphSpans(spans.names, spans.answers, tuple(map(" ".join, sees)))


@dataclass(frozen=True)
class SpanRows:
    """The positions of one span in every prompt.

    A prompt with fewer of them than another is padded: with its first position, whose values are
    computed and never used.

    Args:
        positions: of the span's tokens in each prompt, in order.
        real: which of them belong to the span.
        pos: number of positions of a prompt.
    """

    positions: Int[Tensor, "batch count"]
    real: Bool[Tensor, "batch count"]
    pos: int

    @property
    def shape(self) -> tuple[int, int]:
        """Prompts, and positions in each."""
        batch, count = self.positions.shape
        return batch, count

    @property
    def n_rows(self) -> int:
        """The number of rows, those that are padded included."""
        return self.positions.numel()

    @cached_property
    def rows(self) -> Int[Tensor, " row"]:
        """The place of each row among the rows of all positions."""
        prompts = torch.arange(len(self.positions), device=self.positions.device)
        return (prompts[:, None] * self.pos + self.positions).flatten()

    @cached_property
    def real_rows(self) -> Int[Tensor, " some"]:
        """The places among the rows of all positions, without padding."""
        return self.rows[self.real.flatten()]

    @cached_property
    def real_places(self) -> Int[Tensor, " some"]:
        """The numbers of the rows that are no padding."""
        return self.real.flatten().nonzero().flatten()

    @cached_property
    def all_real(self) -> bool:
        """Whether no row is padded."""
        return bool(self.real.all())

    def select(
        self,
        x: Float[Tensor, "*lead rows width"],
        out: Float[Tensor, "*lead row width"] | None = None,
    ) -> Float[Tensor, "*lead row width"]:
        """The rows of the span out of those of all positions, written to `out` if it is given."""
        return torch.index_select(x, -2, self.rows, out=out)

    def scatter(
        self, into: Float[Tensor, "*lead rows width"], x: Float[Tensor, "*lead row width"]
    ) -> None:
        """Replace the rows of the span among those of all positions, in place."""
        if not self.all_real:
            x = x.index_select(-2, self.real_places)
        into.index_copy_(into.dim() - 2, self.real_rows, x)


def rows_by_span(
    layout: Layout, names: Sequence[str], prompts: slice = slice(None)
) -> list[tuple[str | None, Int[Tensor, " row"] | None]]:
    """Return each span with its rows among the positions of some prompts, padding left out.

    None stands for no span, and for every row: those of a graph without spans, or of one.
    """
    if layout.span_index is None or len(names) < 2:
        return [(names[0] if names else None, None)]
    index = layout.span_index[prompts].flatten()
    return [(name, (index == i).nonzero().flatten()) for i, name in enumerate(names)]


def masks_by_span(
    layout: Layout, names: Sequence[str], prompts: slice = slice(None)
) -> list[tuple[str | None, Bool[Tensor, "batch pos 1"] | None]]:
    """Return each span with a mask of its positions in some prompts; None as in `rows_by_span`."""
    if layout.span_index is None or len(names) < 2:
        return [(names[0] if names else None, None)]
    index = layout.span_index[prompts][..., None]
    return [(name, index == i) for i, name in enumerate(names)]


@dataclass(frozen=True)
class SpanAnswers:
    """The answers that are predicted in one span.

    Args:
        answers: their numbers.
        places: the row of each among the rows of the span.
    """

    answers: Int[Tensor, " some"]
    places: Int[Tensor, " some"]


def rows_of_spans(layout: Layout, names: Sequence[str]) -> dict[str, SpanRows]:
    """Return the rows of each span, by its name; a span that no prompt has is padding alone."""
    assert layout.span_index is not None
    found: dict[str, SpanRows] = {}
    for number, name in enumerate(names):
        here = layout.span_index == number
        count = max(1, int(here.sum(1).max()))
        positions = (~here).to(torch.uint8).argsort(dim=1, stable=True)[:, :count]
        real = here.gather(1, positions)
        found[name] = SpanRows(positions.where(real, torch.zeros_like(positions)), real, layout.pos)
    return found


def answers_in_span(layout: Layout, span: SpanRows) -> SpanAnswers:
    """Return the answers that are predicted at positions of `span`."""
    number = torch.full((layout.batch * layout.pos,), -1, device=span.rows.device)
    number[span.real_rows] = span.real_places
    places = number[layout.answer_index]
    answers = (places >= 0).nonzero().flatten()
    return SpanAnswers(answers, places[answers])
