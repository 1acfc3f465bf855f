"""What the package logs, as lines on stderr: work that takes long and happens once."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from acdc_pipeline.cli.terminal.streams import tell


class _Lines(logging.Handler):
    """Writes each record as a line where stderr is now; a bar on a terminal stays below it."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(f"{self.format(record)}\n")


@contextlib.contextmanager
def log_shown() -> Iterator[None]:
    """Shows what the loggers of this package say at level INFO and above."""
    logger, handler = logging.getLogger("acdc_pipeline"), _Lines(logging.INFO)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
