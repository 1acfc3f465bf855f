"""Reading text, YAML and CSV files, with errors that name file and line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.parser import ParserError
from yaml.scanner import ScannerError

from acdc_pipeline.errors import SpecError


class _UniqueKeys(yaml.constructor.SafeConstructor):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _at(key_node, "a key has to be a plain name")
            if key_node.value in seen:
                raise _at(key_node, f"the key '{key_node.value}' is there twice")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)


class _Loader(_UniqueKeys, yaml.SafeLoader):
    """SafeLoader with YAML 1.2 scalars, without duplicate keys, anchors and aliases.

    YAML 1.1 reads the name `No` as false, `1e-3` as a string and `12:30` as 750. Ten lines of
    aliases to aliases can expand to more values than fit into memory.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012  (the mechanism of PyYAML)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()
        if getattr(event, "anchor", None) is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            raise yaml.MarkedYAMLError(
                problem=f"anchors and aliases ({sign}{event.anchor}) are not supported: "
                "write the value out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)


def _at(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first
    )


_FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PackageLoader(_UniqueKeys, _FastLoader):
    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def read_package_yaml(path: Path) -> Any:
    """The data in a file of the package; faster than `read_yaml`."""
    return yaml.load(path.read_bytes(), Loader=_PackageLoader)


def read_bytes(path: Path) -> bytes:
    """The contents of `path`. Raises SpecError naming the file if it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SpecError("no such file", where=display_path(path)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SpecError(f"cannot be read: {reason}", where=display_path(path)) from error


def read_text(path: Path) -> str:
    """The text of `path`. Raises SpecError naming the file if it cannot be read as UTF-8."""
    try:
        return io.TextIOWrapper(io.BytesIO(read_bytes(path)), encoding="utf-8").read()
    except UnicodeDecodeError as error:
        raise SpecError("cannot be read: is not UTF-8 text", where=display_path(path)) from error


def read_yaml(path: Path) -> Any:
    """The data in `path`. Raises SpecError naming file and line if it is not YAML."""
    text = read_text(path)
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise SpecError(
            error.problem or "is not YAML",
            where=f"{display_path(path)}{line}",
            fix="quote texts that hold ': ', '{', '[', '#' or a leading quote"
            if isinstance(error, ScannerError | ParserError)
            else None,
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError(f"is not YAML: {error}", where=display_path(path)) from error
    except RecursionError as error:
        raise SpecError("is nested too deeply to be read", where=display_path(path)) from error


def display_path(path: Path) -> str:
    """`path` for messages: relative to the working directory if it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except (ValueError, OSError, RuntimeError):  # the last two: a loop of symbolic links
        return str(path)


def path_inside(folder: Path, name: str, field: str) -> Path:
    """The path of the file `name` in `folder`. Raises SpecError if it is outside."""
    path = folder / name
    if Path(name).is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
        raise SpecError(
            f"'{name}' leads out of the folder",
            where=display_path(folder),
            field=field,
            allowed="the name of a file beside this one",
        )
    return path


_CSV_FIX = "write the column names in the first line, then one row per line, separated by commas"


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of the `.csv` file `path`, by column; blank lines are skipped.

    Spaces around a word are removed. Quotes work as in any CSV: `"a, b"` is one word.

    Raises:
        SpecError: the file cannot be read or is not a table; names file, line and column.
    """
    lines = _csv_lines(path)
    _, columns = next(lines, (0, []))
    if not columns:
        raise SpecError("holds no table", where=display_path(path), fix=_CSV_FIX)
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise SpecError(f"the column '{twice[0]}' is there twice", where=f"{display_path(path)}:1")
    rows = []
    for number, cells in lines:
        where = f"{display_path(path)}:{number}"
        if len(cells) != len(columns):
            raise SpecError(
                f"has {len(cells)} cells, and the table {len(columns)} columns",
                where=where,
                allowed=", ".join(columns),
            )
        for column, cell in zip(columns, cells, strict=True):
            if not cell:
                raise SpecError("is empty", where=where, field=column, fix="write a word there")
        rows.append(dict(zip(columns, cells, strict=True)))
    if not rows:
        raise SpecError("holds no row", where=display_path(path), fix=_CSV_FIX)
    return rows


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of every line that is not blank. Raises SpecError."""
    text = read_text(path).removeprefix("\ufeff")  # spreadsheets write a byte order mark
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        where = f"{display_path(path)}:{reader.line_num}"
        raise SpecError(f"is not CSV: {error}", where=where, fix=_CSV_FIX) from error
