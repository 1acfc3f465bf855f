"""Removing edges from the output backwards, and what each removal would cost.

Three ideas keep it exact and cheap. *Suffix only*: while a receiver is searched, everything
upstream of it is untouched, so a removed edge changes its input by a difference known from two
forward passes. *Surviving subgraph only*: that change travels along present edges alone; every
other node keeps its cached value. *Positions*: a node that only answers read is computed at the
answer positions alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.attention_state import AttentionState
from acdc_pipeline.engine.components import mlp_output, normalise
from acdc_pipeline.engine.forward import SourceOutputs, mlp_norm
from acdc_pipeline.engine.guesses import Guesses
from acdc_pipeline.engine.layout import Layout, Needed
from acdc_pipeline.engine.objective import Objective
from acdc_pipeline.engine.speculation import PlannedState, Speculation
from acdc_pipeline.errors import ExecutionFailed, GraphError
from acdc_pipeline.graph import LOGITS, SLOTS, Edge, Node, Receiver, Slot
from acdc_pipeline.models.weights import TransformerWeights

Rows = Float[Tensor, "state rows d_model"]

# Beyond this many states a batch gains nothing: every product is already large.
MAX_STATES = 512

# The chance, below which one more guess is not worth its arithmetic.
PATIENCE = 0.4


@dataclass
class Trial:
    """A batch of states and everything in which they differ from the current circuit.

    `changed` holds what each reached node writes, minus what it writes now; `inputs` holds the
    new input of each reached receiver; `heads` the new attention tensors. State k becomes the
    current circuit by taking slice k of each.
    """

    changed: dict[Node, Rows] = field(default_factory=dict)
    changed_answers: dict[Node, Rows] = field(default_factory=dict)
    inputs: dict[Receiver, Rows] = field(default_factory=dict)
    written: dict[Node, Rows] = field(default_factory=dict)
    heads: list[tuple[Node, dict[str, Float[Tensor, "state ..."]]]] = field(default_factory=list)

    def n_bytes(self) -> int:
        """Memory the batch holds."""
        named = (self.changed, self.changed_answers, self.inputs, self.written)
        tensors = [tensor for group in named for tensor in group.values()]
        tensors += [part for _, parts in self.heads for part in parts.values()]
        return sum(tensor.nbytes for tensor in tensors)


class Search:
    """A circuit being cut from the whole model, receivers from the output backwards.

    Args:
        weights: the model.
        clean: its sources' outputs on the clean prompts.
        ablated: what each source's removed edges carry.
        layout: prompts, positions and answers.
        objective: what removing an edge is measured by; higher is worse.
        memory: bytes that the states evaluated together may take.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        clean: SourceOutputs,
        ablated: Float[Tensor, "src batch pos d_model"],
        layout: Layout,
        objective: Objective,
        memory: int,
    ) -> None:
        self.weights = weights
        self.topology = weights.topology
        self.layout = layout
        self.objective = objective
        self.clean = clean
        self.difference = (ablated - clean.outputs).flatten(1, 2)
        self.attention = AttentionState(weights, layout)
        self.memory = memory
        self.speculation = Speculation(Guesses(), MAX_STATES, PATIENCE)
        self.states_evaluated = 0
        self.kept: dict[Receiver, list[Node]] = {}
        self.readers: dict[Node, list[Receiver]] = {}
        self.needed: dict[Node, Needed] = {}
        self.inputs: dict[Receiver, Float[Tensor, "rows d_model"]] = {}
        self.written: dict[Node, Float[Tensor, "rows d_model"]] = {}
        self.receiver: Receiver | None = None
        self._current: float | None = None

    # The search as its caller sees it.

    def metric(self) -> float:
        """The objective of the current circuit."""
        if self._current is None:
            final = self.layout.at_answers(self.clean.final.flatten(0, 1))
            self._current = float(self.objective(final[None])[0])
        return self._current

    def visit(self, receiver: Receiver, sources: Sequence[Node]) -> None:
        """Turn to `receiver`, whose incoming edges will be tried in the order of `sources`.

        Raises:
            GraphError: the receiver was visited before, or nothing reads its node.
        """
        self.leave()
        if receiver in self.kept:
            raise GraphError(f"'{receiver}' was already searched")
        self.receiver = receiver
        self.kept[receiver] = list(self.topology.sources_of(receiver))
        self._open(receiver)
        self.speculation.begin(receiver, sources)

    def leave(self) -> None:
        """Settle the receiver being searched: its surviving edges are final."""
        if self.receiver is None:
            return
        self._settle()
        self.speculation.learn(self.kept[self.receiver])
        for source in self.kept[self.receiver]:
            self.readers.setdefault(source, []).append(self.receiver)
        self.receiver = None

    def metric_without(self, edge: Edge) -> float:
        """The objective if `edge` were removed too. The circuit stays as it is."""
        self._check(edge)
        if not self.speculation.answers(edge.src):
            self._settle()
            plan = self.speculation.plan(edge.src)
            trial = Trial()
            values = self._evaluate(plan, trial)
            self.speculation.store(plan, values, trial)
        return self.speculation.value(edge.src)

    def remove(self, edge: Edge) -> None:
        """Remove `edge`, which must be the one tried last, for good."""
        self._check(edge)
        self._current = self.speculation.take(edge.src)
        self.kept[edge.receiver].remove(edge.src)

    # How a batch of states is evaluated.

    def _check(self, edge: Edge) -> None:
        if edge.receiver != self.receiver:
            raise GraphError(f"'{edge}' does not end in '{self.receiver}', which is being searched")

    def _settle(self) -> None:
        taken = self.speculation.settle()
        if taken is None:
            return
        trial, state = taken
        for receiver, tensor in trial.inputs.items():
            self.inputs[receiver] = tensor[state].clone()
        for node, tensor in trial.written.items():
            self.written[node] = tensor[state].clone()
        for node, parts in trial.heads:
            self.attention.commit(node, {name: part[state].clone() for name, part in parts.items()})

    def _evaluate(self, plan: Sequence[PlannedState], trial: Trial) -> list[float]:
        """The objective of each planned state."""
        assert self.receiver is not None
        index = {node: i for i, node in enumerate(self.topology.sources)}
        sources = sorted({node for state in plan for node in state.gone}, key=index.__getitem__)
        column = {node: i for i, node in enumerate(sources)}
        mask = self.difference.new_zeros(len(plan), len(sources))
        for k, state in enumerate(plan):
            mask[k, [column[node] for node in state.gone]] = 1
        difference = self.difference[[index[node] for node in sources]]
        if self._needed_by(self.receiver) is Needed.ANSWERS:
            difference = self.layout.at_answers(difference)
        delta = torch.tensordot(mask, difference, dims=1)
        final = self._propagate(self.receiver, delta, trial)
        self.states_evaluated += len(plan)
        values = self.objective(final).tolist()
        if not all(map(math.isfinite, values)):
            raise ExecutionFailed(
                f"the metric is not a number after removing edges into '{self.receiver}'",
                fix="check the model's weights, or use --dtype float64",
            )
        self.speculation.max_states = self._states_that_fit(trial, len(plan))
        return values

    def _states_that_fit(self, trial: Trial, n_states: int) -> int:
        # Temporaries of a batch were seen to take about as much again as what it keeps.
        per_state = 2 * trial.n_bytes() // n_states
        return max(1, min(MAX_STATES, self.memory // max(per_state, 1)))

    def _propagate(
        self, start: Receiver, delta: Rows, trial: Trial
    ) -> Float[Tensor, "state answer d_model"]:
        if start.node == LOGITS:
            return self._receive(start, delta, trial)
        layer = start.node.layer
        assert layer is not None
        if start.slot is None:
            self._change_mlp(start, delta, trial)
        else:
            self._change_heads(layer, {start.node: {start.slot: delta}}, trial)
        for later in range(layer, self.topology.n_layers):
            self._change_heads(later, self._reached_heads(later, trial), trial)
            self._reach_mlp(later, trial)
        reached = self._reach(Receiver(LOGITS), trial)
        if reached is None:
            base = self.inputs[Receiver(LOGITS)]
            return base.expand(delta.shape[0], *base.shape)
        return self._receive(Receiver(LOGITS), reached, trial)

    def _reached_heads(self, layer: int, trial: Trial) -> dict[Node, dict[Slot, Rows]]:
        reached: dict[Node, dict[Slot, Rows]] = {}
        for node in self.topology.heads(layer):
            if node not in self.needed:
                continue
            for slot in SLOTS:
                delta = self._reach(Receiver(node, slot), trial)
                if delta is not None:
                    reached.setdefault(node, {})[slot] = delta
        return reached

    def _reach_mlp(self, layer: int, trial: Trial) -> None:
        if not self.topology.has_mlp:
            return
        receiver = Receiver(Node("mlp", layer))
        if receiver.node in self.needed and receiver.node not in trial.changed_answers:
            delta = self._reach(receiver, trial)
            if delta is not None:
                self._change_mlp(receiver, delta, trial)

    def _reach(self, receiver: Receiver, trial: Trial) -> Rows | None:
        """The change of a receiver's input, or None where no changed source feeds it."""
        answers = self._needed_by(receiver) is Needed.ANSWERS
        changed = trial.changed_answers if answers else trial.changed
        total: Rows | None = None
        for source in self.kept.get(receiver, ()):
            if source in changed:
                total = changed[source] if total is None else total + changed[source]
        return total

    def _receive(self, receiver: Receiver, delta: Rows, trial: Trial) -> Rows:
        trial.inputs[receiver] = self.inputs[receiver] + delta
        return trial.inputs[receiver]

    def _change_mlp(self, receiver: Receiver, delta: Rows, trial: Trial) -> None:
        assert receiver.node.layer is not None
        block = self.weights.blocks[receiver.node.layer]
        assert block.mlp is not None
        x = normalise(self._receive(receiver, delta, trial), mlp_norm(block))
        trial.written[receiver.node] = mlp_output(x, block.mlp)
        self._write(
            receiver.node, trial.written[receiver.node] - self.written[receiver.node], trial
        )

    def _change_heads(self, layer: int, deltas: dict[Node, dict[Slot, Rows]], trial: Trial) -> None:
        groups: dict[tuple[Needed, tuple[Slot, ...]], list[Node]] = {}
        for node, slots in deltas.items():
            groups.setdefault((self.needed[node], tuple(slots)), []).append(node)
        for (needed, slots), nodes in groups.items():
            inputs: dict[Slot, Float[Tensor, "n state _ d_model"]] = {
                slot: torch.stack(
                    [self._receive(Receiver(n, slot), deltas[n][slot], trial) for n in nodes]
                )
                for slot in slots
            }
            parts, change = self.attention.change(layer, nodes, needed, inputs)
            for i, node in enumerate(nodes):
                trial.heads.append((node, {name: part[i] for name, part in parts.items()}))
                self._write(node, change[i], trial)

    def _write(self, node: Node, change: Rows, trial: Trial) -> None:
        if self.needed[node] is Needed.ANSWERS:
            trial.changed_answers[node] = change
        else:
            trial.changed[node] = change
            trial.changed_answers[node] = self.layout.at_answers(change)

    # What a node starts from when its first receiver is visited.

    def _needed_by(self, receiver: Receiver) -> Needed:
        if receiver.slot in ("k", "v"):
            return Needed.EVERY
        return Needed.ANSWERS if receiver.node == LOGITS else self.needed[receiver.node]

    def _open(self, receiver: Receiver) -> None:
        node = receiver.node
        if node != LOGITS and node not in self.needed:
            readers = self.readers.get(node)
            if not readers:
                raise GraphError(f"'{node}' is dead: no edge out of it survived")
            only_answers = all(
                reader.slot not in ("k", "v") and self._needed_by(reader) is Needed.ANSWERS
                for reader in readers
            )
            self.needed[node] = Needed.ANSWERS if only_answers else Needed.EVERY
            self._open_node(node)
        self.inputs[receiver] = self._clean_input(receiver)

    def _open_node(self, node: Node) -> None:
        if node.kind == "mlp":
            position = self.topology.sources.index(node)
            written = self.clean.outputs[position].flatten(0, 1)
            if self.needed[node] is Needed.ANSWERS:
                written = self.layout.at_answers(written)
            self.written[node] = written
            return
        stream = self._clean_stream(self.topology.n_sources_of(Receiver(node, "q")), node)
        self.attention.open(node, self.needed[node], stream)

    def _clean_input(self, receiver: Receiver) -> Float[Tensor, "rows d_model"]:
        stream = self._clean_stream(self.topology.n_sources_of(receiver), receiver.node)
        answers_only = self._needed_by(receiver) is Needed.ANSWERS
        return self.layout.at_answers(stream) if answers_only else stream

    def _clean_stream(self, n_sources: int, node: Node) -> Float[Tensor, "rows d_model"]:
        """The clean residual stream that `node` reads: its first `n_sources`, and constants."""
        if node == LOGITS:
            return self.clean.final.flatten(0, 1)
        assert node.layer is not None
        sees_own_layer = node.kind == "mlp" and not self.weights.parallel
        biases = self.weights.blocks[: node.layer + int(sees_own_layer)]
        stream = self.clean.outputs[:n_sources].sum(0)
        for block in biases:
            if block.attn.b_o is not None:
                stream = stream + block.attn.b_o
        return stream.flatten(0, 1)
