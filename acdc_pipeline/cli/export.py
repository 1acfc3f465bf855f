"""A run's circuit in the formats of other tools."""

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
"""What files of these names hold; the first where none is asked for."""


def format_for(asked: str | None, out: Path | None) -> str:
    """The format of an export: the one asked for, else the one that the file's name says.

    Args:
        asked: `--format`, None where it is not given.
        out: `--out`, None for stdout.

    Raises:
        UnknownName: no such format.
        InvalidInput: the name says another format than was asked for, or none that we know.
    """
    if asked is not None and asked not in FORMATS:
        raise UnknownName.among("format", asked, FORMATS)
    suffix = "" if out is None else out.suffix.lower()
    if not suffix:
        return asked or FORMATS[0]
    said = BY_SUFFIX.get(suffix, ())
    if asked is None and not said:
        raise InvalidInput(
            f"'{suffix}' says no format",
            where=str(out),
            allowed=", ".join(BY_SUFFIX),
            fix=f"add --format {'|'.join(FORMATS)}",
        )
    if asked is not None and said and asked not in said:
        raise InvalidInput(
            f"is named like {said[0]}, and --format is {asked}",
            where=str(out),
            fix=f"leave --format out, or rename the file to *{_suffix_of(asked)}",
        )
    return asked or said[0]


def _suffix_of(form: str) -> str:
    return next(suffix for suffix, said in BY_SUFFIX.items() if form in said)


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
        case "svg":
            from acdc_pipeline.cli.drawing import draw

            return draw(record, circuit)
    raise AssertionError(form)


def _width(record: RunRecord) -> int:
    """Width of the model's residual stream; older runs leave it to the model to say."""
    if "d_model" in record.details:
        return record.details["d_model"]
    from acdc_pipeline.models import describe_model

    return describe_model(record.spec.model).d_model
