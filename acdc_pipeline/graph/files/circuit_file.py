"""What a circuit file says: edges, scores, and masks over the output dimensions of nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Literal

import numpy as np

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.edge import Receiver
from acdc_pipeline.graph.neurons import NeuronBasis, NeuronMasks
from acdc_pipeline.graph.node import LOGITS, Node
from acdc_pipeline.graph.topology import Topology

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

Form = Literal[
    "edge list", "node-link", "EAP-IG graph", "auto-circuit scores", "original ACDC subgraph"
]

_ARRAYS = ("neurons", "neuron_scores")

MANY = 5
"""Names that a message lists before it counts the rest."""


@dataclass(frozen=True, repr=False, eq=False)
class CircuitFile:  # noqa: PLW1641  (arrays have no hash)
    """Everything that a circuit file says.

    Args:
        circuit: the edges in the circuit, none in a file of scores alone, and the scores of edges.
        node_scores: by source; NaN or absent where the file has none.
        neurons: which dimensions of each source's output are in the circuit, in the order of
            `topology.sources`; None if every one is. On an edge of the circuit the other
            dimensions carry the ablated output.
        neuron_scores: of every dimension of each source's output; NaN where the file has none.
        basis: of which outputs `neurons` are the dimensions; no file says it.
        cut_off: heads' slots that the original ACDC cut off from all their inputs.
        notes: where the tool that wrote the file would compute something else, as sentences.
    """

    form: Form
    circuit: Circuit
    node_scores: Mapping[Node, float] = field(default_factory=dict)
    neurons: Bool[np.ndarray, "src d_model"] | None = None
    neuron_scores: Float[np.ndarray, "src d_model"] | None = None
    basis: NeuronBasis = "stored"
    cut_off: tuple[Receiver, ...] = ()
    notes: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CircuitFile):
            return NotImplemented
        ours, theirs = self._plain_fields(), other._plain_fields()
        return ours == theirs and all(
            _same_values(getattr(self, name), getattr(other, name)) for name in _ARRAYS
        )

    def _plain_fields(self) -> tuple[object, ...]:
        scored = {node: score for node, score in self.node_scores.items() if not isnan(score)}
        return self.form, self.circuit, scored, self.basis, self.cut_off, self.notes

    def __repr__(self) -> str:
        masks = f", neuron masks of {listed(self.masked)}" if self.masked else ""
        return f"<{self.form}: {len(self.circuit)} of {self.topology.n_edges} edges{masks}>"

    @property
    def topology(self) -> Topology:
        """The full graph that the file describes."""
        return self.circuit.topology

    @property
    def masked(self) -> tuple[Node, ...]:
        """The sources with edges in the circuit and only some, or none, of their dimensions."""
        if self.neurons is None:
            return ()
        used = {edge.src for edge in self.circuit.edges}
        pairs = zip(self.topology.sources, self.neurons, strict=True)
        return tuple(node for node, kept in pairs if node in used and not kept.all())

    @property
    def masks(self) -> NeuronMasks | None:
        """What edges carry of each source's output; None if they carry all of it."""
        if self.neurons is None or not self.masked:
            return None
        return NeuronMasks(self.neurons, self.basis)

    def whole_nodes(self, use: str) -> Circuit:
        """Return the circuit for a `use` that cannot mask dimensions of a node's output.

        Raises:
            GraphError: a node of the circuit writes only some of its dimensions.
        """
        if self.masked:
            raise GraphError(
                f"{use} cannot carry neuron masks, and {listed(self.masked)} "
                f"{'has one' if len(self.masked) == 1 else 'have one'}",
                field="neurons",
            )
        return self.circuit

    def require(self, topology: Topology, d_model: int | None) -> None:
        """Raise GraphError unless the file is of a model with this graph and this width.

        The file decides whether experts are nodes.
        """
        ours, theirs = (
            {
                "layers": graph.n_layers,
                "heads": graph.n_heads,
                "MLPs": graph.has_mlp,
                "parallel blocks": graph.parallel,
                "parts of layers": " ".join(graph.layers) or "the same in every layer",
            }
            for graph in (topology, self.topology)
        )
        for name, value in theirs.items():
            if value != ours[name]:
                raise GraphError(
                    f"is a circuit in another graph: {name} {_plain(value)}, "
                    f"in the model {_plain(ours[name])}"
                )
        if self.neurons is not None and d_model not in (None, self.neurons.shape[1]):
            raise GraphError(
                f"has neuron masks of {self.neurons.shape[1]} dimensions, the model has {d_model}"
            )


def listed(items: Iterable[object]) -> str:
    """Name the first few of `items` and count the others."""
    names = [str(item) for item in items]
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return ", ".join(names[:MANY]) + more


def read_number(value: object, path: str) -> float:
    """Return a finite number or NaN. Raises GraphError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise GraphError(f"{value!r} is not a number", field=path)
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if number in (float("inf"), float("-inf")):
        raise GraphError(f"{value!r} is not finite", field=path, allowed="a finite number, or NaN")
    return number


def check_nodes(circuit: Circuit, in_graph: Mapping[Node, bool]) -> None:
    """Raise GraphError if a node that is not in the graph has an edge that matters.

    Readers of such files differ in whether the node or the edge decides.
    """
    out = {node for node, there in in_graph.items() if not there and node != LOGITS}
    if not out:
        return
    for edge in circuit.topology.edges:
        if edge in circuit.live_edges and not out.isdisjoint((edge.src, edge.dst)):
            node = edge.src if edge.src in out else edge.dst
            raise GraphError(
                f"is in the graph, and its node {node} is not",
                field=f"edges.{edge}",
                fix=f"set in_graph of {node} to true, or of its edges to false",
            )


def _same_values(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other, equal_nan=True)


def _plain(value: int | bool | str) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
