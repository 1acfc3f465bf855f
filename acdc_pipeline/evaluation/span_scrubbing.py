"""Causal scrubbing in graphs with spans: an edge is exchanged at the positions of its span alone.

Prompts that replace each other have the same spans at the same positions, see `exchange`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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

Positions = Sequence[tuple[str, Int[Tensor, " position"]]]
"""The spans that some prompts have, and their positions."""


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
        index = bench.layout.span_index[group[0], :length]
        places = [(name, (index == i).nonzero().flatten()) for i, name in enumerate(spans)]
        positions = [(name, at) for name, at in places if len(at)]
        clean = SpanSums(outside.restricted_to(rows), len(outputs), positions)
        of_rows = OutputsOfPrompts(outputs[:, :, :length], rows)
        for source in range(len(outputs)):
            clean.write(of_rows.of(source)[None], [source])
        embedded = embed(bench.weights, bench.prompts.clean[rows, :length])
        for mask, to in zip(circuits, finals, strict=True):
            current = SpanSums(inside.restricted_to(rows), len(outputs), positions)
            scrubbed = _ScrubbedInSpans(bench.weights, mask, clean, current)
            to[rows, :length] = scrubbed.final(embedded)
    return finals


class SpanSums:
    """For each span, sums over edges that carry their source's output there on another prompt."""

    def __init__(self, exchange: Exchange, n_sources: int, positions: Positions) -> None:
        self.positions = positions
        self.of_span = {name: ExchangedSums(exchange, n_sources) for name, _ in positions}

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        """Store the outputs of `sources`."""
        for name, at in self.positions:
            self.of_span[name].write(written[:, :, at], sources)


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
        for name, at in self.clean.positions:
            firsts = [self.topology.first_edge.get(replace(r, span=name)) for r in receivers]
            if None in firsts:  # `logits` is read in the spans of answers alone
                continue
            edges = torch.tensor(firsts)[:, None] + torch.arange(self.n_sources)
            present = self.present[edges]
            stream = self.clean.of_span[name].read(edges, ~present)
            if present.any():
                self.current.of_span[name].add_to(stream, edges, present)
            total[:, :, at] = stream
        return total if self.constant is None else total + self.constant
