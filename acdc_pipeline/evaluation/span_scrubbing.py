"""Causal scrubbing in graphs with spans: an edge is exchanged at the positions of its span alone.

The span of a position is that in the prompt that reads, whatever stands there in the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.answer_batches import OutputsOfPrompts
from acdc_pipeline.engine.forward import embed
from acdc_pipeline.engine.receiver_forward import Outputs, ReceiverForward
from acdc_pipeline.engine.span_circuits import computed_in_spans
from acdc_pipeline.evaluation.exchange import Exchange
from acdc_pipeline.evaluation.exchanged_sums import ExchangedSums
from acdc_pipeline.graph import Receiver
from acdc_pipeline.models.weights import TransformerWeights


@dataclass(frozen=True)
class SpanPlaces:
    """Where a span stands in some prompts.

    Args:
        positions: at which any of the prompts has it.
        here: which of the prompts has it there.
    """

    name: str
    positions: Int[Tensor, " position"]
    here: Bool[Tensor, "batch position 1"]


def scrub_in_spans(
    bench: Bench,
    circuits: Sequence[Bool[np.ndarray, " edge"]],
    outside: Exchange,
    inside: Exchange,
) -> Float[Tensor, "circuit batch pos d_model"]:
    """Return the final streams of hypotheses; arguments are those of `scrubbed_logits`."""
    spans = bench.weights.topology.spans
    assert bench.layout.span_index is not None
    outputs, final = bench.clean.outputs, bench.clean.final
    finals = final.new_zeros(len(circuits), *final.shape)
    for group in outside.pool.members:
        rows, length = list(group), int(bench.prompts.lengths[group[0]])
        places = _places(spans, bench.layout.span_index[rows, :length])
        clean = SpanSums(outside.restricted_to(rows), len(outputs), places)
        of_rows = OutputsOfPrompts(outputs[:, :, :length], rows)
        for source in range(len(outputs)):
            clean.write(of_rows.of(source)[None], [source])
        embedded = embed(bench.weights, bench.prompts.clean[rows, :length])
        for mask, to in zip(circuits, finals, strict=True):
            current = SpanSums(inside.restricted_to(rows), len(outputs), places)
            scrubbed = _ScrubbedInSpans(bench.weights, mask, clean, current)
            to[rows, :length] = scrubbed.final(embedded)
    return finals


def _places(spans: Sequence[str], index: Int[Tensor, "batch pos"]) -> list[SpanPlaces]:
    """The spans that any of some prompts has."""
    found = []
    for number, name in enumerate(spans):
        here = index == number
        positions = here.any(0).nonzero().flatten()
        if len(positions):
            found.append(SpanPlaces(name, positions, here[:, positions, None]))
    return found


class SpanSums:
    """For each span, sums over edges that carry their source's output there on another prompt."""

    def __init__(self, exchange: Exchange, n_sources: int, places: Sequence[SpanPlaces]) -> None:
        self.places = places
        self.of_span = {place.name: ExchangedSums(exchange, n_sources) for place in places}

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        """Store the outputs of `sources`."""
        for place in self.places:
            self.of_span[place.name].write(written[:, :, place.positions], sources)


class _ScrubbedInSpans(ReceiverForward):
    """As `_Scrubbed` of `causal_scrubbing`, with the edges of each span at its positions."""

    def __init__(
        self,
        weights: TransformerWeights,
        present: Bool[np.ndarray, " edge"],
        clean: SpanSums,
        current: SpanSums,
    ) -> None:
        needed = None if weights.coupled else computed_in_spans(weights.topology, present)
        super().__init__(weights, needed)
        self.present = torch.from_numpy(present)
        self.clean, self.current = clean, current

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        if self.present.any():
            self.current.write(written, sources)
        self.shape = written.shape[1:]

    def read(self, receivers: Sequence[Receiver]) -> Outputs:
        total = self.weights.w_e.new_zeros(len(receivers), *self.shape, dtype=self.weights.dtype)
        for place in self.clean.places:
            name = place.name
            firsts = [self.topology.first_edge.get(replace(r, span=name)) for r in receivers]
            if None in firsts:  # `logits` is read in the spans of answers alone
                continue
            edges = torch.tensor(firsts)[:, None] + torch.arange(self.n_sources)
            present = self.present[edges]
            stream = self.clean.of_span[name].read(edges, ~present)
            if present.any():
                self.current.of_span[name].add_to(stream, edges, present)
            total[:, :, place.positions] += stream * place.here
        return total if self.constant is None else total + self.constant
