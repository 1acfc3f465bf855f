"""The files of `deploy/` as the tests read them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from acdc_pipeline.cli.main import app
from tests.support import REPOSITORY

DEPLOY = REPOSITORY / "deploy"


def locked(package: str) -> str:
    """The version of `package` in constraints.txt."""
    text = (REPOSITORY / "constraints.txt").read_text()
    found = re.search(rf"^{re.escape(package)}==(\S+)$", text, re.MULTILINE)
    assert found, package
    return found[1]


def manifest(*path: str) -> dict[str, Any]:
    """A YAML file below `deploy/`."""
    return yaml.safe_load(DEPLOY.joinpath(*path).read_text())


def parsed(command: str) -> dict[str, Any]:
    """The parameters that the real command line makes of `acdc …`; fails where it refuses them."""
    program, *words = shlex.split(command)
    assert program == "acdc"
    at: Any = get_command(app)
    context = None
    while hasattr(at, "commands"):
        name, *words = words
        context = at.make_context(name, [], parent=context, resilient_parsing=True)
        at = at.commands[name]
    return at.make_context("acdc", words, parent=context).params


def programs(folder: Path, **programs: str) -> str:
    """A PATH on which each of `programs` is the given shell script."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in programs.items():
        path = folder / name
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)
    return f"{folder}:/usr/local/bin:/usr/bin:/bin"
