"""Progress of a run whose model is read layer by layer: its label says so."""

from __future__ import annotations

from acdc_pipeline.execution.progress import Progress


class ReadProgress(Progress):
    """A listener that passes everything on, with what a pass reads in the label.

    Args:
        listener: what it passes events on to.
        per_pass: bytes that a pass over all layers reads from files.
    """

    def __init__(self, listener: Progress, per_pass: int) -> None:
        self._listener = listener
        self._note = f"layers read from files, {per_pass / 2**30:.2g} GiB a pass"

    def start(self, total_edges: int, label: str) -> None:
        self._listener.start(total_edges, f"{label} ({self._note})")

    def advance(self, tested: int, kept: int, left: int) -> None:
        self._listener.advance(tested, kept, left)

    def finish(self) -> None:
        self._listener.finish()


def with_reads(listener: Progress, per_pass: int) -> Progress:
    """Return a listener whose label says what a pass reads; `listener` itself if that is nothing.

    Args:
        per_pass: bytes that a pass over all layers reads from files.
    """
    return ReadProgress(listener, per_pass) if per_pass else listener
