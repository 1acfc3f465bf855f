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


@runtime_checkable
class PartProgress(Protocol):
    """A listener to work that has named parts, such as an evaluation."""

    def part(self, name: str, number: int, of: int) -> None:
        """Part `number` of `of`, counted from 1, begins; the one before it is over."""
        ...

    def share(self, done: float) -> None:
        """So much of the part is done, 0 to 1."""
        ...


class SilentParts:
    """Reports nothing."""

    def part(self, name: str, number: int, of: int) -> None:
        """Nothing."""

    def share(self, done: float) -> None:
        """Nothing."""
