"""The Python and the sweep that README shows run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from acdc_pipeline.store import open_store
from tests.command_line import acdc
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


def test_sweep_in_readme_runs_as_shown(capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    section = README.partition("\n## Sweeps\n")[2].partition("\n## ")[0]
    yaml, sh = (
        re.findall(rf"^```{kind}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)[0]
        for kind in ("yaml", "sh")
    )
    Path("small.yaml").write_text(yaml)
    commands = [shlex.split(line, comments=True)[1:] for line in sh.splitlines()]
    assert [command[0] for command in commands] == ["plan", "run", "run", "runs", "run"]
    for command in commands:
        assert acdc(capsys, *command).code == 0
    assert len(open_store().run_ids()) == 4
