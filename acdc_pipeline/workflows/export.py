"""Write the circuit of a run in the formats of other tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acdc_pipeline.errors import InvalidInput, UnknownName
from acdc_pipeline.text import format_number, format_percent, pluralize

if TYPE_CHECKING:
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.store import RunRecord

FORMATS = (
    "node-link",
    "graphml",
    "dot",
    "mib-json",
    "eap-ig-pt",
    "auto-circuit",
    "parquet",
    "svg",
)

BINARY = ("eap-ig-pt", "auto-circuit", "parquet")
"""Formats that are not text."""

BY_SUFFIX: dict[str, tuple[str, ...]] = {
    ".json": ("node-link", "mib-json"),
    ".graphml": ("graphml",),
    ".dot": ("dot",),
    ".gv": ("dot",),
    ".pt": ("eap-ig-pt", "auto-circuit"),
    ".parquet": ("parquet",),
    ".svg": ("svg",),
}
"""Formats by file suffix; the first is the default."""


def export_format(
    name: str | None, out: Path | None, *, written: Callable[[str], str] = str
) -> str:
    """Return the format called `name`, or the one that the suffix of `out` implies.

    Args:
        out: the file to be written; None for a stream.
        written: how errors write the name of the parameter `format`.

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
            fix=f"choose a format with {written('format')}: {', '.join(FORMATS)}",
        )
    if name is not None and implied and name not in implied:
        suffix = next(suffix for suffix, names in BY_SUFFIX.items() if name in names)
        raise InvalidInput(
            f"is named like {implied[0]}, and {written('format')} is {name}",
            where=str(out),
            fix=f"leave {written('format')} out, or rename the file to *{suffix}",
        )
    return name or implied[0]


def export_bytes(record: RunRecord, form: str) -> bytes:
    """Return the circuit of `record` in one of `FORMATS`.

    Raises:
        InvalidInput: the run has no circuit, or one that the format cannot express.
    """
    circuit = record.circuit
    if circuit is None:
        raise InvalidInput("has no circuit", where=f"run {record.spec.run_id()}")
    match form:
        case "node-link":
            from acdc_pipeline.graph.node_link import node_link_json

            return node_link_json(circuit, record.consensus).encode()
        case "graphml":
            from acdc_pipeline.graph.export import circuit_graphml

            return circuit_graphml(circuit).encode()
        case "dot":
            from acdc_pipeline.graph.export import circuit_dot

            return circuit_dot(circuit).encode()
        case "mib-json":
            from acdc_pipeline.graph.mib import mib_json

            return mib_json(circuit, d_model=_width(record)).encode()
        case "eap-ig-pt":
            from acdc_pipeline.graph.files.eap_ig_pt import eap_ig_matrices

            return _saved_by_torch(eap_ig_matrices(circuit, d_model=_width(record)))
        case "auto-circuit":
            from acdc_pipeline.graph.files.auto_circuit import auto_circuit_scores

            return _saved_by_torch(auto_circuit_scores(circuit))
        case "parquet":
            from acdc_pipeline.store.codec import encode

            return encode(record)["edges.parquet"]
        case "svg":
            return draw_run(record, circuit).encode()
    raise AssertionError(form)


def lost_positions(circuit: Circuit, form: str) -> str | None:
    """Say what a format makes of the spans of a circuit; None if there are none, or it has them."""
    if form != "mib-json" or not circuit.topology.spans:
        return None
    edges, pairs = pluralize(len(circuit), "edge"), pluralize(len(circuit.collapse()), "edge")
    return f"{form} has no positions: {edges} in spans are written as {pairs} between components"


def _width(record: RunRecord) -> int:
    """The width of the run's model, which some formats state and older runs do not record."""
    width = record.details.get("d_model")
    if width is None:
        from acdc_pipeline.models import describe_model

        width = describe_model(record.spec.model).d_model
    return width


def _saved_by_torch(contents: Mapping[str, Any]) -> bytes:
    """Return a file of `torch.save`, arrays saved as tensors."""
    import numpy as np
    import torch

    file = BytesIO()
    tensors = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in contents.items()
    }
    torch.save(tensors, file)
    return file.getvalue()


def draw_run(record: RunRecord, circuit: Circuit) -> str:
    """Draw the circuit of `record` as SVG, with its task, model, method and metrics."""
    from acdc_pipeline.plotting.circuit import draw_circuit
    from acdc_pipeline.specs import circuit_method, method_label

    spec, metrics = record.spec, record.metrics
    return draw_circuit(
        circuit,
        title=f"{spec.task} in {spec.model}",
        subtitle=f"{method_label(spec.method)}, {circuit_method(spec.method).ablation} ablation. "
        f"KL to the whole model {format_number(metrics.get('kl'))}, "
        f"accuracy {format_percent(metrics.get('accuracy'))} "
        f"(whole model {format_percent(metrics.get('model_accuracy'))}), "
        f"forced choice {format_percent(metrics.get('forced_choice'))} "
        f"(whole model {format_percent(metrics.get('model_forced_choice'))}). "
        f"Run {spec.run_id()[:8]}.",
        consensus=record.consensus,
    )
