"""A run's circuit in the formats of other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acdc_pipeline.errors import InvalidInput

if TYPE_CHECKING:
    from acdc_pipeline.store import RunRecord

FORMATS = ("node-link", "graphml", "dot", "mib-json", "parquet")


def exported(record: RunRecord, form: str) -> str:
    """The circuit of `record` as text of one of the textual `FORMATS`.

    Raises:
        InvalidInput: the run has no circuit.
    """
    circuit = record.circuit
    if circuit is None:
        raise InvalidInput("has no circuit", where=f"run {record.spec.run_id()}")
    match form:
        case "node-link":
            from acdc_pipeline.graph.node_link import node_link_json

            return node_link_json(circuit)
        case "graphml":
            from acdc_pipeline.graph.graphml import circuit_graphml

            return circuit_graphml(circuit)
        case "dot":
            from acdc_pipeline.graph.dot import circuit_dot

            return circuit_dot(circuit)
        case "mib-json":
            from acdc_pipeline.graph.mib import mib_json

            # the format states the model's width, which no circuit knows
            return mib_json(circuit, d_model=_width(record))
    raise AssertionError(form)


def _width(record: RunRecord) -> int:
    """Width of the model's residual stream; older runs leave it to the model to say."""
    if "d_model" in record.details:
        return record.details["d_model"]
    from acdc_pipeline.models import describe_model

    return describe_model(record.spec.model).d_model
