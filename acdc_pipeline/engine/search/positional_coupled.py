"""The search in a graph with spans for models whose heads change one another.

Every state runs the whole suffix at every row, as in `coupled_search`. A receiver reads, in each
visited span, the edges kept there; in the other spans every source, dead ones included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.layout import Needed
from acdc_pipeline.engine.search.coupled_search import CoupledSearch, Stream
from acdc_pipeline.graph import Node, Receiver


class PositionalCoupledSearch(CoupledSearch):
    """Correct for every model, but slower than `PositionalSearch` where heads are independent.

    The keys of `inputs` are receivers without their span, whose rows are those of all spans.
    """

    @cached_property
    def _rows_of(self) -> dict[str | None, Float[Tensor, "rows 1"]]:
        """For each span, 1 at its rows and 0 elsewhere."""
        assert self.layout.span_index is not None
        index = self.layout.span_index.flatten()[:, None]
        names = self.topology.spans
        return {name: (index == i).to(self.difference) for i, name in enumerate(names)}

    def key(self, receiver: Receiver) -> Receiver:
        """The receiver without its span."""
        return replace(receiver, span=None)

    def carried(
        self, receiver: Receiver, changed: Mapping[Node, Stream], stream: Stream, needed: Needed
    ) -> Stream:
        """What a receiver reads in all spans, at the rows where it is needed."""
        at_rows = self.needed(receiver)
        visited = [r for r in self.topology.in_spans([receiver]) if r in self.kept]
        masks = {r: self.layout.select(self._rows_of[r.span], at_rows) for r in visited}
        elsewhere = 1 - sum(masks.values())
        unread = self.unvisited_change(receiver, changed, stream)
        total = self.inputs[receiver][None] + self.layout.select(unread, needed) * elsewhere
        for source, rows in changed.items():
            kept = [masks[r] for r in visited if source in self.kept[r]]
            if kept:
                total = total + self.layout.select(rows, needed) * sum(kept)
        return total

    def lacks(self, receiver: Receiver) -> bool:
        return any(one in self.without for one in self.topology.in_spans([receiver]))

    def clean_stream(self, receiver: Receiver) -> Float[Tensor, "rows d_model"]:
        stream = self.streams.read_by(receiver).flatten(0, 1)
        for one in self.topology.in_spans([receiver]):
            for source in self.without.get(one, ()):
                difference = self.difference[self.topology.source_index[source]]
                stream = stream + difference * self._rows_of[one.span]
        return stream

    def unvisited_change(
        self, receiver: Receiver, changed: Mapping[Node, Stream], stream: Stream
    ) -> Stream:
        every = stream.shape[1] == self.layout.n_rows(Needed.EVERY)
        for one in self.topology.in_spans([receiver]):
            if one in self.kept:
                continue
            rows = self._rows_of[one.span]
            for source in self.without.get(one, ()):
                if source in changed:
                    at = rows if every else self.layout.at_answers(rows)
                    stream = stream - changed[source] * at
        return stream

    def _open(self, receiver: Receiver) -> None:
        if self.key(receiver) not in self.inputs:
            super()._open(self.key(receiver))

    def _at_rows(
        self, receiver: Receiver, outputs: Float[Tensor, "*src rows d_model"]
    ) -> Float[Tensor, "*src needed d_model"]:
        """Outputs of sources at the rows of a receiver's span, 0 elsewhere."""
        return super()._at_rows(receiver, outputs * self._rows_of[receiver.span])
