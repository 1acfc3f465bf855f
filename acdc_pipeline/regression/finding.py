"""What a run found, as far as two runs are compared in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from acdc_pipeline.graph import Circuit, Node
from acdc_pipeline.store import RunRecord


@dataclass(frozen=True)
class Finding:
    """A circuit and its numbers.

    Args:
        circuit: the edges kept, with their scores where the method gives any.
        metrics: those of the circuit and of the whole model (`model_…`) by name, and the
            circuit's `faithfulness` where it has one.
    """

    circuit: Circuit
    metrics: Mapping[str, float]

    @property
    def heads(self) -> frozenset[Node]:
        """The heads that an edge of the circuit touches."""
        return frozenset(node for node in self.circuit.nodes if node.kind == "head")


def finding_of(record: RunRecord) -> Finding:
    """What is compared of `record`, which holds a circuit.

    Scores of removed edges are left out; so are the metrics with every edge removed, which
    faithfulness accounts for.
    """
    found = record.circuit
    assert found is not None, "a run that finds no circuit is not compared"
    scores = {edge: score for edge, score in found.scores.items() if edge in found.edges}
    metrics = {n: v for n, v in record.metrics.items() if not n.startswith("ablated_")}
    faithfulness = record.details.get("faithfulness")
    if faithfulness is not None:
        metrics["faithfulness"] = float(faithfulness)
    return Finding(Circuit(found.topology, found.edges, scores), metrics)
