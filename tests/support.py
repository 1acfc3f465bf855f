"""Helpers that tests of several directories use."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def shared_path(*parts: str) -> Path:
    """A file of the optional `shared` folder beside the checkout; skips the test without it.

    The folder holds material that is not ours to ship: published circuits, real tokenizers.
    """
    path = (REPOSITORY.parent / "shared").joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs ../shared/{'/'.join(parts)}, which this machine does not have")
    return path
