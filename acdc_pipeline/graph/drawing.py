"""A circuit drawn: an SVG that notebooks show and that can be kept as a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Drawing:
    """An SVG document; a notebook shows it as the picture it is.

    Args:
        svg: the whole document, as text.
    """

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<an SVG of {len(self.svg):,} characters>"

    def save(self, path: Path | str) -> Path:
        """Writes the picture to `path`, in place of what is there, and gives the path."""
        written = Path(path)
        written.write_text(self.svg, encoding="utf-8")
        return written
