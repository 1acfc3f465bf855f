"""Output files of commands: stdout by its name `-`, files that exist, drawings."""

from __future__ import annotations

from pathlib import Path

from acdc_pipeline.cli.terminal.output import print_line
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.files import check_writable, stream_number, write_bytes

STDOUT = Path("-")
"""Stands for stdout where a file is expected."""


def check_new(path: Path) -> None:
    """Raise InvalidInput if `path` cannot be written, or would replace an existing file."""
    check_writable(path)
    if stream_number(path) is None and path.is_file():
        raise InvalidInput(
            "exists already", where=str(path), fix="add --force to replace it, or choose another"
        )


def check_drawing(svg: Path | None, *, force: bool, json: bool, command: str) -> None:
    """Raise InvalidInput if `--svg` conflicts with `--json`, or the drawing cannot be written."""
    if svg == STDOUT:
        if json:
            raise InvalidInput("--svg - and --json exclude one another", where=command)
    elif svg is not None and not force:
        check_new(svg)


def write_drawing(path: Path, drawing: str) -> bool:
    """Write a drawing to a file, or to stdout; return whether it is on stdout."""
    if path == STDOUT:
        print_line(drawing.rstrip("\n"))
        return True
    write_bytes(path, drawing.encode())
    return False
