"""Ctrl-C while modules are imported.

A KeyboardInterrupt inside an import surfaces as whatever error the library makes of it, or ends
the process in C++. Nothing is lost by leaving at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType

INTERRUPTED = 130
SAID = "\nacdc: interrupted; a run that was not finished is not in the store\n"

_SHOW_CURSOR = b"\x1b[?25h"


def quiet_during_imports() -> None:
    """From now on Ctrl-C during an import ends the process with 130, and elsewhere interrupts it.

    Where it is ignored, as behind `nohup`, it stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)


def _interrupted(_number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            if os.isatty(2):
                os.write(2, _SHOW_CURSOR)  # a bar may have hidden it
            with contextlib.suppress(OSError):
                os.write(2, SAID.encode())
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt
