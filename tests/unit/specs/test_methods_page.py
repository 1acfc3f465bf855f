"""docs/methods.md, and the command line, know every method that finds a circuit."""

from __future__ import annotations

import re

import pytest
from click import Context
from typer.main import get_command

from acdc_pipeline.cli.main import app, main
from acdc_pipeline.specs import METHODS
from tests.support import REPOSITORY

PAGE = (REPOSITORY / "docs" / "methods.md").read_text(encoding="utf-8")


def test_page_has_a_section_for_every_method_and_none_for_another():
    assert sorted(re.findall(r"^### `([\w-]+)`$", PAGE, re.MULTILINE)) == sorted(METHODS)


def test_table_of_the_page_has_a_row_for_every_method():
    rows = re.findall(r"^\| \[`([\w-]+)`\]\(#\1\) \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(METHODS)


def test_page_names_every_option_of_every_method():
    for name in METHODS:
        for parameter in METHODS[name].parameters():
            assert f"--{parameter.replace('_', '-')}" in PAGE, parameter


def test_command_line_names_every_method(capsys: pytest.CaptureFixture[str]):
    assert main(["discover", "--help"]) == 0
    assert "{" not in capsys.readouterr().out
    command = get_command(app).commands["discover"]  # pyright: ignore[reportAttributeAccessIssue]
    [option] = [p for p in command.get_params(Context(command)) if p.name == "method"]
    assert set(METHODS) <= set(re.findall(r"[a-z-]+", option.help))
