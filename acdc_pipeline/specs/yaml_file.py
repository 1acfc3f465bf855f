"""Reading YAML: safe, without YAML 1.1's surprises, with line numbers in errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.parser import ParserError
from yaml.scanner import ScannerError

from acdc_pipeline.errors import SpecError


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 scalars, without duplicate keys, anchors and aliases.

    YAML 1.1 reads the name `No` as false, `1e-3` as a string and `12:30` as 750: all three
    have corrupted word lists and thresholds before. Ten lines of aliases to aliases stand for
    more values than fit into any memory.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012  (PyYAML's own mechanism: a fresh table)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()
        if getattr(event, "anchor", None) is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            raise yaml.MarkedYAMLError(
                problem=f"anchors and aliases ({sign}{event.anchor}) are not read here: "
                "write the value out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _at(key_node, "a key has to be a plain name")
            if key_node.value in seen:
                raise _at(key_node, f"the key '{key_node.value}' is there twice")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)


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


def read_text(path: Path) -> str:
    """The text of `path`. Raises SpecError naming the file if it cannot be read as UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError("no such file", where=shown(path)) from None
    except UnicodeDecodeError as error:
        raise SpecError("cannot be read: is not UTF-8 text", where=shown(path)) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SpecError(f"cannot be read: {reason}", where=shown(path)) from error


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
            where=f"{shown(path)}{line}",
            fix="quote texts that hold ': ', '{', '[', '#' or a leading quote"
            if isinstance(error, ScannerError | ParserError)
            else None,
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError(f"is not YAML: {error}", where=shown(path)) from error
    except RecursionError as error:
        raise SpecError("is nested too deeply to be read", where=shown(path)) from error


def shown(path: Path) -> str:
    """`path` as people read it: relative to the working directory where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except (ValueError, OSError, RuntimeError):  # the last two: a loop of symbolic links
        return str(path)
