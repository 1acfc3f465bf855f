"""What the open nodes of the current circuit read and write."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from copy import copy

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.forward import (
    SourceOutputs,
    run_mixer_rows,
    run_mlp,
    run_mlp_nodes,
    streams_from_outputs,
    subtract_outputs,
)
from acdc_pipeline.engine.layout import Layout, Needed, reads_every_row
from acdc_pipeline.engine.search.attention_state import AttentionState, SlotInputs
from acdc_pipeline.engine.search.state_batch import OutputChanges, Scratch, StateBatch
from acdc_pipeline.engine.spill import Spill, tensor_dict
from acdc_pipeline.engine.without_edges import Without
from acdc_pipeline.graph import LOGITS, SLOTS, Node, Receiver, Slot, Topology
from acdc_pipeline.models.weights import TransformerWeights

Rows = Float[Tensor, "_ _ d_model"]
"""In each state, or in one for all; at every row, or at the answers."""


class CircuitState:
    """The activations of the current circuit.

    A node is open once one of its receivers was visited; all other nodes are clean.

    Args:
        kept: the sources that each visited receiver reads, as the search keeps it up to date.
        readers: for each source, the finished receivers that still read it, likewise.
        spill: where activations are kept; None for the device's memory.
        without: the sources that receivers do not read from the beginning; `clean` is then the
            model without these edges.

    Attributes:
        difference: ablated minus clean output of every source.
        answer_difference: the same at the answers.
        needed: the rows at which each open node is read.
        inputs: what visited receivers read.
        written: what open mixers, MLPs and experts write.
        attention: queries, keys, values and patterns of open heads.
        held: bytes of `inputs`, `written` and `attention`.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        clean: SourceOutputs,
        ablated: Float[Tensor, "src batch pos d_model"],
        layout: Layout,
        kept: Mapping[Receiver, list[Node]],
        readers: Mapping[Node, list[Receiver]],
        spill: Spill | None = None,
        without: Without | None = None,
    ) -> None:
        self.weights = weights
        self.without = without or {}
        self.topology = weights.topology
        self.layout = layout
        self.clean = clean
        self.kept = kept
        self.difference = subtract_outputs(ablated, clean, spill).flatten(1, 2)
        self.answer_difference = layout.at_answers(self.difference)
        self.attention = AttentionState(weights, layout, spill)
        self.readers = readers
        self.needed: dict[Node, Needed] = {}
        self.inputs: dict[Receiver, Float[Tensor, "rows d_model"]] = tensor_dict(spill)
        self.written: dict[Node, Float[Tensor, "rows d_model"]] = tensor_dict(spill)
        self.held = 0
        self._streams = streams_from_outputs(weights, clean)

    def fork(
        self, kept: Mapping[Receiver, list[Node]], readers: Mapping[Node, list[Receiver]]
    ) -> CircuitState:
        """Return an independent state with the same activations, for another search."""
        other = copy(self)
        other.kept, other.readers = kept, readers
        other.needed, other.inputs = dict(self.needed), self.inputs.copy()
        other.written = self.written.copy()
        other.attention = self.attention.fork()
        return other

    def needed_by(self, receiver: Receiver) -> Needed:
        """The rows at which `receiver`, whose node is open, reads."""
        if reads_every_row(receiver):
            return Needed.EVERY
        return Needed.ANSWERS if receiver.node == LOGITS else self.needed[receiver.node]

    def whole(self) -> Float[Tensor, "answer d_model"]:
        """What the logits read before anything is removed."""
        return self._clean_input(Receiver(LOGITS))

    def open(self, receiver: Receiver) -> None:
        """Start `receiver` with its clean input, and its node if it is not open yet."""
        node = receiver.node
        if node != LOGITS and node not in self.needed:
            self._open_node(node)
        self.inputs[receiver] = self._clean_input(receiver)
        self.held += self.inputs[receiver].nbytes

    def open_heads(
        self, layer: int, wanted: Callable[[Receiver], bool]
    ) -> Iterator[tuple[Needed, tuple[Slot, ...], list[Node]]]:
        """Group open heads of `layer` by the rows they are needed at and their `wanted` slots.

        Heads without such a slot are left out.
        """
        groups: dict[tuple[Needed, tuple[Slot, ...]], list[Node]] = {}
        for node in self.topology.heads(layer):
            if node in self.needed:
                slots: tuple[Slot, ...] = tuple(s for s in SLOTS if wanted(Receiver(node, s)))
                if slots:
                    groups.setdefault((self.needed[node], slots), []).append(node)
        return ((needed, slots, nodes) for (needed, slots), nodes in groups.items())

    def apply(self, batch: StateBatch, state: int) -> None:
        """Make one state of a batch the current one."""
        for receiver in (batch.start, *batch.reached):
            change = batch.input_change(receiver, state)
            self.inputs[receiver] = self.inputs[receiver] + change
        for node in self.written.keys() & batch.changes.at[Needed.ANSWERS].column.keys():
            change = batch.changes.at[self.needed[node]].of_state([node], state)
            self.written[node] = self.written[node] + change
        for node, parts in batch.heads:
            self.attention.update(node, {name: part[state].clone() for name, part in parts.items()})

    def run_single(
        self, node: Node, x: Float[Tensor, "*state rows d_model"]
    ) -> Float[Tensor, "*state needed d_model"]:
        """What a mixer or an MLP writes for its input `x`, at the rows where it is needed."""
        assert node.layer is not None
        block = self.weights.blocks[node.layer]
        if node.kind == "mlp":
            return run_mlp(block, x)
        return self.layout.select(run_mixer_rows(block, x, self.layout), self.needed[node])

    def run_experts(
        self, nodes: Sequence[Node], changed: Mapping[Receiver, Rows]
    ) -> dict[Node, Rows]:
        """What open nodes of one mixture write, each at the rows where it is needed.

        Args:
            changed: what receivers read in each state, if not what they read in the circuit.
        """
        out: dict[Node, Rows] = {}
        for needed in Needed:
            some = [node for node in nodes if self.needed[node] is needed]
            if not some:
                continue
            read = [self._read(r, needed, changed) for r in self.topology.receivers_of(some)]
            inputs = torch.stack(torch.broadcast_tensors(*read))
            assert some[0].layer is not None
            first = self.topology.mlp_sources(some[0].layer).start
            places = [self.topology.source_index[node] - first for node in some]
            written = run_mlp_nodes(self.weights.blocks[some[0].layer], inputs, places)
            out |= dict(zip(some, written, strict=True))
        return out

    def _read(self, receiver: Receiver, needed: Needed, changed: Mapping[Receiver, Rows]) -> Rows:
        """What a router or an expert reads, [state row d_model], at the rows where it is needed."""
        if receiver in changed:
            x = changed[receiver]
        elif receiver in self.inputs:
            x = self.inputs[receiver][None]
        else:
            x = self._stream(receiver)[None]
            return self.layout.select(x, needed)
        return self.layout.select(x, needed) if self.needed[receiver.node] is not needed else x

    def difference_for(self, receiver: Receiver) -> Float[Tensor, "src rows d_model"]:
        """Ablated minus clean output of every source, at the rows where `receiver` is needed."""
        every = self.needed_by(receiver) is Needed.EVERY
        return self.difference if every else self.answer_difference

    def recompute(self, scratch: dict[Needed, Scratch]) -> None:
        """Recompute the activations of every open node from the clean run and the kept edges.

        A search adds up changes, and how these round depends on how they were batched. After this
        pass over the layers, rounding errors have not accumulated, and all that follows depends on
        the decisions so far alone: an interrupted search can continue with identical bits. Nodes
        that are not open come before every visited receiver and stay clean.
        """
        changes = OutputChanges(len(self.needed), 1, self.layout, scratch, self.difference.shape[2])
        for layer in range(self.topology.n_layers):
            self._recompute_heads(changes, layer)
            for node in self.topology.single_nodes(layer):
                if node not in self.needed:
                    continue
                self._recompute_input(changes, Receiver(node))
                self.written[node] = self.run_single(node, self.inputs[Receiver(node)])
                change = self.written[node] - self._clean_output(node)
                changes.add(node, self.needed[node], change[None])
            self._recompute_experts(changes, layer)
        self._recompute_input(changes, Receiver(LOGITS))

    def _recompute_heads(self, changes: OutputChanges, layer: int) -> None:
        for needed, slots, nodes in self.open_heads(layer, self.kept.__contains__):
            inputs: SlotInputs = {}
            for slot in slots:
                for node in nodes:
                    self._recompute_input(changes, Receiver(node, slot))
                read = [self.inputs[Receiver(node, slot)] for node in nodes]
                inputs[slot] = torch.stack(read)[:, None]
            parts = self.attention.run(layer, nodes, needed, inputs)
            written = self.attention.output(layer, nodes, parts["z"])
            for i, node in enumerate(nodes):
                own = {name: part[i, 0].clone() for name, part in parts.items()}
                self.attention.update(node, own)
                changes.add(node, needed, written[i] - self._clean_output(node))

    def _recompute_experts(self, changes: OutputChanges, layer: int) -> None:
        nodes = open_experts(self.topology, layer, self.needed)
        for receiver in self.topology.receivers_of(nodes):
            if receiver in self.inputs:
                self._recompute_input(changes, receiver)
        for node, written in self.run_experts(nodes, {}).items():
            self.written[node] = written[0]
            changes.add(node, self.needed[node], written - self._clean_output(node))

    def _recompute_input(self, changes: OutputChanges, receiver: Receiver) -> None:
        """Clean input, plus the difference of removed edges, plus the changes of kept sources."""
        total = self._clean_input(receiver)
        kept = set(self.kept[receiver])
        sources = self.topology.sources_of(receiver)
        kept.update(self.without.get(receiver, ()))  # its clean input lacks them already
        removed = [float(source not in kept) for source in sources]
        if any(removed):
            difference = self.difference_for(receiver)[: len(sources)]
            total = total + torch.tensordot(difference.new_tensor(removed), difference, dims=1)
        at_rows = changes.at[self.needed_by(receiver)]
        changed = at_rows.among(self.kept[receiver])
        if changed:
            total = total + at_rows.of_state(changed, 0)
        self.inputs[receiver] = total

    def _open_node(self, node: Node) -> None:
        only_answers = all(
            self.needed_by(reader) is Needed.ANSWERS for reader in self.readers[node]
        )
        self.needed[node] = Needed.ANSWERS if only_answers else Needed.EVERY
        if node.kind == "router":
            return
        if node.kind != "head":
            self.written[node] = self._clean_output(node)
            self.held += self.written[node].nbytes
            return
        read: dict[Slot, Tensor] = {slot: self._stream(Receiver(node, slot)) for slot in SLOTS}
        self.held += self.attention.open(node, self.needed[node], read)

    def _clean_input(self, receiver: Receiver) -> Float[Tensor, "rows d_model"]:
        return self.layout.select(self._stream(receiver), self.needed_by(receiver))

    def _stream(self, receiver: Receiver) -> Float[Tensor, "rows d_model"]:
        """What `receiver` reads at all rows as long as its own edges and those before are whole."""
        stream = self._streams.read_by(receiver).flatten(0, 1)
        for source in self.without.get(receiver, ()):
            stream = stream + self.difference[self.topology.source_index[source]]
        return stream

    def _clean_output(self, node: Node) -> Float[Tensor, "rows d_model"]:
        written = self.clean.outputs[self.topology.source_index[node]].flatten(0, 1)
        return self.layout.select(written, self.needed[node])


def open_experts(topology: Topology, layer: int, opened: Container[Node]) -> list[Node]:
    """The open nodes of the mixture of `layer`; none if its MLP is one node."""
    nodes = topology.mlp_nodes(layer) if topology.n_experts(layer) else []
    return [node for node in nodes if node in opened]
