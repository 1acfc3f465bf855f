"""docs/ is whole: every page is in the index, and what is generated is up to date."""

from __future__ import annotations

from benchmarks.docs_pages.command_line import reference
from tests.support import REPOSITORY


def test_every_page_of_docs_is_in_the_index():
    index = (REPOSITORY / "docs" / "README.md").read_text()
    pages = {path.name for path in (REPOSITORY / "docs").glob("*.md")} - {"README.md"}
    assert [page for page in sorted(pages) if f"({page})" not in index] == []


def test_reference_of_the_command_line_is_up_to_date():
    written = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == reference(), "run: python -m benchmarks.docs_pages.command_line docs/cli.md"
