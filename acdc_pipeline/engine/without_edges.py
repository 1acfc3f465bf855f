"""The whole model without some edges: what every source writes then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.forward import SourceOutputs, embed
from acdc_pipeline.engine.receiver_forward import Outputs, ReceiverForward
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
) -> SourceOutputs:
    """Run the model with these edges carrying what `ablated` holds, on the clean prompts.

    The final stream is the sum of all outputs: what the logits read if they lack no edge.
    """
    with torch.no_grad():
        run = _Without(weights, ablated, without)
        run.final(embed(weights, prompts.clean))
        return SourceOutputs(run.outputs, run.total())


class _Without(ReceiverForward):
    """The forward pass, which keeps every output."""

    def __init__(
        self,
        weights: TransformerWeights,
        ablated: Float[Tensor, "src batch pos d_model"],
        without: Without,
    ) -> None:
        super().__init__(weights)
        self.ablated, self.without = ablated, without
        self.outputs = torch.empty_like(ablated)

    def total(self) -> Float[Tensor, "batch pos d_model"]:
        """The sum of all outputs so far."""
        total = self.outputs[: self.n_sources].sum(0)
        return total if self.constant is None else total + self.constant

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        for output, source in zip(written, sources, strict=True):
            self.outputs[source] = output

    def read(self, receivers: Sequence[Receiver]) -> Outputs:
        total = self.total()[None]
        if receivers == [Receiver(LOGITS)] or self.without.keys().isdisjoint(receivers):
            return total
        inputs = total.repeat(len(receivers), 1, 1, 1)
        for at, receiver in enumerate(receivers):
            for node in self.without.get(receiver, ()):
                source = self.topology.source_index[node]
                inputs[at] += self.ablated[source] - self.outputs[source]
        return inputs
