"""stdout and stderr, also when they are closed, full or cut off.

stdout holds the answer and nothing else; progress, log records, warnings and what libraries print
go to stderr.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from acdc_pipeline.errors import ExecutionFailed, escape_control_characters


class OutputFailed(ExecutionFailed):
    """stdout cannot be written."""


def open_missing_streams() -> None:
    """Open stdout and stderr on the null device if the command was started without them (`>&-`)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # stays open for the life of the process, so no `with`
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names need not be valid text, and not every terminal can show every character.
        sys.stdout.reconfigure(errors="backslashreplace")


def write_stdout(content: str | bytes) -> None:
    """Write to stdout. Raises OutputFailed, or BrokenPipeError if the reader closed the pipe."""
    try:
        if isinstance(content, bytes):
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
        else:
            sys.stdout.write(content)
    except OSError as error:
        raise _failure(error) from error


def flush_stdout() -> None:
    """Flush stdout. Raises like `write_stdout`."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise _failure(error) from error


def write_stderr(text: str) -> None:
    """Write `text` to stderr; if that fails, the text is dropped."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _disconnect(sys.stderr)


@contextlib.contextmanager
def reserve_stdout() -> Iterator[None]:
    """Redirect what libraries print to stderr, so that stdout holds the answer alone."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def show_log_records() -> Iterator[None]:
    """Write log records of this package from level INFO to stderr, one per line."""
    logger, handler = logging.getLogger("acdc_pipeline"), _StderrHandler(logging.INFO)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _StderrHandler(logging.Handler):
    """Writes to the current `sys.stderr`, which a progress display may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        write_stderr(escape_control_characters(self.format(record)) + "\n")


def _failure(error: OSError) -> Exception:
    _disconnect(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return error
    return OutputFailed(f"cannot be written: {error.strerror or error}", where="stdout")


def _disconnect(stream: IO[str]) -> None:
    """Point `stream` at the null device: flushing its buffer at exit would fail again."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
