"""The display of a sweep that suits where stderr goes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from acdc_pipeline.cli.views.sweep_lines import SweepLines
from acdc_pipeline.cli.views.sweep_live import SweepLive

if TYPE_CHECKING:
    from acdc_pipeline.execution.planned import PlannedRun


@contextlib.contextmanager
def watched(runs: Sequence[PlannedRun]) -> Iterator[SweepLines | SweepLive]:
    """A listener to a sweep of `runs`; what it draws is gone at the end, its lines stay."""
    listener = _listener(runs)
    try:
        yield listener
    finally:
        listener.finish()


def _listener(runs: Sequence[PlannedRun]) -> SweepLines | SweepLive:
    if not sys.stderr.isatty():
        return SweepLines(len(runs), time.monotonic)
    from rich.console import Console

    return SweepLive(runs, time.monotonic, Console(stderr=True))
