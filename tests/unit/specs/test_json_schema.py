from __future__ import annotations

from benchmarks.docs_pages.json_schemas import schema_texts, write_schemas
from tests.support import REPOSITORY


def test_committed_schemas_are_current():
    """After a change: `python -m benchmarks.docs_pages.json_schemas docs/schemas`."""
    committed = {
        path.name: path.read_text() for path in (REPOSITORY / "docs" / "schemas").glob("*.json")
    }
    assert committed == schema_texts()


def test_schemas_written_are_the_files_named(tmp_path):
    assert sorted(path.name for path in write_schemas(tmp_path)) == sorted(schema_texts())
