"""Helpers that tests of several directories use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "acdc_pipeline"

_NOT_SOURCE = {"__pycache__", "build", "dist", "acdc-results"}
_KEPT_HIDDEN = {".ci", ".github"}


def shared_path(*parts: str) -> Path:
    """A file of the optional `shared` folder beside the checkout; skips the test without it.

    The folder holds material that is not ours to ship: published circuits, real tokenizers.
    """
    path = (REPOSITORY.parent / "shared").joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs ../shared/{'/'.join(parts)}, which this machine does not have")
    return path


def print_elsewhere(code: str) -> bytes:
    """What Python code prints in another process, where sets of texts have another order."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={"PYTHONHASHSEED": "1"},
        capture_output=True,
        check=True,
    ).stdout


def source_files(suffix: str = "") -> Iterator[Path]:
    """Every file of the checkout that a person wrote, whose name ends in `suffix`."""
    for folder, names, files in os.walk(REPOSITORY):
        here = Path(folder).relative_to(REPOSITORY)
        names[:] = sorted(name for name in names if _is_source(here / name))
        yield from (REPOSITORY / here / name for name in sorted(files) if name.endswith(suffix))


def _is_source(folder: Path) -> bool:
    generated = folder.as_posix() in {"results/runs", "results/wiki"}
    hidden = folder.name.startswith(".") and folder.name not in _KEPT_HIDDEN
    return not (generated or hidden or folder.name in _NOT_SOURCE)
