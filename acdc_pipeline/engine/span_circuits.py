"""Forward passes of circuits whose edges live in spans.

What a receiver reads is put together span by span: in each of them, the ablated outputs of all
sources, plus the changes of those whose edge is present there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from acdc_pipeline.engine.answer_batches import OutputsOfPrompts
from acdc_pipeline.engine.components import Stream
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.receiver_forward import Bases, Outputs, ReceiverForward
from acdc_pipeline.engine.span_rows import rows_by_span
from acdc_pipeline.graph import Receiver, Topology
from acdc_pipeline.graph.flow import flow_of
from acdc_pipeline.graph.neurons import NeuronMasks
from acdc_pipeline.models.weights import TransformerWeights


class SpanCircuit(ReceiverForward):
    """A pass over the nodes of one circuit on some prompts.

    Args:
        bases: what removed edges carry, for these prompts, and its running sums.
        mask: the edges of the circuit.
        layout: of these prompts.
        neurons: which dimensions of the sources' outputs edges carry; None for all.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        bases: Bases,
        mask: Bool[np.ndarray, " edge"],
        layout: Layout,
        neurons: NeuronMasks | None = None,
    ) -> None:
        topology = weights.topology
        super().__init__(weights, None if weights.coupled else computed_in_spans(topology, mask))
        self.ablated: OutputsOfPrompts = bases.ablated
        self.bases, self.mask = bases, mask
        self.spans = rows_by_span(layout, topology.spans)
        self.changes: dict[int, Stream] = {}
        self.neurons = neurons

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        """Store by how much the outputs of `sources` differ from their ablated ones."""
        for output, source in zip(written, sources, strict=True):
            change = output - self.ablated.of(source)
            if self.neurons is not None:
                if self.neurons.basis == "centred":
                    change = change - change.mean(-1, keepdim=True)
                change = change * torch.from_numpy(self.neurons.kept[source]).to(change)
            self.changes[source] = change

    def read(self, receivers: Sequence[Receiver]) -> Outputs:
        """The inputs of `receivers`, at every position."""
        base = self.bases.at(self.n_sources, self.constant)
        total = base.expand(len(receivers), *base.shape).clone()
        rows_of_all = total.flatten(1, 2)
        for span, rows in self.spans:
            present = self._present(receivers, span)
            used = np.flatnonzero(present.any(axis=0)).tolist()
            sources = [source for source in used if source in self.changes]
            if not sources:
                continue
            changes = torch.stack([self.changes[source].flatten(0, 1) for source in sources])
            at_rows = changes if rows is None else changes.index_select(1, rows)
            mask = torch.from_numpy(present[:, sources]).to(base)
            added = torch.tensordot(mask, at_rows, dims=1)
            if rows is None:
                rows_of_all += added
            else:
                rows_of_all.index_add_(1, rows, added)
        return total

    def _present(
        self, receivers: Sequence[Receiver], span: str | None
    ) -> Bool[np.ndarray, "receiver source"]:
        found = np.zeros((len(receivers), self.n_sources), dtype=bool)
        for row, receiver in enumerate(receivers):
            first = self.topology.first_edge.get(Receiver(receiver.node, receiver.slot, span))
            if first is not None:  # `logits` is read in the spans of answers alone
                found[row] = self.mask[first : first + self.n_sources]
        return found


def computed_in_spans(
    topology: Topology, mask: Bool[np.ndarray, " edge"]
) -> Bool[np.ndarray, " src"]:
    """The sources whose output in some span reaches the logits."""
    flow, n_spans = flow_of(topology), len(topology.spans)
    computed = np.zeros(len(topology.sources), dtype=bool)
    computed[0] = True
    for edge in flow.leading_to_logits(mask.nonzero()[0].tolist()):
        computed[flow.source[edge] // n_spans] = True
    return computed


def run_span_circuits(
    weights: TransformerWeights,
    embedded: Stream,
    ablated: OutputsOfPrompts,
    masks: Bool[np.ndarray, "circuit edge"],
    layout: Layout,
    neurons: NeuronMasks | None = None,
) -> Float[Tensor, "circuit batch pos d_model"]:
    """Return the final residual streams of several circuits on the prompts of `layout`.

    Args:
        neurons: for all circuits, as in `run_circuit`.
    """
    bases = Bases(ablated)
    runs = (SpanCircuit(weights, bases, mask, layout, neurons) for mask in masks)
    return torch.stack([run.final(embedded) for run in runs])
