"""Ctrl-C while modules are imported.

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
SAID = (
    "\nacdc: interrupted; what was not finished is not in the store, and the same command goes on "
    "from what is\n"
)

_SHOW_CURSOR = b"\x1b[?25h"


def quiet_during_imports() -> None:
    """From now on Ctrl-C during an import ends the process with 130, and elsewhere interrupts it.

    Where it is ignored, as behind `nohup`, it stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder that is gone at the end, also where Ctrl-C during an import is the end."""
    before = signal.getsignal(signal.SIGINT)
    with tempfile.TemporaryDirectory(prefix=prefix) as name:

        def leave(number: int, frame: FrameType | None) -> None:
            if _importing(frame):
                shutil.rmtree(name, ignore_errors=True)
            _interrupted(number, frame)

        if before is not _interrupted:
            yield Path(name)
            return
        signal.signal(signal.SIGINT, leave)
        try:
            yield Path(name)
        finally:
            signal.signal(signal.SIGINT, before)


def _interrupted(_number: int, frame: FrameType | None) -> None:
    if _importing(frame):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)  # a bar may have hidden it
        with contextlib.suppress(OSError):
            os.write(2, SAID.encode())
        os._exit(INTERRUPTED)
    raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
