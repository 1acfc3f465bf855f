"""Files of the site: written whole or not at all, and only where something differs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment

from acdc_pipeline.wiki.manifest import Entry, digest_of
from acdc_pipeline.wiki.render import render


@dataclass
class Writer:
    """Writes files below a folder, and remembers what the site consists of.

    Args:
        out: the folder.
        before: what the last build wrote.
        entries: what the site consists of now.
        written: how many files were written; the others were there already.
    """

    out: Path
    before: Mapping[str, Entry]
    entries: dict[str, Entry] = field(default_factory=dict)
    written: int = 0
    _folders: set[Path] = field(default_factory=set)

    def page(
        self, templates: Environment, name: str, template: str, facts: Mapping[str, Any]
    ) -> None:
        """A page."""
        self.data(name, render(templates, template, facts))

    def data(self, name: str, content: bytes) -> None:
        """A file with this content."""
        entry = Entry(digest_of(content), len(content))
        self.entries[name] = entry
        if self.before.get(name) != entry or not self.is_there(name, entry):
            self._write(self.out / name, content)
            self.written += 1

    def is_there(self, name: str, entry: Entry) -> bool:
        """Whether the file that an earlier build wrote is still there, by its size."""
        try:
            # cheaper than through a Path, and there are many files
            return os.stat(f"{self.out}/{name}").st_size == entry.size  # noqa: PTH116
        except OSError:
            return False

    def _write(self, path: Path, content: bytes) -> None:
        if path.parent not in self._folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(path.parent)
        beside = path.with_name(f"{path.name}.new")
        beside.write_bytes(content)
        # who reads the site meanwhile sees the old page or the new one
        os.replace(beside, path)  # noqa: PTH105  (cheaper, and there are many pages)


def remove(out: Path, names: set[str]) -> None:
    """Removes files of an earlier build, and the folders that they leave empty."""
    folders: set[Path] = set()
    for name in names:
        path = out / name
        path.unlink(missing_ok=True)
        folders |= set(path.relative_to(out).parents)
    for folder in sorted(folders, key=lambda f: -len(f.parts)):
        if folder.parts:
            try:
                (out / folder).rmdir()
            except OSError:
                continue  # something else is in it
