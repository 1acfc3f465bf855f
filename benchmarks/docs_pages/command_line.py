"""The command line as a page: `python -m benchmarks.docs_pages.command_line docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from acdc_pipeline.cli.app import option_panels
from acdc_pipeline.cli.main import app

HEAD = """\
# The command line

Written by `python -m benchmarks.docs_pages.command_line docs/cli.md` from the commands \
themselves; `--help` behind any of them says the same.

`--json` puts one JSON document on stdout and nothing else there; logs and progress go to stderr. \
Settings: command line, then environment (`ACDC_…`), then `acdc.yaml` of the project folder, then \
the default.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | `regress` found drift |
| 2 | usage or invalid input |
| 3 | execution failed or incomplete |
| 4 | a baseline is missing or incompatible |
| 130 | interrupted |
"""


def reference() -> str:
    """The whole page."""
    root = get_command(app)
    parts = [HEAD, *(_section(path, command) for path, command in _commands(root, ()))]
    return "\n".join(parts)


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below `group` with the words that name it, in the order of the help."""
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from _commands(command, (*path, name))
        elif not command.hidden:
            yield (*path, name), command


def _section(path: tuple[str, ...], command: Any) -> str:
    context = typer.Context(command, info_name=" ".join(("acdc", *path)))
    text, examples = _help(command)
    command.get_params(context)  # fills in the help of `MethodCommand`
    panels = option_panels(command.params)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"## acdc {' '.join(path)}", "", text, "", "```text", f"acdc {' '.join(path)} {usage}"]
    lines += ["```", ""]
    for title, params in panels.items():
        rows = [record for p in params if (record := p.get_help_record(context))]
        if not rows:
            continue
        lines += [*([f"{title}:", ""] if title else []), "| | |", "|---|---|"]
        for name, says in rows:
            plain = name.partition(" <")[0].strip("{}")  # without the type that Typer adds
            lines.append(f"| `{_cell(plain)}` | {_cell(says)} |")
        lines.append("")
    if examples:
        lines += ["```sh", *examples, "```", ""]
    return "\n".join(lines)


def _help(command: Any) -> tuple[str, list[str]]:
    """The paragraphs of a command's help, and its examples."""
    text: list[str] = []
    examples: list[str] = []
    for block in cleandoc(command.help or "").replace("\b", "").split("\n\n"):
        lines = block.strip().splitlines()
        if lines and lines[0].startswith("Example"):
            first = lines[0].partition(":")[2].strip()
            examples += [first] if first else []
            examples += [line.strip() for line in lines[1:]]
        elif lines:
            text.append(" ".join(line.strip() for line in lines))
    return "\n\n".join(text), examples


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
