"""Evaluations beside runs: in a local folder and in an object store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store import Figures, Store, StoredEvaluation, figures_of, open_store
from tests import records

RUN_ID = records.spec().run_id()
OTHER = records.spec(seed=1).run_id()
FIGURES = {
    "metric": "kl",
    "metrics": {"kl": {"circuit": 0.3, "model": 0.0, "ablated": 3.0, "faithfulness": 0.9}},
    "null": {"drawn": 2, "percentile": 1.0, "faithfulness": [0.1, 0.1 + 0.2], "metrics": {}},
    "curve": None,
    "completeness": None,
}


def evaluation(**changed: object) -> StoredEvaluation:
    first = StoredEvaluation(
        run_id=RUN_ID,
        settings={"parts": ["null"], "null": 2, "seed": 0, "draws": None},
        figures=FIGURES,
        wall_seconds=1.5,
        environment={"torch": "2.13.0"},
        measured_at=1000.0,
    )
    return replace(first, **changed)


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield open_store(tmp_path / "a [store]*")
        return
    url = f"memory://bucket/{tmp_path.name}"
    yield open_store(url)
    memory = fsspec.filesystem("memory")
    if memory.exists(url):
        memory.rm(url, recursive=True)


def file_of(store: Store, kept: StoredEvaluation) -> str:
    return store.backend.path("evaluations", kept.run_id, f"{kept.evaluation_id}.json")


def test_evaluation_is_given_back_as_it_was_kept_and_changes_no_run(store: Store):
    store.commit(records.record())
    before = store.states()
    kept = evaluation()
    assert store.evaluation(RUN_ID, kept.evaluation_id) is None
    store.add_evaluation(kept)
    assert store.evaluation(RUN_ID, kept.evaluation_id) == kept
    assert store.evaluations().by_run == {RUN_ID: (kept,)}
    assert store.states() == before
    assert store.damaged() == []
    names = sorted(str(path) for path in store.backend.fs.find(store.backend.path("evaluations")))
    assert names == [file_of(store, kept)]


def test_evaluations_of_a_store_of_before_there_were_any_are_none(store: Store):
    store.commit(records.record())
    found = store.evaluations()
    assert (dict(found.by_run), found.damaged) == ({}, ())
    assert store.evaluations([RUN_ID]).by_run == {}
    assert figures_of(found.by_run.get(RUN_ID, ())) == Figures()


def test_evaluation_of_the_same_settings_replaces_and_of_others_stands_beside(store: Store):
    first = evaluation()
    again = evaluation(measured_at=2000.0, wall_seconds=9.0)
    other = evaluation(settings={**first.settings, "seed": 1}, measured_at=500.0)
    for one in (first, again, other, evaluation(run_id=OTHER)):
        store.add_evaluation(one)
    assert first.evaluation_id == again.evaluation_id != other.evaluation_id
    assert store.evaluations([RUN_ID]).by_run == {RUN_ID: (other, again)}
    assert set(store.evaluations().by_run) == {RUN_ID, OTHER}
    assert set(store.evaluations([RUN_ID, OTHER, "0" * 20]).by_run) == {RUN_ID, OTHER}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:-20], "not an evaluation"),
        (lambda data: b"[]", "not an evaluation"),
        (lambda data: data.replace(b"0.9", b"0.8"), "sha256"),
        (lambda data: b"\xff" + data, "not an evaluation"),
    ],
)
def test_evaluation_that_is_damaged_counts_as_absent_and_is_named(store: Store, damage, says: str):
    kept, whole = evaluation(), evaluation(settings={"seed": 5})
    store.add_evaluation(kept)
    store.add_evaluation(whole)
    path = file_of(store, kept)
    store.backend.fs.pipe_file(path, damage(store.backend.fs.cat_file(path)))
    found = store.evaluations()
    assert found.by_run == {RUN_ID: (whole,)}
    (error,) = found.damaged
    assert says in error.problem
    assert (error.where, error.field) == (
        f"run {RUN_ID}",
        f"evaluations/{kept.evaluation_id}.json",
    )
    store.add_evaluation(kept)
    assert store.evaluations().damaged == ()


MEASURED = {"circuit": 0.3, "model": 0.0, "ablated": 3.0, "faithfulness": 0.9}


@pytest.mark.parametrize(
    ("figures", "place"),
    [
        ({"cmd": "0.5", "cpr": 0.5}, "cmd"),
        ({"cmd": 10**400, "cpr": 0.5}, "cmd"),
        ({"cmd": 0.5, "cpr": None}, "CMD and CPR"),
        ({"cmd": True, "cpr": 0.5}, "cmd"),
        ({"cmd_interval": [0.5]}, "cmd_interval"),
        ({"edges_kept": -1}, "edges_kept"),
        ({"ablations": {"zero": 3}}, "ablations.zero"),
        ({"ablations": {"nought": {}}}, "ablations.nought"),
        ({"ablations": {"zero": {"metrics": {}, "forwards": 1, "donors": None}}}, "values in kl"),
        ({"null": [1]}, "null"),
        ({"null": {"drawn": 2, "percentile": 1.0}}, "null.faithfulness"),
        ({"metric": "klx", "metrics": {"klx": MEASURED}}, "metric"),
        ({"metric": 3}, "metric"),
        ({"metric": "nll"}, "values in nll"),
        ({"metrics": {"kl": {**MEASURED, "interval": 1}}}, "metrics.kl.interval"),
        ({"curve": [{"fraction": 0.1}]}, "curve.0.edges"),
        ({"curve": [], "per_prompt": {"metrics": {}, "curve": [[0.5]]}}, "values of prompts"),
        ({"completeness": [{"incompleteness": 0.1}]}, "completeness.0.parts"),
        ({"minimality": {"part": "m0"}}, "minimality"),
        ({"causal_scrubbing": {"recovered": 1.0}}, "causal_scrubbing.metric"),
        ({"fresh_prompts": {}}, "fresh_prompts"),
        ({"stability": 0.5}, "stability"),
        ({"transfer": {"unseen": 0.5}}, "transfer.by"),
    ],
)
def test_evaluation_that_is_signed_but_has_malformed_figures_is_damaged(
    tmp_path: Path, figures: dict[str, object], place: str
):
    store = open_store(tmp_path / "store")
    kept = evaluation(figures={**FIGURES, **figures})
    store.add_evaluation(kept)
    store.add_evaluation(whole := evaluation(settings={"seed": 5}))
    found = store.evaluations()
    assert found.by_run == {RUN_ID: (whole,)}
    (error,) = found.damaged
    assert place in error.problem
    assert error.field == f"evaluations/{kept.evaluation_id}.json"


def test_evaluation_with_an_amount_that_is_no_number_is_damaged(tmp_path: Path):
    store = open_store(tmp_path / "store")
    store.add_evaluation(evaluation(settings={"draws": "many"}))
    assert "draws" in store.evaluations().damaged[0].problem


def test_metric_of_ones_own_is_a_metric_of_an_evaluation(tmp_path: Path):
    store = open_store(tmp_path / "store")
    figures = {**FIGURES, "metric": "margin@1", "metrics": {"margin@1": MEASURED}}
    store.add_evaluation(kept := evaluation(figures=figures))
    assert store.evaluations().by_run == {RUN_ID: (kept,)}


def test_evaluation_under_the_name_of_another_run_is_damaged(store: Store):
    kept = evaluation()
    store.add_evaluation(kept)
    store.add_evaluation(evaluation(run_id=OTHER))
    store.backend.fs.pipe_file(
        store.backend.path("evaluations", OTHER, f"{kept.evaluation_id}.json"),
        store.backend.fs.cat_file(file_of(store, kept)),
    )
    found = store.evaluations([OTHER])
    assert [error.problem for error in found.damaged] == ["is the evaluation of something else"]


def test_evaluation_of_another_version_is_neither_read_nor_damaged(store: Store):
    kept = evaluation()
    store.add_evaluation(kept)
    document = json.loads(store.backend.fs.cat_file(file_of(store, kept)))
    store.backend.fs.pipe_file(
        file_of(store, kept), json.dumps({**document, "file_version": 99}).encode()
    )
    found = store.evaluations()
    assert (dict(found.by_run), found.damaged) == ({}, ())


def test_evaluation_that_holds_no_number_is_refused(store: Store):
    with pytest.raises(StoreError, match="figures"):
        evaluation(figures={"kl": float("nan")})
    with pytest.raises(StoreError, match="not a run id"):
        store.add_evaluation(evaluation(run_id="../x"))


def test_figures_are_of_each_quantity_the_most_drawn_and_of_several_the_newest():
    def kept(at: float, settings: dict[str, object], **figures: object) -> StoredEvaluation:
        return evaluation(
            measured_at=at, settings=settings, figures={"metric": "kl", "curve": None, **figures}
        )

    old = kept(
        1.0,
        {"seed": 0, "draws": 9},
        null={"drawn": 50, "percentile": 0.9},
        completeness=[{"incompleteness": 0.2}, {"incompleteness": 0.4}],
        minimality=[{"score": 0.5}, {"score": 0.001}],
        fresh_prompts=0.5,
    )
    newer = kept(
        2.0,
        {"seed": 1, "draws": 2},
        null={"drawn": 10, "percentile": 0.1},
        completeness=[{"incompleteness": 0.0}],
        fresh_prompts=0.75,
    )
    found = figures_of((old, newer))
    assert (found.null_drawn, found.percentile) == (50, 0.9)
    assert found.incompleteness == pytest.approx(0.3)
    assert found.needed == (1, 2)
    # equally complete: the newest
    assert found.fresh == 0.75
    # nothing measured these, and nothing says 0 for them
    nothing = (found.cpr, found.cmd, found.jaccard, found.transfer, found.scrubbed)
    assert (*nothing, found.worst_knockout, found.faithfulness("kl")) == (None,) * 7
    assert set(found.evaluations) == {old.evaluation_id, newer.evaluation_id}


def test_figures_of_nothing_are_none_each():
    found = Figures()
    assert (found.percentile, found.null_drawn, found.incompleteness, found.needed) == (None,) * 4


@pytest.mark.parametrize(("kept", "percentile"), [(0, None), (3, 0.0), (5, None)])
def test_null_of_a_circuit_that_is_the_only_one_of_its_size_counts_for_nothing(
    kept: int, percentile: float | None
):
    null = {"drawn": 50, "percentile": 0.0}
    figures = Figures({"edges_kept": kept, "edges_total": 5, "null": null})
    assert figures.percentile == percentile
