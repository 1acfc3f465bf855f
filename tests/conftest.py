"""What holds for every test: checked shapes, no network, one thread, a store of its own.

The environment is set when this file is imported, which is before any test module imports
torch, transformers or ray; those read it once, on import.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

from tests import typecheck

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    RAY_USAGE_STATS_ENABLED="0",
    TOKENIZERS_PARALLELISM="false",
)
# One thread: small models are faster so, and sums are taken in the same order everywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Every function of the package checks its annotations, tensor shapes included.
install_import_hook("acdc_pipeline", f"{typecheck.__name__}.beartyped")


@pytest.fixture(autouse=True)
def store_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The default results store of this test alone, through the environment."""
    url = str(tmp_path / "store")
    monkeypatch.setenv("ACDC_STORE", url)
    return url
