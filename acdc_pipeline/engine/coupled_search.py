"""The search for models whose heads move one another: every later layer is computed anew.

Where a norm stands after the attention, or across the queries of a layer, a head that nobody reads
still moves what the others write, and so does everything it reads. `Search`, which follows a
change along present edges only, would lose that. Here each state runs the whole suffix, from the
receiver on; what lies before it is untouched and comes from the clean run. A node that is dead
keeps its untested incoming edges, so it keeps computing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.coupled_suffix import CoupledSuffix
from acdc_pipeline.engine.forward import SourceOutputs
from acdc_pipeline.engine.guesses import Guesses
from acdc_pipeline.engine.layout import Layout, Needed
from acdc_pipeline.engine.objective import Objective
from acdc_pipeline.engine.present import Present
from acdc_pipeline.engine.speculation import PlannedState, Speculation
from acdc_pipeline.engine.streams import streams_of
from acdc_pipeline.errors import ExecutionFailed, GraphError
from acdc_pipeline.graph import LOGITS, Edge, Node, Receiver
from acdc_pipeline.models.weights import TransformerWeights

# Beyond this many states a batch gains nothing: every product is already large.
MAX_STATES = 128

# What a batch costs beside its states, in states.
OVERHEAD = 2.0


class CoupledSearch:
    """A circuit being cut from the whole model, receivers from the output backwards.

    Right for every model, but slower than `Search` where heads do not move one another.

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
        self.streams = streams_of(weights, clean)
        self.difference = (ablated - clean.outputs).flatten(1, 2)
        self.index = {node: i for i, node in enumerate(self.topology.sources)}
        self.memory = memory
        self.speculation: Speculation[None] = Speculation(Guesses(), MAX_STATES, OVERHEAD)
        self.states_evaluated = 0
        self.present = Present()
        self.receiver: Receiver | None = None
        self._current: float | None = None

    def metric(self) -> float:
        """The objective of the current circuit."""
        if self._current is None:
            final = self.layout.at_answers(self.clean.final.flatten(0, 1))
            self._current = float(self.objective(final[None])[0])
        return self._current

    def visit(self, receiver: Receiver, sources: Sequence[Node]) -> bool:
        """Turn to `receiver`, whose incoming edges will be tried in the order of `sources`.

        Always True: what is held depends on the decisions so far alone, so a search that was
        given them by `restore` would go on from here to the bit.

        Raises:
            GraphError: the receiver was visited before, or nothing reads its node.
        """
        self._begin(receiver, sources)
        return True

    def restore(self, receiver: Receiver, sources: Sequence[Node], kept: Collection[Node]) -> None:
        """Take over the decisions on `receiver`: of `sources`, these are `kept`. Nothing is tested.

        Raises:
            GraphError: the receiver was visited before, or nothing reads its node.
        """
        self._begin(receiver, sources)
        for source in sources:
            if source not in kept:
                self._drop(receiver, source)

    def _begin(self, receiver: Receiver, sources: Sequence[Node]) -> None:
        self.leave()
        if receiver in self.present.kept:
            raise GraphError(f"'{receiver}' was already searched")
        if receiver.node != LOGITS and receiver.node not in self.present.alive:
            raise GraphError(f"'{receiver.node}' is dead: no edge out of it survived")
        self.receiver = receiver
        self.present.kept[receiver] = list(self.topology.sources_of(receiver))
        stream = self.streams.read_by(receiver).flatten(0, 1)
        self.present.inputs[receiver] = self._at_needed(receiver, stream)
        self.speculation.begin(receiver, sources)

    def leave(self) -> None:
        """Settle the receiver being searched: its surviving edges are final."""
        if self.receiver is None:
            return
        self.speculation.settle()
        kept = self.present.kept[self.receiver]
        self.speculation.learn(kept)
        self.present.alive.update(kept)
        self.receiver = None

    def metric_without(self, edge: Edge) -> float:
        """The objective if `edge` were removed too. The circuit stays as it is."""
        self._check(edge)
        if not self.speculation.answers(edge.src):
            self.speculation.settle()
            self.speculation.max_states = self._states_that_fit(edge.receiver)
            plan = self.speculation.plan(edge.src)
            self.speculation.store(plan, self._evaluate(edge.receiver, plan), None)
        return self.speculation.value(edge.src)

    def remove(self, edge: Edge) -> None:
        """Remove `edge`, which must be the one tried last, for good."""
        self._check(edge)
        self._current = self.speculation.take(edge.src)
        self._drop(edge.receiver, edge.src)

    def drop(self, sources: Sequence[Node]) -> None:
        """Remove the edges of `sources` into the visited receiver for good, together and untested.

        Before any edge of it is tried.
        """
        if not sources:
            return
        assert self.receiver is not None
        plan = [PlannedState(sources[-1], tuple(sources[:-1]))]
        (self._current,) = self._evaluate(self.receiver, plan)
        for source in sources:
            self._drop(self.receiver, source)

    def _drop(self, receiver: Receiver, source: Node) -> None:
        self.present.kept[receiver].remove(source)
        difference = self._at_needed(receiver, self.difference[self.index[source]])
        self.present.inputs[receiver] = self.present.inputs[receiver] + difference

    def _check(self, edge: Edge) -> None:
        if edge.receiver != self.receiver:
            raise GraphError(f"'{edge}' does not end in '{self.receiver}', which is being searched")

    def _evaluate(self, receiver: Receiver, plan: Sequence[PlannedState]) -> list[float]:
        """The objective of each planned state."""
        gone = sorted({self.index[node] for state in plan for node in state.gone})
        mask = self.difference.new_zeros(len(plan), len(gone))
        for k, state in enumerate(plan):
            mask[k, [gone.index(self.index[node]) for node in state.gone]] = 1
        difference = self._at_needed(receiver, self.difference[gone])
        delta = torch.tensordot(mask, difference, dims=1)
        suffix = CoupledSuffix(self.weights, self.clean, self.streams, self.layout, self.present)
        values = self.objective(suffix.final(receiver, delta)).tolist()
        if not all(map(math.isfinite, values)):
            raise ExecutionFailed(
                f"the metric is not a number after removing edges into '{receiver}'",
                fix="check the model's weights, or use --dtype float64",
            )
        self.states_evaluated += len(plan)
        return values

    def _at_needed(
        self, receiver: Receiver, rows: Float[Tensor, "*lead rows d_model"]
    ) -> Float[Tensor, "*lead needed d_model"]:
        answers = self.present.needed(receiver) is Needed.ANSWERS
        return self.layout.at_answers(rows) if answers else rows

    def _states_that_fit(self, receiver: Receiver) -> int:
        """How many states the budget holds: what reaches every row, and one layer's temporaries."""
        # A query needed at the answers alone still meets keys of every row.
        needed = self.present.needed(receiver) if receiver.slot is None else Needed.EVERY
        rows = self.layout.n_rows(needed)
        block = self.weights.blocks[0]
        n_heads, d_model, d_head = block.attn.w_q.shape
        d_mlp = 0 if block.mlp is None else block.mlp.w_in.shape[1]
        visited = max(
            sum(r.node.layer == layer for r in self.present.kept)
            for layer in range(self.topology.n_layers)
        )
        streams = (len(self.present.alive) + 2 * visited + n_heads + 8) * d_model
        heads = n_heads * (6 * d_head + 3 * self.layout.pos)
        per_state = rows * (streams + heads + 4 * d_mlp) * self.difference.element_size()
        return max(1, min(MAX_STATES, self.memory // per_state))
