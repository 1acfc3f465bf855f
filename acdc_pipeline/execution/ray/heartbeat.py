"""How far the run of a worker process is, and the word to stop it."""

from __future__ import annotations

import threading

Position = tuple[int, int, int]
"""Edges tested, kept, and possibly left to test."""


class Cancelled(Exception):
    """The driver asked for the run to stop; it ends between two steps and is not committed."""


class Heartbeat:
    """Hears a search's progress in one thread and is read and stopped from another.

    The driver asks for the last position instead of being told each: a search makes thousands of
    decisions a second, and none of them waits for a message. An attribute is replaced as a whole,
    so that the reader needs no lock, and the interpreter lets the reading thread run every few
    milliseconds, however busy the search is.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._run_id = ""
        self._at: tuple[str, Position] = ("", (0, 0, 0))

    @property
    def position(self) -> tuple[str, Position]:
        """The run being executed, and how far it was at its last decision."""
        return self._at

    @property
    def tested(self) -> int:
        """Edges tested so far."""
        return self._at[1][0]

    def stop(self) -> None:
        """From now on every step raises Cancelled."""
        self._stop.set()

    def begin(self, run_id: str) -> None:
        """A new run, of which nothing is known yet."""
        self._run_id = run_id
        self._at = run_id, (0, 0, 0)

    def start(self, total_edges: int, label: str) -> None:
        """A search begins. Raises Cancelled."""
        self._reach((0, 0, total_edges))

    def advance(self, tested: int, kept: int, left: int) -> None:
        """A decision was made. Raises Cancelled."""
        self._reach((tested, kept, left))

    def finish(self) -> None:
        """The search is over."""

    def _reach(self, position: Position) -> None:
        self._at = self._run_id, position
        if self._stop.is_set():
            raise Cancelled
