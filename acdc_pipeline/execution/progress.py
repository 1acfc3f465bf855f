"""What a long run reports while it works."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """A listener: a progress bar, plain lines, or a worker's heartbeat."""

    def start(self, total_edges: int, label: str) -> None:
        """A search over `total_edges` edges begins."""
        ...

    def advance(self, tested: int, kept: int, left: int) -> None:
        """So many edges tested, so many of them kept, so many possibly left to test."""
        ...

    def finish(self) -> None:
        """The search is over, whether it succeeded or not."""
        ...


class Silent:
    """Reports nothing."""

    def start(self, total_edges: int, label: str) -> None:
        """Nothing."""

    def advance(self, tested: int, kept: int, left: int) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""
