"""Runs of a store as lists and data frames, from the documents of `acdc runs list --json`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.specs import RunSpec
from acdc_pipeline.specs.methods.scored import EapMethod
from acdc_pipeline.store import RunRecord, Store, StoredEvaluation, open_store
from tests import records
from tests.command_line import acdc

FIGURES = {
    "null": {"drawn": 4, "percentile": 0.75, "faithfulness": [], "metrics": {}},
    "cpr": 1.25,
    "cmd": 0.5,
    "curve": [],
    "stability": {"jaccard": 0.9, "sizes": [3, 3]},
}


def of_eap() -> RunRecord:
    base = records.record(3)
    method = EapMethod(
        name="eap", metric="logit_diff", ablation="zero", share=None, edges=3, rank="signed"
    )
    spec = RunSpec.model_validate(
        {**base.spec.model_dump(), "method": method.model_dump(), "task": "induction"}
    )
    metrics = {"logit_diff": 1.0, "model_logit_diff": 3.0, "ablated_logit_diff": 0.0}
    return replace(base, spec=spec, metrics=metrics, decisions=())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(tmp_path / "runs", mode="write")
    for record in (records.record(0), records.record(1), of_eap()):
        store.commit(record)
    run_id = records.spec(1).run_id()
    for seconds, name in ((1_000.0, "basic"), (2_000.0, "full")):
        store.add_evaluation(
            StoredEvaluation(run_id, {"parts": [name]}, FIGURES, 1.0, {}, measured_at=seconds)
        )
    return store


@pytest.fixture(params=["pandas", "polars"])
def library(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return request.param


def rows_of(frame: Any) -> list[dict[str, Any]]:
    """The rows as plain data, null as None."""
    if type(frame).__module__.startswith("polars"):
        return frame.to_dicts()
    plain = frame.astype(object)
    return plain.where(frame.notna(), None).to_dict("records")


def test_frame_of_a_store_has_a_row_for_each_run_with_its_results(store: Store, library: str):
    eap, *acdc = rows_of(store.to_frame(library=library))
    assert (eap["task"], eap["method"], eap["threshold"]) == ("induction", "eap", None)
    assert (eap["edges"], eap["edges_total"], eap["method_edges"]) == (3, 9, 3)
    assert eap["share"] == pytest.approx(1 / 3)
    assert eap["faithfulness"] == pytest.approx(1 / 3)
    assert (eap["logit_diff"], eap["kl"], eap["ablation"]) == (1.0, None, "zero")
    assert {row["seed"] for row in acdc} == {0, 1}
    assert [(row["threshold"], row["kl"], row["order"]) for row in acdc] == [
        (0.01, 0.3, "reverse-heads")
    ] * 2
    assert [row["method_edges"] for row in acdc] == [None, None]


def test_frame_of_a_store_has_what_evaluations_measured_and_when(store: Store, library: str):
    rows = {row["seed"]: row for row in rows_of(store.runs(task="ioi").to_frame(library=library))}
    assert (rows[1]["percentile"], rows[1]["cpr"], rows[1]["cmd"]) == (0.75, 1.25, 0.5)
    assert rows[1]["stability"] == 0.9
    assert rows[1]["measured_at"] == datetime.fromtimestamp(2_000, UTC)
    assert rows[0]["measured_at"] is None
    assert rows[0]["percentile"] is None


def test_frame_agrees_with_the_list_of_the_command_line(
    store: Store, library: str, capsys: pytest.CaptureFixture[str]
):
    listed = acdc(capsys, "runs", "list", "--json", "--store", store.url).document["runs"]
    rows = rows_of(store.to_frame(library=library))
    assert len(rows) == len(listed) == 3
    same = ("run_id", "task", "model", "prompts", "seed", "dtype", "edges_total", "wall_seconds")
    for row, document in zip(rows, listed, strict=True):
        assert {name: row[name] for name in same} == {name: document[name] for name in same}
        assert row["edges"] == document["edges_kept"]
        assert row["method"] == document["method"]["name"]
        for name, value in document["metrics"].items():
            assert row[name] == value


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 3),
        ({"task": "ioi"}, 2),
        ({"method": "eap"}, 1),
        ({"task": "ioi", "method": "acdc", "model": "zoo:attn-2l"}, 2),
        ({"task": "ioi", "method": "eap"}, 0),
    ],
)
def test_runs_of_one_task_method_and_model(store: Store, wanted: dict[str, str], count: int):
    runs = store.runs(**wanted)
    assert len(runs) == len(list(runs)) == count
    assert repr(runs) == f"<{count} run{'' if count == 1 else 's'}>"
    assert {run.run_id for run in runs} <= set(store.run_ids())


def test_list_of_no_runs_has_the_columns_of_every_list(tmp_path: Path, library: str):
    frame = open_store(tmp_path / "none").to_frame(library=library)
    assert len(frame) == 0
    assert {"run_id", "task", "edges", "share", "measured_at"} <= set(frame.columns)


def test_list_of_runs_shows_itself_as_a_table_in_a_notebook(store: Store):
    assert "<table" in store.runs()._repr_html_()
    assert "induction" in store.runs()._repr_html_()
