"""Write the circuit of a run in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from acdc_pipeline.errors import InvalidInput, UnknownName

if TYPE_CHECKING:
    from acdc_pipeline.store import RunRecord

FORMATS = ("node-link", "graphml", "dot", "mib-json", "parquet", "svg")

BY_SUFFIX: dict[str, tuple[str, ...]] = {
    ".json": ("node-link", "mib-json"),
    ".graphml": ("graphml",),
    ".dot": ("dot",),
    ".gv": ("dot",),
    ".parquet": ("parquet",),
    ".svg": ("svg",),
}
"""Formats by file suffix; the first is the default."""


def export_format(name: str | None, out: Path | None) -> str:
    """Return the format called `name`, or the one that the suffix of `out` implies.

    Args:
        name: one of `FORMATS`, or None.
        out: the file to be written; None for a stream.

    Raises:
        UnknownName: there is no such format.
        InvalidInput: the suffix implies another format, or none.
    """
    if name is not None and name not in FORMATS:
        raise UnknownName.among("format", name, FORMATS)
    suffix = "" if out is None else out.suffix.lower()
    if not suffix:
        return name or FORMATS[0]
    implied = BY_SUFFIX.get(suffix, ())
    if name is None and not implied:
        raise InvalidInput(
            f"'{suffix}' is the suffix of no format",
            where=str(out),
            allowed=", ".join(BY_SUFFIX),
            fix=f"add --format {'|'.join(FORMATS)}",
        )
    if name is not None and implied and name not in implied:
        suffix = next(suffix for suffix, names in BY_SUFFIX.items() if name in names)
        raise InvalidInput(
            f"is named like {implied[0]}, and --format is {name}",
            where=str(out),
            fix=f"leave --format out, or rename the file to *{suffix}",
        )
    return name or implied[0]


def export_text(record: RunRecord, form: str) -> str:
    """Return the circuit of `record` in one of the textual formats.

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
            from acdc_pipeline.graph.export import circuit_graphml

            return circuit_graphml(circuit)
        case "dot":
            from acdc_pipeline.graph.export import circuit_dot

            return circuit_dot(circuit)
        case "mib-json":
            from acdc_pipeline.graph.mib import mib_json

            # the format states the model's width, which older runs do not record
            width = record.details.get("d_model")
            if width is None:
                from acdc_pipeline.models import describe_model

                width = describe_model(record.spec.model).d_model
            return mib_json(circuit, d_model=width)
    raise AssertionError(form)
