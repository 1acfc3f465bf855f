"""Outputs of commands in documentation pages are renewed by their commands."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.docs_pages.outputs import OUTPUT, renew, shown_commands
from tests.support import REPOSITORY

PAGE = """\
# A page

<!-- output of: python -c "print('new one')" -->
```
old one
```

<!-- output of: python -c "print('new two')" -->
```
old two
with another line
```
Text stays.
"""


def test_outputs_of_the_chosen_commands_are_renewed(tmp_path: Path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    renew(path, "two")
    once = PAGE.replace("old two\nwith another line", "new two")
    assert path.read_text() == once
    renew(path)
    assert path.read_text() == once.replace("old one", "new one")


def test_every_output_in_the_speed_page_names_a_command_that_exists():
    page = (REPOSITORY / "docs" / "speed.md").read_text(encoding="utf-8")
    outputs = OUTPUT.findall(page)
    assert len(outputs) == len(re.findall(r"^```$", page, re.MULTILINE)) / 2
    for command in shown_commands(page):
        module = re.fullmatch(r"python -m ([a-z_.]+)(?: .*)?", command)
        assert module is not None, command
        assert (REPOSITORY / (module[1].replace(".", "/") + ".py")).is_file()
