"""Values on the command line: numbers, files to write, circuits. Errors name option and value.

Typer passes defaults through the parsers too, and those have their type already.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.files import STDOUT
from acdc_pipeline.errors import InvalidInput, check_whole, shorten_value
from acdc_pipeline.files import stream_number

if TYPE_CHECKING:
    from acdc_pipeline.graph import Topology
    from acdc_pipeline.graph.files.circuit_file import CircuitFile

MAX_PROMPTS = 1_000_000
"""The limit of run specifications, checked here before anything is loaded."""

MAX_SEED = 2**53 - 1
"""The limit of run specifications: neither torch nor all JSON readers take larger numbers."""

MAX_DRAWN = 100_000
"""The limit of the amounts of an evaluation, as in `workflows.evaluation_plan`."""

MAX_SEARCHES = 1000
"""The most searches of a consensus, as in `specs.methods.search`."""

FEWEST_TOKENS, MOST_TOKENS = 100, 200_000
"""The limits of `specs.methods.text`."""

_INTEGER = re.compile(r"[+-]?[0-9]+")


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


def parse_circuit(text: str, topology: Topology, d_model: int | None = None) -> CircuitFile:
    """Parse the value of `--edges`: a file, or edges such as `input->a0.h1<v>,a0.h1->logits`.

    Args:
        topology, d_model: graph and width of the model.

    Raises:
        InvalidInput: the file cannot be read, or holds a circuit of another graph.
        GraphError: a name is no edge, or no edge of this graph, or named twice.
    """
    from acdc_pipeline.graph.files.circuit_file import CircuitFile
    from acdc_pipeline.graph.files.edge_list import read_edge_list
    from acdc_pipeline.workflows.circuit_files import read_circuit_file

    if "->" in text and not _is_file(text):
        names = [name.strip() for name in text.split(",") if name.strip()]
        return CircuitFile("edge list", read_edge_list(names, topology))
    try:
        return read_circuit_file(Path(text), topology, d_model)
    except InvalidInput as error:
        problem = f"{error.field}: {error.problem}" if error.field else error.problem
        raise InvalidInput(
            problem, where=error.where, field="--edges", allowed=error.allowed, fix=error.fix
        ) from error


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # a list of edges is soon longer than the name of a file may be
        return False
