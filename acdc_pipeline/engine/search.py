"""Removing edges from the output backwards, and what each removal would cost.

Three ideas keep it exact and cheap. *Suffix only*: while a receiver is searched, everything
upstream of it is untouched, so a removed edge changes its input by a difference known from two
forward passes. *Surviving subgraph only*: that change travels along present edges alone; every
other node keeps its cached value. *Positions*: a node that only answers read is computed at the
answer positions alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.circuit_state import CircuitState
from acdc_pipeline.engine.forward import SourceOutputs, mlp_written
from acdc_pipeline.engine.guesses import Guesses
from acdc_pipeline.engine.layout import Layout, Needed
from acdc_pipeline.engine.memory_plan import MemoryPlan
from acdc_pipeline.engine.objective import Objective
from acdc_pipeline.engine.rebase import rebase
from acdc_pipeline.engine.speculation import PlannedState, Speculation
from acdc_pipeline.engine.trial import Scratch, Trial
from acdc_pipeline.errors import ExecutionFailed, GraphError
from acdc_pipeline.graph import LOGITS, SLOTS, Edge, Node, Receiver, Slot, mlp
from acdc_pipeline.models.weights import TransformerWeights

Rows = Float[Tensor, "state rows d_model"]

# Beyond this many states a batch gains nothing: every product is already large.
MAX_STATES = 512

# After so many states everything held is computed anew, at the cost of about one state.
REBASE_AFTER = 256

# Of the first batch, in states: later ones are as large as their predecessors' cost suggests.
FIRST_OVERHEAD = 4.0


class Search:
    """A circuit being cut from the whole model, receivers from the output backwards.

    Args:
        weights: the model.
        clean: its sources' outputs on the clean prompts.
        ablated: what each source's removed edges carry.
        layout: prompts, positions and answers.
        objective: what removing an edge is measured by; higher is worse.
        memory: bytes for what the visited receivers hold, and the states evaluated together.
        plan: what states take.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        clean: SourceOutputs,
        ablated: Float[Tensor, "src batch pos d_model"],
        layout: Layout,
        objective: Objective,
        memory: int,
        plan: MemoryPlan,
    ) -> None:
        self.weights = weights
        self.topology = weights.topology
        self.layout = layout
        self.objective = objective
        self.circuit = CircuitState(weights, clean, ablated, layout)
        self.memory = memory
        self.plan = plan
        self.speculation: Speculation[Trial] = Speculation(Guesses(), MAX_STATES, FIRST_OVERHEAD)
        self.scratch = {needed: Scratch(ablated) for needed in Needed}
        self.states_evaluated = 0
        self.receiver: Receiver | None = None
        self._current: float | None = None
        self.rebase_after = REBASE_AFTER
        self._since_rebase = 0
        self._restored = False

    # The search as its caller sees it.

    def metric(self) -> float:
        """The objective of the current circuit."""
        if self._current is None:
            final = self.layout.at_answers(self.circuit.clean.final.flatten(0, 1))
            self._current = float(self.objective(final[None])[0])
        return self._current

    def visit(self, receiver: Receiver, sources: Sequence[Node]) -> bool:
        """Turn to `receiver`, whose incoming edges will be tried in the order of `sources`.

        Now and then everything held is computed anew from the edges kept. Whether that was done
        depends on counted states alone; True says that it was, and that a search that was given
        the decisions so far by `restore` would go on from here to the bit.

        Raises:
            GraphError: the receiver was visited before, or nothing reads its node.
        """
        self.leave()
        fresh = self._restored or self._since_rebase >= self.rebase_after
        if fresh:
            self._rebase()
        self._begin(receiver, sources)
        return fresh

    def restore(self, receiver: Receiver, sources: Sequence[Node], kept: Collection[Node]) -> None:
        """Take over the decisions on `receiver`: of `sources`, these are `kept`. Nothing is tested.

        Raises:
            GraphError: the receiver was visited before, or nothing reads its node.
        """
        self.leave()
        self._begin(receiver, sources)
        self.circuit.keep_only(receiver, kept)
        self._restored = True

    def leave(self) -> None:
        """Settle the receiver being searched: its surviving edges are final."""
        if self.receiver is None:
            return
        self._settle()
        self.speculation.learn(self.circuit.kept[self.receiver])
        self.circuit.close(self.receiver)
        self.receiver = None

    def metric_without(self, edge: Edge) -> float:
        """The objective if `edge` were removed too. The circuit stays as it is."""
        self._check(edge)
        if not self.speculation.answers(edge.src):
            self._settle()
            self.speculation.max_states = self._states_that_fit()
            plan = self.speculation.plan(edge.src)
            trial = self._start(plan)
            self.speculation.store(plan, self._evaluate(trial), trial)
        return self.speculation.value(edge.src)

    def remove(self, edge: Edge) -> None:
        """Remove `edge`, which must be the one tried last, for good."""
        self._check(edge)
        self._current = self.speculation.take(edge.src)
        self.circuit.kept[edge.receiver].remove(edge.src)

    def drop(self, sources: Sequence[Node]) -> None:
        """Remove the edges of `sources` into the visited receiver for good, together and untested.

        Before any edge of it is tried.
        """
        if not sources:
            return
        assert self.receiver is not None
        trial = self._start([PlannedState(sources[-1], tuple(sources[:-1]))])
        (self._current,) = self._evaluate(trial)
        self.circuit.settle(trial, 0)
        for source in sources:
            self.circuit.kept[self.receiver].remove(source)

    def _begin(self, receiver: Receiver, sources: Sequence[Node]) -> None:
        self.circuit.open(receiver)
        self.receiver = receiver
        self.speculation.begin(receiver, sources)

    # How a batch of states is evaluated.

    def _check(self, edge: Edge) -> None:
        if edge.receiver != self.receiver:
            raise GraphError(f"'{edge}' does not end in '{self.receiver}', which is being searched")

    def _settle(self) -> None:
        """Make the state that the batch ended in the current circuit."""
        taken = self.speculation.settle()
        if taken is not None:
            self.circuit.settle(*taken)

    def _rebase(self) -> None:
        """Compute what is held from the kept edges, whatever led to them."""
        rebase(self.circuit, self.scratch)
        self.speculation.overhead = FIRST_OVERHEAD
        self._since_rebase, self._restored = 0, False

    def _start(self, plan: Sequence[PlannedState]) -> Trial:
        """The planned states, as changes of the visited receiver's input."""
        assert self.receiver is not None
        index = self.topology.source_index
        gone = [[index[node] for node in state.gone] for state in plan]
        first, end = min(map(min, gone)), max(map(max, gone)) + 1
        difference = self.circuit.difference_for(self.receiver)[first:end]
        mask = difference.new_zeros(len(plan), end - first)
        for k, places in enumerate(gone):
            mask[k, [place - first for place in places]] = 1
        delta = torch.tensordot(mask, difference, dims=1)
        return Trial(self.receiver, delta, len(self.circuit.needed), self.layout, self.scratch)

    def _evaluate(self, trial: Trial) -> list[float]:
        """The objective of each state."""
        values = self.objective(self._propagate(trial)).tolist()
        if not all(map(math.isfinite, values)):
            raise ExecutionFailed(
                f"the metric is not a number after removing edges into '{self.receiver}'",
                fix="check the model's weights, or use --dtype float64",
            )
        self.states_evaluated += trial.n_states
        self._since_rebase += trial.n_states
        self.speculation.overhead = trial.work.overhead
        return values

    def _states_that_fit(self) -> int:
        """How many states the budget holds if each reaches everything that is still needed."""
        per_state = self.plan.state_bytes(
            everywhere=sum(needed is Needed.EVERY for needed in self.circuit.needed.values()),
            at_answers=len(self.circuit.needed),
            heads=len(self.circuit.attention.parts),
        )
        return max(1, min(MAX_STATES, (self.memory - self.circuit.held) // per_state))

    def _propagate(self, trial: Trial) -> Float[Tensor, "state answer d_model"]:
        """The final residual streams of a trial's states, at the answers."""
        start, logits = trial.start, Receiver(LOGITS)
        trial.work.add(self.layout.n_rows(Needed.ANSWERS), self.weights.w_u.numel())
        if start == logits:
            return self.circuit.inputs[start] + trial.delta
        layer = start.node.layer
        assert layer is not None
        changed_input = self.circuit.inputs[start] + trial.delta
        if start.slot is None:
            self._change_mlp(start.node, changed_input, trial)
        else:
            self._change_heads(layer, [start.node], {start.slot: changed_input[None]}, trial)
        for later in range(layer, self.topology.n_layers):
            self._reach_heads(later, trial)
            self._reach_mlp(later, trial)
        changed = self._reach(logits, trial)
        if not changed:
            base = self.circuit.inputs[logits]
            return base.expand(trial.n_states, *base.shape)
        return self._inputs([logits], trial)[0]

    def _reach(self, receiver: Receiver, trial: Trial) -> list[Node]:
        """The changed sources that feed `receiver`, noted in the trial where there are any."""
        needed = self.circuit.needed_by(receiver)
        sources = trial.changes.at[needed].among(self.circuit.kept.get(receiver, []))
        if sources:
            trial.reached[receiver] = (needed, sources)
        return sources

    def _inputs(
        self, receivers: list[Receiver], trial: Trial
    ) -> Float[Tensor, "n state rows d_model"]:
        """The new inputs of reached receivers that are all needed at the same rows."""
        needed = trial.reached[receivers[0]][0]
        inputs = trial.changes.at[needed].summed([trial.reached[r][1] for r in receivers])
        for row, receiver in enumerate(receivers):
            inputs[row] += self.circuit.inputs[receiver]
        return inputs

    def _reach_heads(self, layer: int, trial: Trial) -> None:
        groups: dict[tuple[Needed, tuple[Slot, ...]], list[Node]] = {}
        for node in self.topology.heads(layer):
            if node not in self.circuit.needed:
                continue
            slots: tuple[Slot, ...] = tuple(
                slot for slot in SLOTS if self._reach(Receiver(node, slot), trial)
            )
            if slots:
                groups.setdefault((self.circuit.needed[node], slots), []).append(node)
        for (_, slots), nodes in groups.items():
            inputs: dict[Slot, Float[Tensor, "n state _ d_model"]] = {
                slot: self._inputs([Receiver(node, slot) for node in nodes], trial)
                for slot in slots
            }
            self._change_heads(layer, nodes, inputs, trial)

    def _reach_mlp(self, layer: int, trial: Trial) -> None:
        receiver = Receiver(mlp(layer)) if self.topology.has_mlp else None
        if receiver is None or receiver.node not in self.circuit.needed or receiver == trial.start:
            return
        if self._reach(receiver, trial):
            self._change_mlp(receiver.node, self._inputs([receiver], trial)[0], trial)

    def _change_mlp(self, node: Node, x: Rows, trial: Trial) -> None:
        assert node.layer is not None
        block = self.weights.blocks[node.layer]
        assert block.mlp is not None
        trial.work.add(self.layout.n_rows(self.circuit.needed[node]), block.mlp.n_weights)
        trial.changes.write(
            node, self.circuit.needed[node], mlp_written(block, x) - self.circuit.written[node]
        )

    def _change_heads(
        self,
        layer: int,
        nodes: list[Node],
        inputs: dict[Slot, Float[Tensor, "n state _ d_model"]],
        trial: Trial,
    ) -> None:
        needed = self.circuit.needed[nodes[0]]
        parts, change = self.circuit.attention.change(layer, nodes, needed, inputs)
        # A head's four projections are of one size.
        size = len(nodes) * self.weights.blocks[layer].attn.w_o[0].numel()
        for x in inputs.values():
            trial.work.add(x.shape[2], size)
        trial.work.add(self.layout.n_rows(needed), size)
        for i, node in enumerate(nodes):
            trial.heads.append((node, {name: part[i] for name, part in parts.items()}))
            trial.changes.write(node, needed, change[i])
