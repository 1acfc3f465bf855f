"""The circuit as a search has cut it so far, and what its open nodes read and write."""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.attention_state import AttentionState
from acdc_pipeline.engine.forward import SourceOutputs
from acdc_pipeline.engine.layout import Layout, Needed
from acdc_pipeline.engine.streams import streams_of
from acdc_pipeline.engine.trial import Trial
from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import LOGITS, Node, Receiver
from acdc_pipeline.models.weights import TransformerWeights


class CircuitState:
    """What holds now. A node is open once one of its receivers was visited; the rest is clean.

    Attributes:
        difference: ablated minus clean, of every source.
        answer_difference: the same at the answers.
        kept: of every visited receiver, the sources whose edge is there.
        readers: of every source, the visited receivers it still feeds.
        needed: the rows at which an open node is read.
        inputs: what visited receivers read.
        written: what open MLPs write.
        attention: queries, keys, values and patterns of open heads.
        held: bytes of `inputs`, `written` and `attention`.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        clean: SourceOutputs,
        ablated: Float[Tensor, "src batch pos d_model"],
        layout: Layout,
    ) -> None:
        self.weights = weights
        self.topology = weights.topology
        self.layout = layout
        self.clean = clean
        self.difference = (ablated - clean.outputs).flatten(1, 2)
        self.answer_difference = layout.at_answers(self.difference)
        self.index = {node: i for i, node in enumerate(self.topology.sources)}
        self.attention = AttentionState(weights, layout)
        self.kept: dict[Receiver, list[Node]] = {}
        self.readers: dict[Node, list[Receiver]] = {}
        self.needed: dict[Node, Needed] = {}
        self.inputs: dict[Receiver, Float[Tensor, "rows d_model"]] = {}
        self.written: dict[Node, Float[Tensor, "rows d_model"]] = {}
        self.held = 0
        self._streams = streams_of(weights, clean)

    def needed_by(self, receiver: Receiver) -> Needed:
        """The rows at which `receiver`, whose node is open, reads."""
        if receiver.slot in ("k", "v"):
            return Needed.EVERY
        return Needed.ANSWERS if receiver.node == LOGITS else self.needed[receiver.node]

    def open(self, receiver: Receiver) -> None:
        """Begin with `receiver`: all its edges are there, its input is the clean one.

        Raises:
            GraphError: it was visited before, or nothing reads its node.
        """
        if receiver in self.kept:
            raise GraphError(f"'{receiver}' was already searched")
        node = receiver.node
        if node != LOGITS and node not in self.needed:
            self._open_node(node)
        self.kept[receiver] = list(self.topology.sources_of(receiver))
        self.inputs[receiver] = self.clean_input(receiver)
        self.held += self.inputs[receiver].nbytes

    def close(self, receiver: Receiver) -> None:
        """`receiver`'s surviving edges are final: its sources are read by it."""
        for source in self.kept[receiver]:
            self.readers.setdefault(source, []).append(receiver)

    def keep_only(self, receiver: Receiver, kept: Collection[Node]) -> None:
        """Drop the other edges into `receiver`. What it reads is out of date until a rebase."""
        self.kept[receiver] = [source for source in self.kept[receiver] if source in kept]

    def settle(self, trial: Trial, state: int) -> None:
        """Make one state of a batch the current one."""
        for receiver in (trial.start, *trial.reached):
            change = trial.input_change(receiver, state)
            self.inputs[receiver] = self.inputs[receiver] + change
        for node in self.written.keys() & trial.changes.at[Needed.ANSWERS].column.keys():
            change = trial.changes.at[self.needed[node]].of_state([node], state)
            self.written[node] = self.written[node] + change
        for node, parts in trial.heads:
            self.attention.commit(node, {name: part[state].clone() for name, part in parts.items()})

    def clean_input(self, receiver: Receiver) -> Float[Tensor, "rows d_model"]:
        """What `receiver` reads in the clean run, at the rows where it is needed."""
        return self._at(self.needed_by(receiver), self._clean_stream(receiver))

    def clean_written(self, node: Node) -> Float[Tensor, "rows d_model"]:
        """What an open node writes in the clean run, at the rows where it is needed."""
        written = self.clean.outputs[self.index[node]].flatten(0, 1)
        return self._at(self.needed[node], written)

    def removed_difference(self, receiver: Receiver) -> Float[Tensor, "rows d_model"] | None:
        """What `receiver` reads more than in the clean run through its removed edges alone."""
        kept = set(self.kept[receiver])
        sources = self.topology.sources_of(receiver)
        gone = [float(source not in kept) for source in sources]
        if not any(gone):
            return None
        difference = self.difference_for(receiver)[: len(sources)]
        return torch.tensordot(difference.new_tensor(gone), difference, dims=1)

    def difference_for(self, receiver: Receiver) -> Float[Tensor, "src rows d_model"]:
        """Ablated minus clean of every source, at the rows where `receiver` is needed."""
        every = self.needed_by(receiver) is Needed.EVERY
        return self.difference if every else self.answer_difference

    def _open_node(self, node: Node) -> None:
        readers = self.readers.get(node)
        if not readers:
            raise GraphError(f"'{node}' is dead: no edge out of it survived")
        only_answers = all(
            reader.slot not in ("k", "v") and self.needed_by(reader) is Needed.ANSWERS
            for reader in readers
        )
        self.needed[node] = Needed.ANSWERS if only_answers else Needed.EVERY
        if node.kind == "mlp":
            self.written[node] = self.clean_written(node)
            self.held += self.written[node].nbytes
            return
        stream = self._clean_stream(Receiver(node, "q"))
        self.held += self.attention.open(node, self.needed[node], stream)

    def _at(
        self, needed: Needed, rows: Float[Tensor, "every d_model"]
    ) -> Float[Tensor, "rows d_model"]:
        return self.layout.at_answers(rows) if needed is Needed.ANSWERS else rows

    def _clean_stream(self, receiver: Receiver) -> Float[Tensor, "rows d_model"]:
        return self._streams.read_by(receiver).flatten(0, 1)
