"""What the documents tell people to type exists, and their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from acdc_pipeline.cli.main import app
from tests.support import REPOSITORY

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "deploy/README.md",
    "deploy/ci/README.md",
    "workers/README.md",
    *sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "docs").glob("*.md")),
)

FENCE = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<!`)`(acdc|make) ([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def typed(program: str) -> list[str]:
    """Every command line of the documents that starts with `program`, without its comment."""
    lines: list[str] = []
    for document in DOCUMENTS:
        text = (REPOSITORY / document).read_text()
        fenced = (line for block in FENCE.findall(text) for line in block.splitlines())
        inline = (" ".join(words) for words in INLINE.findall(text))
        lines += [
            command.strip()
            for line in (*fenced, *inline)
            for command in line.split(" #")[0].split("&&")
        ]
    return sorted({line for line in lines if line.split(" ")[0] == program})


def test_documents_show_commands_of_both_kinds():
    assert {"make demo", "make test"} <= set(typed("make"))
    assert any(line.startswith("acdc discover") for line in typed("acdc"))


@pytest.mark.parametrize("line", typed("make"))
def test_make_target_in_documents_exists(line: str):
    targets = re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert line.split()[1] in targets


@pytest.mark.parametrize("line", typed("acdc"))
def test_command_in_documents_exists_with_its_options(line: str):
    command, arguments = _command(shlex.split(line)[1:])
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    written = {word.split("=")[0] for word in arguments if word.startswith("-")}
    assert written - known == set()


@cache
def _root() -> Any:
    return get_command(app)


def _command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that `words` start with, and the words left for it."""
    command = _root()
    while subcommands := getattr(command, "commands", None):
        if words[0].startswith("-"):  # an option of `acdc` itself
            break
        name, *words = words
        # `runs list|show` and the like name several at once.
        first, *others = name.split("|")
        assert {first, *others} <= set(subcommands), f"known: {sorted(subcommands)}"
        command = subcommands[first]
    return command, words


@pytest.mark.parametrize("document", DOCUMENTS)
def test_relative_links_of_document_lead_somewhere(document: str):
    path = REPOSITORY / document
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    broken = [link for link in LINK.findall(text) if not _leads_somewhere(path, link)]
    assert broken == []


def _leads_somewhere(document: Path, link: str) -> bool:
    file, _, anchor = link.partition("#")
    target = document.parent / file if file else document
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    plain = (re.sub(r"[^\w\s-]", "", h.lower()) for h in HEADING.findall(page.read_text()))
    return {heading.strip().replace(" ", "-") for heading in plain}
