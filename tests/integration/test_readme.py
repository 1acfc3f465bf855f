"""The Python that README shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from acdc_pipeline.store import open_store
from tests.support import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_python_in_readme_runs_and_keeps_its_run(
    snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    exec(snippet, {})
    assert len(open_store("acdc-results").run_ids()) == 1
