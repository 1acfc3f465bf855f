"""Lines on stderr about the index of a store: that it is built, and that it was corrected."""

from __future__ import annotations

import time
from dataclasses import dataclass

from acdc_pipeline.cli.terminal.output import print_note
from acdc_pipeline.cli.terminal.progress import SECONDS_BETWEEN_LINES
from acdc_pipeline.cli.terminal.text import relative_path


@dataclass
class IndexNotes:
    """Listener to the upkeep of an index (`store.index.IndexListener`).

    No bar: the index may be read while another bar is on the terminal.
    """

    _last: float | None = None

    def reading(self, url: str, done: int, total: int) -> None:
        """Print at the first report, and every few seconds, how many runs have been read."""
        now = time.monotonic()
        if self._last is not None and now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        print_note(f"building the index of {relative_path(url)}: {done:,} of {total:,} runs read")

    def corrected(self, url: str, message: str) -> None:
        """Print how the index differed from the runs of the store."""
        print_note(f"index of {relative_path(url)} {message}")
