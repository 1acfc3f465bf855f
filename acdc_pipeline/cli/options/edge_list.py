"""Circuits that people name: a file, or edges with commas between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acdc_pipeline.errors import GraphError, InvalidInput
from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.json_text import read_json


def read_edges(text: str, topology: Topology) -> Circuit:
    """The circuit that `text` names, in the graph of a model.

    Args:
        text: a file in node-link or MIB JSON or with one edge a line (`#` begins a comment), or
            edges such as `input->a0.h1<v>,a0.h1->logits`.
        topology: the graph.

    Raises:
        InvalidInput: the file cannot be read, or is of another graph.
        GraphError: what is no edge, or no edge of this graph.
    """
    if "->" in text and not _is_file(text):
        return Circuit.of(topology, [name.strip() for name in text.split(",") if name.strip()])
    try:
        content = Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise InvalidInput(
            f"cannot be read: {reason}",
            where=text,
            field="--edges",
            allowed="a file, or edges such as input->a0.h1<v>,a0.h1->logits",
        ) from error
    if content.lstrip().startswith(("<", "digraph")):
        raise InvalidInput(
            "looks like GraphML, SVG or DOT, which are written and not read",
            where=text,
            field="--edges",
            fix="export the circuit with --format node-link or mib-json",
        )
    if not content.lstrip().startswith("{"):
        lines = [line.partition("#")[0].strip() for line in content.splitlines()]
        named = [line for line in lines if line]
        if not named:
            raise InvalidInput("names no edge", where=text, field="--edges")
        try:
            return Circuit.of(topology, named)
        except GraphError as error:
            raise error.at(text) from None
    circuit = _of_document(content, text)
    if circuit.topology != topology:
        raise InvalidInput("is a circuit in another graph", where=text, field="--edges")
    return circuit


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # a list of edges is soon longer than a name of a file may be
        return False


def _of_document(content: str, name: str) -> Circuit:
    from acdc_pipeline.graph.mib import from_mib
    from acdc_pipeline.graph.node_link import from_node_link

    try:
        document: Any = read_json(content)
    except ValueError as error:
        raise InvalidInput(f"is not JSON: {error}", where=name, field="--edges") from error
    read = from_mib if "cfg" in document else from_node_link
    try:
        return read(document)
    except GraphError as error:
        problem = f"{error.field}: {error.problem}" if error.field else error.problem
        raise InvalidInput(problem, where=name, field="--edges", allowed=error.allowed) from error
