"""The whole model without some nodes: all receivers of a layer read one stream.

What such passes have in common is computed once: they are the same up to the layer of the first
node in which they differ, and the heads of that layer still read the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from acdc_pipeline.engine.answer_batches import OutputsOfPrompts
from acdc_pipeline.engine.components import Stream
from acdc_pipeline.engine.receiver_forward import Outputs, ReceiverForward, WhereNeeded
from acdc_pipeline.graph import LOGITS, Receiver, Topology
from acdc_pipeline.models.weights import TransformerWeights


def nodes_present(
    topology: Topology, mask: Bool[np.ndarray, " edge"]
) -> Bool[np.ndarray, " src"] | None:
    """The sources present in a circuit that has all edges of each source or none of them.

    None if it has only some of a source's edges.
    """
    at_logits = mask[topology.first_edge[Receiver(LOGITS)] :]
    return at_logits if bool((at_logits[topology.edge_sources] == mask).all()) else None


class SharedLayers:
    """Streams before layers, and the outputs of their heads, kept while a later pass reads them.

    Both depend on the sources present before the layer, which are their key.

    Args:
        present: the sources present in each pass.
        firsts: the index of each layer's first source.
        budget: bytes.
    """

    def __init__(
        self, present: Iterable[Bool[np.ndarray, " src"]], firsts: Sequence[int], budget: int
    ) -> None:
        self.firsts = firsts
        self.room = budget
        self.left = Counter(key for one in present for key in self.keys(one))
        self.streams: dict[bytes, Stream] = {}
        self.heads: dict[bytes, Outputs] = {}

    def keys(self, present: Bool[np.ndarray, " src"]) -> list[bytes]:
        """The key of each layer."""
        return [present[:end].tobytes() for end in self.firsts]

    def begin(self, keys: Sequence[bytes]) -> None:
        """Begin the pass with these keys; each must begin once."""
        self.left.subtract(keys)

    def keep(self, kept: dict[bytes, Tensor], key: bytes, value: Tensor) -> None:
        """Add a value to `streams` or `heads` if a later pass reads it and there is room."""
        if self.left[key] and key not in kept and value.nbytes <= self.room:
            kept[key] = value
            self.room -= value.nbytes

    def finish(self, keys: Sequence[bytes]) -> None:
        """Drop what no later pass reads."""
        for key in keys:
            for kept in (self.streams, self.heads):
                if not self.left[key] and key in kept:
                    self.room += kept.pop(key).nbytes


class WithoutNodes(ReceiverForward):
    """A pass over the whole model without some nodes, from its first difference to earlier ones.

    Args:
        ablated: what the missing nodes write, for these prompts.
        present: the sources that are not missing.
        shared: what earlier and later passes have in common with this one.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        ablated: OutputsOfPrompts,
        present: Bool[np.ndarray, " src"],
        shared: SharedLayers,
    ) -> None:
        super().__init__(weights, present)
        self.ablated = ablated
        self.present = present
        self.shared = shared
        self.keys = shared.keys(present)
        self.stream = ablated.outputs.new_zeros(ablated.shape)
        self.n_in_stream = 0

    def final(self, embedded: Stream) -> WhereNeeded:
        self.shared.begin(self.keys)
        out = self._run(embedded)
        self.shared.finish(self.keys)
        return out

    def _run(self, embedded: Stream) -> WhereNeeded:
        for layer in reversed(range(1, self.topology.n_layers)):
            stream = self.shared.streams.get(self.keys[layer])
            if stream is not None:
                self.stream = stream.clone()
                self.n_sources = self.n_in_stream = self.topology.first_source(layer)
                for earlier in range(layer):
                    self._add_constant(earlier)
                return self.run_layers(layer)
        return super().final(embedded)

    def enter(self, layer: int) -> None:
        self._add_ablated()
        if self.shared.left[self.keys[layer]]:
            self.shared.keep(self.shared.streams, self.keys[layer], self.stream.clone())

    def run_heads(
        self, layer: int, heads: Sequence[int], inputs: Float[Tensor, "read batch pos d_model"]
    ) -> Outputs:
        key = self.keys[layer]
        if not self.shared.left[key] and key not in self.shared.heads:
            return super().run_heads(layer, heads, inputs)
        written = self.shared.heads.get(key)
        if written is None:
            written = super().run_heads(layer, self._every_head(layer), inputs)
            self.shared.keep(self.shared.heads, key, written)
        return _of_heads(written, heads)

    def run_heads_at_answers(self, layer: int, heads: Sequence[int]) -> Outputs | None:
        key = self.keys[layer]
        if not heads or (not self.shared.left[key] and key not in self.shared.heads):
            return super().run_heads_at_answers(layer, heads)
        written = self.shared.heads.get(key)
        if written is not None:
            self.narrow()
        else:
            written = super().run_heads_at_answers(layer, self._every_head(layer))
            assert written is not None
            self.shared.keep(self.shared.heads, key, written)
        return _of_heads(written, heads)

    def _every_head(self, layer: int) -> range:
        return range(len(self.topology.head_sources(layer)))

    def narrow(self) -> None:
        self._add_ablated()
        super().narrow()
        self.stream = self.where_needed(self.stream)

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        there = [i for i, source in enumerate(sources) if self.present[source]]
        if there:
            self.stream += _of_heads(written, there).sum(0)

    def read(self, receivers: Sequence[Receiver]) -> Outputs:
        self._add_ablated()
        total = self.stream if self.constant is None else self.stream + self.constant
        return total[None]

    def _add_ablated(self) -> None:
        """Add the outputs of missing nodes among the sources passed since the last call."""
        passed = slice(self.n_in_stream, self.n_sources)
        for number in (~self.present[passed]).nonzero()[0].tolist():
            self.stream += self.where_needed(self.ablated.of(self.n_in_stream + number))
        self.n_in_stream = self.n_sources


def _of_heads(written: Outputs, some: Sequence[int]) -> Float[Tensor, "some batch pos d_model"]:
    return written if len(some) == len(written) else written[list(some)]
