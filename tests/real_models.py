"""The real model of tests marked `real`: the 4-bit weights that `make real` fetches.

What decides is read when this file is imported, before `conftest.py` clears the environment.
Nothing is downloaded in tests unless `ACDC_REAL_FETCH=1` asks for it.
"""

from __future__ import annotations

import os

import pytest

_CACHE = os.environ.get("ACDC_CACHE")
_FETCH = os.environ.get("ACDC_REAL_FETCH") == "1"


def real_reference(monkeypatch: pytest.MonkeyPatch) -> str:
    """The `gguf:` reference of the real model; skips the test where its file is not there.

    The cache becomes that of this user, so that the file is converted once and not in every test.
    """
    from acdc_pipeline.errors import ExecutionFailed
    from benchmarks.real_model import cached_model, fetch_model

    if _CACHE is None:
        monkeypatch.delenv("ACDC_CACHE", raising=False)
    else:
        monkeypatch.setenv("ACDC_CACHE", _CACHE)
    try:
        path = fetch_model() if _FETCH else cached_model()
    except ExecutionFailed as error:
        pytest.skip(str(error))
    if path is None:
        pytest.skip("needs the weights of a real model: make real, or ACDC_REAL_FETCH=1")
    return f"gguf:{path}"
