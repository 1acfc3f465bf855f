"""What docs/data-formats.md says of files and columns is so, and its snippets run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from acdc_pipeline.store import RunFailure, StoredEvaluation, open_store, tables
from acdc_pipeline.store.codec import encode
from acdc_pipeline.store.evaluation import encode_evaluation
from acdc_pipeline.store.failure import encode_failure
from acdc_pipeline.store.index.rows import SCHEMA
from acdc_pipeline.workflows.evaluation_plan import evaluation_plan
from tests import records
from tests.support import REPOSITORY

PAGE = (REPOSITORY / "docs" / "data-formats.md").read_text(encoding="utf-8")
RUN_ID = records.spec().run_id()
# The page shows some run; here it is the one at hand.
SNIPPETS = [
    block.replace("5d2d3ab1ffba15c43f8d", RUN_ID).replace('"5d2d"', repr(RUN_ID[:4]))
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
]


def section(name: str) -> str:
    _, _, rest = PAGE.partition(f"### {name}\n")
    return rest.partition("\n### ")[0].partition("\n## ")[0]


@pytest.mark.parametrize("name", ["edges", "nodes", "steps", "heads"])
def test_page_lists_the_columns_of_a_table_with_their_types(name: str):
    schema: pa.Schema = getattr(tables, name.upper())
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section(f"{name}.parquet"), re.MULTILINE)
    assert rows == [
        (field.name, f"{field.type}{', may be null' * field.nullable}") for field in schema
    ]


def test_page_lists_the_columns_of_the_index_with_their_types():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section("index/"), re.MULTILINE)
    assert rows == [
        (field.name, f"{field.type}{', may be null' * field.nullable}") for field in SCHEMA
    ]


def test_page_has_a_section_for_every_file():
    sometimes = {"consensus.json", "text.json", "FAILED.json"}
    files = {*encode(records.record()), "_COMMIT.json", *sometimes, "evaluations/", "index/"}
    assert set(re.findall(r"^### (\S+)$", PAGE, re.MULTILINE)) == files


def test_page_names_every_key_of_the_run_document():
    document = encode(records.record())["run.json"].decode()
    keys = set(re.findall(r'^ "(\w+)"', document, re.MULTILINE))
    table = "".join(re.findall(r"^\| (`[^|]+) \|", section("run.json"), re.MULTILINE))
    assert keys <= set(re.findall(r"`(\w+)`", table))


def test_page_names_every_key_of_an_evaluation_and_of_its_settings():
    settings = evaluation_plan("full").settings()
    kept = StoredEvaluation(RUN_ID, settings, {}, 1.0, {}, 1000.0)
    table = section("evaluations/")
    for key in (*json.loads(encode_evaluation(kept)), *settings):
        assert f"`{key}`" in table


def test_page_names_every_key_of_a_failure():
    failure = RunFailure(records.spec(), "PromptError", "two tokens", 1, "local")
    document = json.loads(encode_failure(failure))
    table = section("FAILED.json")
    for key in (*document, *document["cause"]):
        assert f"`{key}`" in table


def test_page_has_snippets_for_every_way_of_reading():
    imported = set(re.findall(r"^(?:import|from) (\w+)", "\n".join(SNIPPETS), re.MULTILINE))
    assert imported == {"json", "pandas", "networkx", "duckdb", "polars", "acdc_pipeline"}


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_page_snippet_runs_on_a_store(
    snippet: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    for library in ("pandas", "duckdb", "polars"):
        if f"import {library}" in snippet:
            pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    open_store("acdc-results").commit(records.record())
    exec(snippet, {})
    shown = capsys.readouterr().out
    assert "a0.h1" in shown or "kl" in shown
