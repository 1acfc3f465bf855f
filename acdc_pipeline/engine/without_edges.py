"""The whole model without some edges: what every source writes then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.forward import SourceOutputs, embed
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.receiver_forward import Outputs, ReceiverForward
from acdc_pipeline.engine.span_rows import rows_by_span
from acdc_pipeline.engine.spill import Spill, empty
from acdc_pipeline.graph import LOGITS, Edge, Node, Receiver
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.prompt_set import PromptSet

Without = Mapping[Receiver, Sequence[Node]]
"""For each receiver that lacks edges, the sources that it does not read."""


def by_receiver(edges: Iterable[Edge]) -> dict[Receiver, list[Node]]:
    """Return the sources of some edges by receiver."""
    found: dict[Receiver, list[Node]] = {}
    for edge in edges:
        found.setdefault(edge.receiver, []).append(edge.src)
    return found


def run_without(
    weights: TransformerWeights,
    prompts: PromptSet,
    ablated: Float[Tensor, "src batch pos d_model"],
    without: Without,
    layout: Layout,
    spill: Spill | None = None,
) -> SourceOutputs:
    """Run the model with these edges carrying what `ablated` holds, on the clean prompts.

    The final stream is the sum of all outputs: what the logits read if they lack no edge.

    Args:
        layout: of the prompts, with the rows of spans.
        spill: where outputs are kept; None for the device's memory.
    """
    outputs = empty(tuple(ablated.shape), ablated, spill)
    rows = dict(rows_by_span(layout, weights.topology.spans))
    with torch.no_grad():
        run = _Without(weights, ablated, without, rows, outputs)
        run.final(embed(weights, prompts.clean))
        return SourceOutputs(run.outputs, run.total())


class _Without(ReceiverForward):
    """The forward pass, which keeps every output."""

    def __init__(
        self,
        weights: TransformerWeights,
        ablated: Float[Tensor, "src batch pos d_model"],
        without: Without,
        rows: Mapping[str | None, Int[Tensor, " row"] | None],
        outputs: Float[Tensor, "src batch pos d_model"],
    ) -> None:
        super().__init__(weights)
        self.ablated, self.outputs = ablated, outputs
        self.absent: dict[Receiver, list[tuple[int, Int[Tensor, " row"] | None]]] = {}
        for receiver, nodes in without.items():
            absent = self.absent.setdefault(replace(receiver, span=None), [])
            absent += [(self.topology.source_index[n], rows[receiver.span]) for n in nodes]

    def total(self) -> Float[Tensor, "batch pos d_model"]:
        """The sum of all outputs so far."""
        total = self.outputs[: self.n_sources].sum(0)
        return total if self.constant is None else total + self.constant

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        for output, source in zip(written, sources, strict=True):
            self.outputs[source] = output

    def read(self, receivers: Sequence[Receiver]) -> Outputs:
        total = self.total()[None]
        if receivers == [Receiver(LOGITS)] or self.absent.keys().isdisjoint(receivers):
            return total
        inputs = total.repeat(len(receivers), 1, 1, 1)
        for at, receiver in enumerate(receivers):
            for source, rows in self.absent.get(receiver, ()):
                difference = (self.ablated[source] - self.outputs[source]).flatten(0, 1)
                if rows is None:
                    inputs[at] += difference.view_as(inputs[at])
                else:
                    inputs[at].flatten(0, 1)[rows] += difference[rows]
        return inputs
