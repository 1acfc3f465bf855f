"""Checkpoints of `tests.checkpoints`, written and loaded once in a process.

For tests that change neither the folder nor the model.
"""

from __future__ import annotations

import atexit
import tempfile
from functools import cache
from pathlib import Path

from acdc_pipeline.models import LoadedModel, TransformerWeights, load_model
from tests import checkpoints


@cache
def folder(name: str, layers: int = 2) -> Path:
    """The folder of checkpoint `name`."""
    return checkpoints.EVERY[name](_root() / f"{layers}" / name, layers=layers)


@cache
def loaded(name: str, dtype: str = "float32", layers: int = 2) -> LoadedModel:
    """Checkpoint `name` on the CPU."""
    return load_model(f"dir:{folder(name, layers)}", dtype=dtype, device="cpu")


def weights(name: str, dtype: str = "float64", layers: int = 2) -> TransformerWeights:
    """The weights of checkpoint `name`, by default in the precision that comparisons need."""
    return loaded(name, dtype, layers).weights


@cache
def _root() -> Path:
    root = tempfile.TemporaryDirectory()
    atexit.register(root.cleanup)
    return Path(root.name)
