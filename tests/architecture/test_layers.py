"""Which package may import what. The contracts themselves stand in pyproject.toml."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

import pytest

from tests.support import PACKAGE, REPOSITORY

LIGHT = [
    name
    for name in ("graph", "plotting", "specs", "store", "wiki", "regression")
    if (PACKAGE / name).is_dir()
]
HEAVY = ("ray", "torch", "transformer_lens", "transformers")


def test_import_contracts_hold():
    # In a process of its own: the linter keeps its settings in module state.
    result = _python(
        "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_light_packages_that_exist_are_named_in_the_contract():
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    contracts = {c["id"]: c for c in settings["tool"]["importlinter"]["contracts"]}
    named = set(contracts["light"]["source_modules"])
    assert named == {f"acdc_pipeline.{name}" for name in LIGHT}


@pytest.mark.parametrize("name", LIGHT)
def test_light_package_imported_whole_loads_nothing_heavy(name: str):
    """The contract sees imports between our own modules; this sees everything they pull in."""
    modules = [
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for path in sorted((PACKAGE / name).rglob("*.py"))
        if path.name != "__init__.py"
    ]
    assert loaded_of(HEAVY, "; ".join(f"import {module}" for module in modules)) == []


def test_help_loads_nothing_heavy():
    run_help = (
        "import sys, contextlib, io; sys.argv = ['acdc', '--help']; "
        "from acdc_pipeline.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main()"
    )
    slow = ("pyarrow", "pandas", "pydantic", "rich")
    assert loaded_of((*HEAVY, *slow), run_help) == []


def loaded_of(suspects: tuple[str, ...], code: str) -> list[str]:
    """Those of `suspects` that a fresh interpreter has loaded after running `code`."""
    report = f"import json, sys; print(json.dumps([m for m in {suspects!r} if m in sys.modules]))"
    result = _python("-c", f"{code}\n{report}")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
