"""Ctrl-C, also while modules are imported.

A KeyboardInterrupt inside an import surfaces as whatever error the library makes of it, or ends
the process in C++. Nothing is lost by leaving at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

INTERRUPTED = 130
MESSAGE = (
    "\nacdc: interrupted; unfinished work is not in the store, and the same command continues "
    "from what is\n"
)

_SHOW_CURSOR = b"\x1b[?25h"


def install_interrupt_handler() -> None:
    """Make Ctrl-C end the process with 130 during an import, and interrupt it elsewhere.

    Where it is ignored, as behind `nohup`, it stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Make a folder that is removed at the end, also if Ctrl-C during an import is the end."""
    before = signal.getsignal(signal.SIGINT)
    with tempfile.TemporaryDirectory(prefix=prefix) as name:

        def leave(number: int, frame: FrameType | None) -> None:
            if _is_importing(frame):
                shutil.rmtree(name, ignore_errors=True)
            _interrupt(number, frame)

        if before is not _interrupt:
            yield Path(name)
            return
        signal.signal(signal.SIGINT, leave)
        try:
            yield Path(name)
        finally:
            signal.signal(signal.SIGINT, before)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    if _is_importing(frame):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)  # a progress bar may have hidden it
        with contextlib.suppress(OSError):
            os.write(2, MESSAGE.encode())
        os._exit(INTERRUPTED)
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
