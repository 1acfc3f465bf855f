"""Gates on every edge the plain way: one forward that autograd goes back through.

A gate of 1 lets a source's current output through, 0 its ablated one, and in between a mixture. At
gates of 0 and 1 alone it is `run_circuit`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.attention import attend, visible_keys
from acdc_pipeline.engine.components import normalise
from acdc_pipeline.engine.forward import embed, run_mlp
from acdc_pipeline.engine.slots import Slots, project_slot
from acdc_pipeline.graph import SLOTS
from acdc_pipeline.models.weights import Block, TransformerWeights

Stream = Float[Tensor, "batch pos d_model"]
Outputs = Float[Tensor, "n batch pos d_model"]


def run_edge_gates(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    ablated: Float[Tensor, "src batch pos d_model"],
    gates: Float[Tensor, " edge"],
) -> Stream:
    """The final residual stream, each edge gated; `gates` in the order of the topology's edges."""
    return _EdgeGated(weights, ablated, gates).final(embed(weights, tokens))


def run_edge_probes(
    weights: TransformerWeights,
    embedded: Float[Tensor, "batch pos d_model"],
    ablated: Float[Tensor, "src batch pos d_model"],
    present: Float[Tensor, " edge"],
    probes: Float[Tensor, " edge"],
    steps: Float[Tensor, "src batch pos d_model"],
) -> Stream:
    """The final residual stream of a circuit, each receiver reading a share of `steps` as well.

    Args:
        weights: the model.
        embedded: what `input` writes.
        ablated: what a removed edge carries.
        present: 1 for an edge of the circuit, 0 for a removed one.
        probes: how much of the step of its source each edge adds to what its receiver reads. At 0
            the gradient by a probe is the step times the gradient of what the receiver reads.
        steps: one for each source.
    """
    return _EdgeProbed(weights, ablated, present, probes, steps).final(embedded)


def written_in_circuit(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    ablated: Float[Tensor, "src batch pos d_model"],
    present: Float[Tensor, " edge"],
) -> Float[Tensor, "src batch pos d_model"]:
    """What every source writes in the circuit of the edges whose `present` is 1."""
    run = _EdgeGated(weights, ablated, present)
    run.final(embed(weights, tokens))
    return torch.cat(run.changes) + ablated


class _EdgeGated:
    """A forward under way: what was written so far, and how many gates were used.

    Args:
        weights: the model.
        ablated: what a closed gate lets through.
        gates: of every edge.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        ablated: Float[Tensor, "src batch pos d_model"],
        gates: Float[Tensor, " edge"],
    ) -> None:
        self.weights = weights
        self.ablated = ablated
        self.gates = gates
        self.n_gates = 0
        self.n_sources = 0
        self.changes: list[Outputs] = []
        self.base: Stream = torch.zeros_like(ablated[0])

    def final(self, embedded: Stream) -> Stream:
        self.write(embedded[None])
        for block in self.weights.blocks:
            written = self.heads(block)
            if not self.weights.parallel:
                self.write(written, block.attention.b_o)
            by_mlp = None if block.mlp is None else run_mlp(block, self.received(1))
            if self.weights.parallel:
                self.write(written, block.attention.b_o)
            if by_mlp is not None:
                self.write(by_mlp)
        return self.received(1)[0]

    def heads(self, block: Block) -> Outputs:
        """What the heads of a layer write, each slot of each from its own input."""
        heads = range(self.weights.topology.n_heads)
        slots: Slots = {}
        for slot in SLOTS:
            x = normalise(self.received(len(heads)), block.norm_attn)
            rows = project_slot(block.attention, slot, heads, x.flatten(1, 2))
            slots[slot] = rows.unflatten(1, x.shape[1:3])
        allowed = visible_keys(block.attention, self.base.shape[1], self.base.device)
        return attend(block, heads, slots, allowed)

    def write(self, written: Outputs, constant: Float[Tensor, " d_model"] | None = None) -> None:
        """The next sources have their outputs; from now on they can be read."""
        ablated = self.ablated[self.n_sources : self.n_sources + len(written)]
        self.changes.append(written - ablated)
        self.base = self.base + ablated.sum(0)
        if constant is not None:
            self.base = self.base + constant
        self.n_sources += len(written)

    def received(self, n: int) -> Outputs:
        """What the next `n` receivers read of all sources written so far."""
        size = n * self.n_sources
        gates = self.gates[self.n_gates : self.n_gates + size].view(n, self.n_sources)
        self.n_gates += size
        total, first = self.base[None], 0
        for change in self.changes:
            share = gates[:, first : first + len(change)] @ change.flatten(1)
            total = total + share.view(n, *self.base.shape)
            first += len(change)
        return total


class _EdgeProbed(_EdgeGated):
    """The same, with probes beside the gates; arguments as of `run_edge_probes`."""

    def __init__(
        self,
        weights: TransformerWeights,
        ablated: Float[Tensor, "src batch pos d_model"],
        gates: Float[Tensor, " edge"],
        probes: Float[Tensor, " edge"],
        steps: Float[Tensor, "src batch pos d_model"],
    ) -> None:
        super().__init__(weights, ablated, gates)
        self.probes = probes
        self.steps = steps

    def received(self, n: int) -> Outputs:
        first, size = self.n_gates, n * self.n_sources
        probes = self.probes[first : first + size].view(n, self.n_sources)
        share = probes @ self.steps[: self.n_sources].flatten(1)
        return super().received(n) + share.view(n, *self.base.shape)
