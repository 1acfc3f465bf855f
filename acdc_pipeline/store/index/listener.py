"""Listeners to the upkeep of the index."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class IndexListener(Protocol):
    """Listener to the upkeep of the index of the store at `url`."""

    def reading(self, url: str, done: int, total: int) -> None:
        """Report that `done` of `total` runs that are not in the index have been read."""

    def corrected(self, url: str, message: str) -> None:
        """Report how the index differed from the runs of the store."""


class SilentIndex(IndexListener):
    """A listener that reports nothing."""

    def reading(self, url: str, done: int, total: int) -> None:
        """Do nothing."""

    def corrected(self, url: str, message: str) -> None:
        """Do nothing."""


SILENT = SilentIndex()
