"""A file system of a few kilobytes that a test may fill, and turn read-only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SmallDisk:
    """A file system of its own.

    Args:
        folder: where it is.
    """

    folder: Path

    def turn(self, mode: str) -> None:
        """Makes it read-only (`ro`) or writable (`rw`), at once and for everybody."""
        subprocess.run(["mount", "-o", f"remount,{mode}", str(self.folder)], check=True)

    def resize(self, size: str) -> None:
        """Gives it another size, as in `8m`."""
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Mounts one, and takes it away; skips the test where only root may, and this is not root."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
