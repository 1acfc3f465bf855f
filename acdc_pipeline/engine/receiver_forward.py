"""A forward pass in which every receiver reads its own sum over the sources' outputs.

The base class of circuits, gates and scrubbed models, which differ in how that sum is formed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from acdc_pipeline.engine.answer_batches import OutputsOfPrompts
from acdc_pipeline.engine.attention import attend, visible_keys
from acdc_pipeline.engine.components import Stream, normalise
from acdc_pipeline.engine.forward import run_mixer, run_mlp_nodes
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.slots import Slots, project_slot, project_stream
from acdc_pipeline.graph import LOGITS, SLOTS, Receiver, Slot, head, mixer
from acdc_pipeline.models.weights import Block, TransformerWeights

Outputs = Float[Tensor, "n batch pos d_model"]

WhereNeeded = Float[Tensor, "rows _ d_model"]
"""A stream at every position, or at the answers, see `Layout.at_each_answer`."""


class Bases:
    """The inputs of receivers when every source writes its ablated output, as running sums."""

    def __init__(self, ablated: OutputsOfPrompts) -> None:
        self.ablated = ablated
        self._sums: dict[int, Stream] = {0: ablated.outputs.new_zeros(ablated.shape)}
        self._known: dict[int, Stream] = {}

    def at(self, n_sources: int, constant: Float[Tensor, " d_model"] | None) -> Stream:
        """The input of receivers that read the first `n_sources` sources and `constant`."""
        if n_sources not in self._known:
            before = max(known for known in self._sums if known <= n_sources)
            total = self._sums[before] + self.ablated.sum(before, n_sources)
            self._sums[n_sources] = total
            self._known[n_sources] = total if constant is None else total + constant
        return self._known[n_sources]


class ReceiverForward(ABC):
    """Runs the layers; subclasses store outputs in `write` and form inputs from them in `read`.

    Args:
        computed: the sources that are computed; None means all.

    Attributes:
        answers: where the final stream is needed; None for everywhere. What the last layer writes
            is then computed there alone.
        n_everywhere: sources whose outputs are at every position; None before `narrow`.
        n_sources: sources passed so far, skipped ones included.
        constant: the sum of the attention biases so far, which every receiver reads.
    """

    def __init__(
        self, weights: TransformerWeights, computed: Bool[np.ndarray, " src"] | None = None
    ) -> None:
        self.weights = weights
        self.topology = weights.topology
        self.computed = computed
        self.answers: Layout | None = None
        self.n_everywhere: int | None = None
        self.n_sources = 0
        self.constant: Float[Tensor, " d_model"] | None = None

    @abstractmethod
    def read(self, receivers: Sequence[Receiver]) -> Outputs:
        """The inputs of `receivers`, which see `n_sources` sources, `constant` included.

        A single input means that all of them read the same.
        """

    @abstractmethod
    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        """Store the outputs of `sources`, given by their index in the topology."""

    def enter(self, layer: int) -> None:
        """Called before each layer."""
        del layer

    def narrow(self) -> None:
        """From here on, streams are read and written at `answers` alone.

        Called after what the last layer needs everywhere was read, if `answers` are given.
        """
        self.n_everywhere = self.n_sources

    def where_needed(self, stream: Stream) -> WhereNeeded:
        """A stream of all positions as it is read now: after `narrow`, by `at_each_answer`."""
        if self.n_everywhere is None:
            return stream
        assert self.answers is not None
        return self.answers.at_each_answer(stream)

    def heads(self, layer: int) -> Sequence[int]:
        """The heads of `layer` that are computed; all or none in a coupled layer."""
        at = self.topology.head_sources(layer)
        every = range(len(at))
        if self.computed is None:
            return every
        some = self.computed[at.start : at.stop].nonzero()[0].tolist()
        return every if some and self.weights.shapes[layer].coupled else some

    def is_computed(self, source: int | None) -> bool:
        """Whether a source is computed, given by its index; None for one that does not exist."""
        return source is not None and (self.computed is None or bool(self.computed[source]))

    def receivers(self, layer: int) -> list[list[Receiver]]:
        """The receivers of `layer` that are read, in the parts in which they are read."""
        parts = [_slots_of(layer, self.heads(layer))]
        if self.is_computed(self.topology.mixer_source(layer)):
            parts.append([Receiver(mixer(layer))])
        parts.append(self._mlp_receivers(layer, self._mlp_nodes(layer)))
        return [part for part in parts if part]

    def final(self, embedded: Stream) -> WhereNeeded:
        """Run the model with `embedded` as the output of its `input` node."""
        self.write(embedded[None], [0])
        self.n_sources = 1
        return self.run_layers(0)

    def run_layers(self, start: int) -> WhereNeeded:
        """Run the layers from `start` on and return the final residual stream."""
        for layer in range(start, self.topology.n_layers):
            self.enter(layer)
            first, heads = self.n_sources, self.heads(layer)
            by_heads, by_mixer = None, self._by_mixer(layer)
            if self.answers is not None and layer == self.topology.n_layers - 1:
                by_heads = self.run_heads_at_answers(layer, heads)
            elif heads:
                by_heads = self.run_heads(layer, heads, self.read(_slots_of(layer, heads)))
            by_mlp = self._by_mlp(layer) if self.weights.parallel else None
            if by_heads is not None:
                self.write(by_heads, [first + index for index in heads])
            self.n_sources = self.topology.head_sources(layer).stop
            if self.topology.mixer_source(layer) is not None:
                if by_mixer is not None:
                    self.write(self.where_needed(by_mixer)[None], [self.n_sources])
                self.n_sources += 1
            self._add_constant(layer)
            if not self.weights.parallel:
                by_mlp = self._by_mlp(layer)
            if by_mlp is not None:
                written = [self.n_sources + index for index in self._mlp_nodes(layer)]
                self.write(by_mlp, written)
            self.n_sources = self.topology.first_source(layer + 1)
        return self.read([Receiver(LOGITS)])[0]

    def run_heads(
        self, layer: int, heads: Sequence[int], inputs: Float[Tensor, "read batch pos d_model"]
    ) -> Outputs:
        """The outputs of `heads` for these inputs: by slot, then by head, or one for all."""
        block = self.weights.blocks[layer]
        slots = _project(block, SLOTS, heads, inputs)
        allowed = visible_keys(block.attention, inputs.shape[2], inputs.device)
        return attend(block, heads, slots, allowed)

    def run_heads_at_answers(self, layer: int, heads: Sequence[int]) -> Outputs | None:
        """Read the inputs of `heads`, in the last layer, and compute their outputs at `answers`."""
        block, receivers = self.weights.blocks[layer], _slots_of(layer, heads)
        by_position = self.read(receivers[len(heads) :]) if heads else None
        self.narrow()
        if by_position is None:
            return None
        slots = _project(block, ("k", "v"), heads, by_position)
        slots |= _project(block, ("q",), heads, self.read(receivers[: len(heads)]))
        allowed = visible_keys(block.attention, by_position.shape[2], by_position.device)
        return attend(block, heads, slots, allowed, self.answers)

    def _by_mixer(self, layer: int) -> Stream | None:
        """What the mixer writes at every position."""
        if not self.is_computed(self.topology.mixer_source(layer)):
            return None
        return run_mixer(self.weights.blocks[layer], self.read([Receiver(mixer(layer))])[0])

    def _by_mlp(self, layer: int) -> Outputs | None:
        some = self._mlp_nodes(layer)
        if not some:
            return None
        inputs = self.read(self._mlp_receivers(layer, some))
        return run_mlp_nodes(self.weights.blocks[layer], inputs, some)

    def _mlp_nodes(self, layer: int) -> list[int]:
        """The nodes of the MLP of `layer` that are computed."""
        sources = self.topology.mlp_sources(layer)
        return [index for index, source in enumerate(sources) if self.is_computed(source)]

    def _mlp_receivers(self, layer: int, some: Sequence[int]) -> list[Receiver]:
        nodes = self.topology.mlp_nodes(layer)
        return self.topology.receivers_of(nodes[index] for index in some)

    def _add_constant(self, layer: int) -> None:
        attn = self.weights.blocks[layer].attn
        if attn is not None and attn.b_o is not None:
            self.constant = attn.b_o if self.constant is None else self.constant + attn.b_o


def _project(
    block: Block,
    slots: Sequence[Slot],
    heads: Sequence[int],
    inputs: Float[Tensor, "read rows _ d_model"],
) -> Slots:
    """Project inputs of heads: by slot, then by head, or one for all."""
    rows, projected = inputs.flatten(1, 2), partial(project_stream, block)
    if len(rows) == 1:  # one input for all is normalised once
        parts, projected = (
            [normalise(rows, block.norm_attn)] * len(slots),
            partial(project_slot, block.attention),
        )
    else:
        parts = rows.split(len(heads))
    return {
        slot: projected(slot, heads, part).unflatten(1, inputs.shape[1:3])
        for slot, part in zip(slots, parts, strict=True)
    }


def _slots_of(layer: int, heads: Sequence[int]) -> list[Receiver]:
    return [Receiver(head(layer, index), slot) for slot in SLOTS for index in heads]
