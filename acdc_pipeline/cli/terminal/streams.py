"""stdout and stderr that may be closed, full or gone."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import IO

from acdc_pipeline.errors import ExecutionFailed


class OutputFailed(ExecutionFailed):
    """The answer could not be written."""


def open_missing() -> None:
    """Gives a command that was started without stdout or stderr (`>&-`) ones that keep nothing."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # It stays open as long as the process, so no `with`.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files need not be text, and not every terminal shows every letter. In JSON it
        # stays what it is.
        sys.stdout.reconfigure(errors="backslashreplace")


def put(content: str | bytes) -> None:
    """A part of the answer on stdout.

    Raises:
        OutputFailed: it cannot be written.
        BrokenPipeError: whoever read it has seen enough.
    """
    try:
        if isinstance(content, bytes):
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
        else:
            sys.stdout.write(content)
    except OSError as error:
        raise _failure(error) from error


def flush() -> None:
    """Ends what `put` began. Raises what it does."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise _failure(error) from error


def tell(text: str) -> None:
    """Something beside the answer on stderr; what cannot be written there is lost."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def discard(stream: IO[str]) -> None:
    """Leads `stream` nowhere: what is still buffered would fail again when Python ends."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _failure(error: OSError) -> Exception:
    discard(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return error
    return OutputFailed(f"cannot be written: {error.strerror or error}", where="stdout")
