"""Values on the command line: numbers, files to write, circuits. Errors name option and value.

Typer passes defaults through the parsers too, and those have their type already.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.files import STDOUT
from acdc_pipeline.errors import GraphError, InvalidInput, check_whole, shorten_value
from acdc_pipeline.workflows.files import stream_number

if TYPE_CHECKING:
    from acdc_pipeline.graph import Circuit, Topology

MAX_PROMPTS = 1_000_000
"""The limit of run specifications, checked here before anything is loaded."""

MAX_SEED = 2**53 - 1
"""The limit of run specifications: neither torch nor all JSON readers take larger numbers."""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_edges_error = partial(InvalidInput, field="--edges")
_EDGES_ALLOWED = "a file, or edges such as input->a0.h1<v>,a0.h1->logits"


def integer(option: str, least: int, most: int | None = None) -> dict[str, Any]:
    """Return the parser and the metavar of an option that takes an integer, for `typer.Option`."""

    return {"parser": partial(parse_integer, option=option, least=least, most=most), "metavar": "N"}


def parse_integer(text: str | int, *, option: str, least: int, most: int | None = None) -> int:
    """Return the integer that `text` states. Raises InvalidInput, which names `option`."""
    try:
        # int() takes 1_0 for 10, and refuses thousands of digits
        value = int(text) if _INTEGER.fullmatch(str(text)) else None
    except ValueError:
        value = None
    if value is None:
        raise InvalidInput(f"'{shorten_value(text)}' is not a whole number", field=option)
    check_whole(value, option, least, most)
    return value


def number(option: str) -> dict[str, Any]:
    """Return the parser and the metavar of an option that takes a decimal number."""

    def parse(text: str | float) -> float:
        try:
            # float() takes 1_0 for 10, and digits of other scripts
            return float(text if "_" not in str(text) and str(text).isascii() else "")
        except ValueError:
            raise InvalidInput(f"'{shorten_value(text)}' is not a number", field=option) from None

    return {"parser": parse, "metavar": "NUMBER"}


def output_file(option: str, metavar: str = "FILE") -> dict[str, Any]:
    """Return the parser and the metavar of an option that names a file to write."""

    def parse(text: str | Path) -> Path:
        if not str(text).strip():
            raise InvalidInput(
                "the name of the file is empty", field=option, allowed="a file, or - for stdout"
            )
        path = Path(text)
        return STDOUT if stream_number(path) == 1 else path

    return {"parser": parse, "metavar": metavar}


def parse_circuit(text: str, topology: Topology) -> Circuit:
    """Parse the value of `--edges`: a file, or edges such as `input->a0.h1<v>,a0.h1->logits`.

    A file is node-link or MIB JSON, or has one edge a line (`#` begins a comment).

    Raises:
        InvalidInput: the file cannot be read, or holds a circuit of another graph.
        GraphError: a name is no edge, or no edge of this graph.
    """
    from acdc_pipeline.graph import Circuit

    if "->" in text and not _is_file(text):
        return Circuit.of(topology, [name.strip() for name in text.split(",") if name.strip()])
    try:
        content = Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise _edges_error(
            f"cannot be read: {reason}", where=text, allowed=_EDGES_ALLOWED
        ) from error
    if content.lstrip().startswith(("<", "digraph")):
        raise _edges_error(
            "looks like GraphML, SVG or DOT, which can be written but not read",
            where=text,
            fix="export the circuit with --format node-link or mib-json",
        )
    if content.lstrip().startswith("{"):
        circuit = _read_json_circuit(content, text)
        if circuit.topology != topology:
            raise _edges_error("is a circuit in another graph", where=text)
        return circuit
    lines = [line.partition("#")[0].strip() for line in content.splitlines()]
    names = [line for line in lines if line]
    if not names:
        raise _edges_error("names no edge", where=text)
    try:
        return Circuit.of(topology, names)
    except GraphError as error:
        raise error.at(text) from None


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # a list of edges is soon longer than the name of a file may be
        return False


def _read_json_circuit(content: str, name: str) -> Circuit:
    from acdc_pipeline.graph.mib import from_mib
    from acdc_pipeline.graph.node_link import from_node_link
    from acdc_pipeline.specs.base import read_json

    try:
        document: Any = read_json(content)
    except ValueError as error:
        raise _edges_error(f"is not JSON: {error}", where=name) from error
    read = from_mib if "cfg" in document else from_node_link
    try:
        return read(document)
    except GraphError as error:
        problem = f"{error.field}: {error.problem}" if error.field else error.problem
        raise _edges_error(problem, where=name, allowed=error.allowed) from error
