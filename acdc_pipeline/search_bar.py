"""How far a search is, in a notebook or on a terminal."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.std import tqdm


class SearchBar:
    """A bar on stderr that is gone when the search is over.

    It is plain text, so that a notebook shows it without any widget being installed.
    """

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def start(self, total_edges: int, label: str) -> None:
        """Shows an empty bar."""
        self.finish()
        self._bar = tqdm(total=total_edges, desc=label, unit=" edges", leave=False)

    def advance(self, tested: int, kept: int, left: int) -> None:
        """Moves the bar: edges that never need a test count as done."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"{tested} tested, {kept} kept", refresh=False)
            self._bar.update((self._bar.total or 0) - left - self._bar.n)

    def finish(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def bar_where_seen() -> SearchBar | None:
    """A bar where somebody looks: in a notebook or at a terminal; None in scripts and logs."""
    return SearchBar() if sys.stderr.isatty() or _in_notebook() else None


def _in_notebook() -> bool:
    # whoever runs inside IPython has imported it
    shell = sys.modules.get("IPython")
    running = None if shell is None else shell.get_ipython()
    return type(running).__name__ == "ZMQInteractiveShell"
