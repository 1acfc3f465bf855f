"""The package as a library."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import acdc_pipeline
from acdc_pipeline.errors import InvalidInput, SpecError
from acdc_pipeline.found_circuit import SearchBar, bar_where_seen
from acdc_pipeline.models.zoo.compiled import true_circuit


def test_package_every_public_name_resolves():
    for name in acdc_pipeline.__all__:
        assert getattr(acdc_pipeline, name) is not None
        assert name in dir(acdc_pipeline)


def test_package_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="attribute nothing"):
        _ = acdc_pipeline.nothing  # pyright: ignore[reportAttributeAccessIssue]


def test_discover_compiled_model_returns_its_true_circuit_and_stores_it(tmp_path: Path):
    store = acdc_pipeline.open_store(tmp_path, mode="write")
    first = acdc_pipeline.discover(
        "induction", "zoo:compiled-induction", threshold=0.01, prompts=8, store=store
    )
    assert first.edges == true_circuit("compiled-induction", "corrupted").edges
    again = acdc_pipeline.discover(
        "induction", "zoo:compiled-induction", threshold=0.01, prompts=8, store=store
    )
    assert again == first
    assert store.run_ids() == [first.run_id]


def test_discover_negative_threshold_is_refused():
    with pytest.raises(SpecError, match="threshold"):
        acdc_pipeline.discover("induction", "zoo:compiled-induction", threshold=-1.0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"prompts": 0}, "discover: prompts: 0 is not at least 1"),
        ({"prompts": -5}, "prompts: -5 is not at least 1"),
        ({"seed": -1}, "seed: -1 is not at least 0"),
        ({"dtype": "float8"}, "dtype: unknown dtype 'float8'"),
        ({"memory": 0}, "memory: 0 is too small"),
        ({"store": "nowhere://x"}, "'nowhere' is not a kind of store"),
        ({"faithful": 0.9}, "faithful: cannot go with threshold"),
    ],
)
def test_discover_wrong_argument_is_named(wrong: dict[str, Any], says: str):
    with pytest.raises(InvalidInput, match=says):
        acdc_pipeline.discover("induction", "zoo:compiled-induction", threshold=0.01, **wrong)


@pytest.mark.parametrize("form", [str, Path])
def test_discover_stores_into_a_folder_that_is_only_named(tmp_path: Path, form: type):
    store = form(tmp_path / "runs")
    run = acdc_pipeline.discover(
        "induction", "zoo:compiled-induction", threshold=0.01, prompts=2, store=store
    )
    assert acdc_pipeline.open_store(store).run_ids() == [run.run_id]


@pytest.fixture(scope="module")
def found() -> acdc_pipeline.FoundCircuit:
    return acdc_pipeline.discover(
        "induction", "zoo:compiled-induction", threshold=0.01, prompts=8, store=None
    )


def test_found_circuit_becomes_a_networkx_graph_of_its_edges(found: acdc_pipeline.FoundCircuit):
    graph = found.to_networkx()
    names = {f"{src}->{dst}" + (f"<{key}>" if key else "") for src, dst, key in graph.edges}
    assert names == {str(edge) for edge in found.edges}


def test_found_circuit_draws_itself_in_a_notebook_and_into_a_file(
    found: acdc_pipeline.FoundCircuit, tmp_path: Path
):
    drawn = found.draw()
    assert "induction in zoo:compiled-induction" in drawn.svg
    assert found._repr_svg_() == drawn._repr_svg_() == drawn.svg
    assert drawn.save(tmp_path / "found.svg").read_text(encoding="utf-8") == drawn.svg


def test_circuit_of_edges_draws_itself_under_a_title(found: acdc_pipeline.FoundCircuit):
    part = acdc_pipeline.Circuit.of(found.topology, list(found.edges)[:1])
    assert "just one" in part.draw("just one").svg


def test_found_circuit_says_what_it_is(found: acdc_pipeline.FoundCircuit):
    says = repr(found)
    assert "induction in zoo:compiled-induction by acdc 0.01: " in says
    kl, nothing = found.metrics["kl"], found.metrics["ablated_kl"]
    assert found.faithfulness == pytest.approx(1 - kl / nothing)
    assert f"{len(found)} of {found.topology.n_edges} edges" in says
    assert found.run_id[:8] in says


def test_what_python_gives_back_says_in_one_line_what_it_is(
    found: acdc_pipeline.FoundCircuit, tmp_path: Path
):
    part = acdc_pipeline.Circuit.of(found.topology, list(found.edges)[:1])
    assert repr(part) == f"<circuit: 1 of {found.topology.n_edges} edges>"
    assert repr(found.run).startswith(
        f"<run {found.run_id[:8]}: acdc on induction in zoo:compiled-induction, "
    )
    assert str(found.task) == "<task induction: Induction on random tokens>"
    assert repr(acdc_pipeline.open_store(tmp_path, mode="write")) == f"<store {tmp_path}>"
    model = acdc_pipeline.load_model("zoo:compiled-or")
    assert repr(model) == (
        "<model zoo:compiled-or: TransformerLensNative, "
        f"<weights: 1 layer of 4 heads, width {model.weights.d_model}, 23 edges>>"
    )


def test_found_circuit_of_the_true_edges_evaluates_as_the_whole_model(
    found: acdc_pipeline.FoundCircuit,
):
    worth = found.evaluate(null=3, draws=1, resamples=0)
    # every edge that the construction uses is kept, so nothing is lost but rounding
    assert worth.faithfulness == pytest.approx(1.0, abs=1e-3)
    assert len(worth.null) == 3
    assert worth.stability is None
    assert repr(worth).startswith("<evaluation: faithfulness 1 (kl), KL ")
    assert repr(worth).endswith("above 100% of 3 random circuits>")


def test_found_circuit_of_a_store_keeps_its_evaluation_and_answers_from_there(tmp_path: Path):
    store = acdc_pipeline.open_store(tmp_path / "store", mode="write")
    found = acdc_pipeline.discover(
        "compiled_or", "zoo:compiled-or", threshold=0.01, prompts=8, store=store
    )
    worth = found.evaluate(null=2, restarts=1)
    assert worth.knockouts is None
    assert worth.worst is not None
    (kept,) = store.evaluations().by_run[found.run_id]
    assert kept.figures["faithfulness"] == worth.faithfulness
    assert found.evaluate(null=2, restarts=1) == worth
    assert len(store.evaluations().by_run[found.run_id]) == 1


@pytest.mark.parametrize("name", ["null", "draws", "restarts", "resamples", "seed"])
def test_evaluation_negative_amount_is_refused(found: acdc_pipeline.FoundCircuit, name: str):
    with pytest.raises(InvalidInput, match=f"^{name}: -1 is too small"):
        found.evaluate(**{name: -1})  # pyright: ignore[reportArgumentType]


def test_evaluate_circuit_of_the_true_edges_is_the_whole_model():
    truth = true_circuit("compiled-or", "corrupted")
    worth = acdc_pipeline.evaluate(
        truth, "compiled_or", "zoo:compiled-or", prompts=8, null=0, draws=0
    )
    assert worth.faithfulness == pytest.approx(1.0, abs=1e-3)
    assert (worth.null, worth.stability) == ((), None)


SWEEP = {
    "name": "small",
    "tasks": ["compiled_or"],
    "models": ["zoo:compiled-or"],
    "methods": [{"name": "acdc", "thresholds": [0.1]}],
    "prompts": 4,
    "seeds": [0],
}


@pytest.fixture
def small_sweep(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps(SWEEP))
    return path


def test_sweep_executes_what_the_store_does_not_have(small_sweep: Path, tmp_path: Path):
    store = tmp_path / "runs"
    first = acdc_pipeline.sweep(small_sweep, store=store, device="cpu", threads=1)
    assert [outcome.state for outcome in first.outcomes] == ["committed"]
    assert [record.spec.task for record in first.records] == ["compiled_or"]
    again = acdc_pipeline.sweep(small_sweep, store=store, device="cpu", threads=1)
    assert (again.outcomes, again.errors) == ((), [])
    assert [r.spec for r in again.records] == [r.spec for r in first.records]


def test_sweep_unknown_executor_is_refused(small_sweep: Path, tmp_path: Path):
    with pytest.raises(InvalidInput, match="unknown executor 'cloud'"):
        acdc_pipeline.sweep(small_sweep, store=tmp_path, executor="cloud")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"threads": 0}, "threads: 0 is too small"),
        ({"threads": 513}, "threads: 513 is too large"),
        ({"memory": -1}, "memory: -1 is too small"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
        ({"shard": "3"}, "^shard: '3' is not a shard"),
        ({"shard": "3/2"}, "^shard: there is no shard 3/2"),
    ],
)
def test_sweep_wrong_argument_is_named(
    small_sweep: Path, tmp_path: Path, wrong: dict[str, Any], error: str
):
    with pytest.raises(InvalidInput, match=error):
        acdc_pipeline.sweep(small_sweep, store=tmp_path / "runs", **wrong)
    assert not (tmp_path / "runs").exists()


def test_sweep_records_are_read_from_the_store_once(small_sweep: Path, tmp_path: Path):
    result = acdc_pipeline.sweep(small_sweep, store=tmp_path / "runs", device="cpu", threads=1)
    (record,) = result.records
    shutil.rmtree(tmp_path / "runs")
    assert result.records == [record]


def test_profile_heads_scores_every_head_and_keeps_the_run(tmp_path: Path):
    arguments: dict[str, Any] = {"prompts": 4, "store": tmp_path, "device": "cpu"}
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"clean": [0, 1], "corrupted": [1, 1], "correct": 0}\n' * 4)
    (record,) = acdc_pipeline.profile_heads("zoo:compiled-or", [pairs], **arguments)
    assert {(row.layer, row.head) for row in record.heads} == {(0, head) for head in range(4)}
    assert acdc_pipeline.open_store(tmp_path).run_ids() == [record.spec.run_id()]


def test_profile_heads_takes_a_single_task(tmp_path: Path):
    arguments: dict[str, Any] = {"prompts": 2, "store": tmp_path, "device": "cpu"}
    task = acdc_pipeline.load_task("compiled_or")
    for given in ("compiled_or", task):
        (record,) = acdc_pipeline.profile_heads("zoo:compiled-or", given, **arguments)
        assert record.spec.task == "compiled_or"


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"prompts": 1}, "profile_heads: prompts: 1 is too small"),
        ({"tasks": []}, "profile_heads: tasks: names no task"),
        ({"memory": 0}, "memory: 0 is too small"),
    ],
)
def test_profile_heads_wrong_argument_is_named(wrong: dict[str, Any], error: str):
    with pytest.raises(InvalidInput, match=error):
        acdc_pipeline.profile_heads("zoo:compiled-or", **wrong)


def test_regress_writes_baselines_and_then_finds_no_drift(small_sweep: Path, tmp_path: Path):
    where: dict[str, Any] = {"baselines": tmp_path / "baselines", "device": "cpu", "threads": 1}
    report = acdc_pipeline.regress(str(small_sweep), update_reason="for a test", **where)
    assert (report.exit_code, len(report.updated)) == (0, 1)
    report = acdc_pipeline.regress(str(small_sweep), **where)
    assert [verdict.status for verdict in report.verdicts] == ["ok"]
    # the temporary store is gone
    assert report.store is None
    kept = acdc_pipeline.regress(str(small_sweep), store=tmp_path / "kept", **where)
    assert kept.store == str(tmp_path / "kept")
    with pytest.raises(InvalidInput, match="holds 1 of these 1 run already") as error:
        acdc_pipeline.regress(str(small_sweep), store=tmp_path / "kept", **where)
    assert "--" not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"update_reason": ""}, "regress: update_reason: a new baseline needs a reason"),
        ({"update_reason": " \n"}, "regress: update_reason: a new baseline needs a reason"),
        ({"seeds": 4}, "regress: seeds: 4 is too small\nallowed: at least 5"),
        ({"threads": 0}, "threads: 0 is too small"),
        ({"replace": {"zoo:attn-4l": "zoo:neox-4l"}}, "^replace: zoo:attn-4l is not in the sweep"),
        (
            {"replace": {"zoo:compiled-or": "zoo:compiled-or"}},
            "^replace: zoo:compiled-or is in the sweep itself",
        ),
        ({"baselines": __file__}, "baselines: is not a folder"),
    ],
)
def test_regress_wrong_argument_is_named_before_anything_runs(
    small_sweep: Path, tmp_path: Path, wrong: dict[str, Any], error: str
):
    with pytest.raises(InvalidInput, match=error):
        acdc_pipeline.regress(str(small_sweep), store=tmp_path / "runs", **wrong)
    assert not (tmp_path / "runs").exists()


def test_build_wiki_writes_a_page_for_the_circuit(tmp_path: Path):
    acdc_pipeline.discover(
        "compiled_or", "zoo:compiled-or", threshold=0.1, prompts=4, store=tmp_path / "runs"
    )
    built = acdc_pipeline.build_wiki(tmp_path / "runs", tmp_path / "wiki", jobs=1)
    assert (built.out / "index.html").is_file()
    assert built.site.circuits == 1


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"jobs": 0}, "^jobs: 0 is too small"),
        ({"notes": "nowhere"}, "nowhere: notes: is not a folder"),
        ({"store": "nowhere"}, "nowhere: store: the store does not exist"),
        ({"out": __file__}, "out: is a file, not a folder"),
    ],
)
def test_build_wiki_wrong_argument_is_named(tmp_path: Path, wrong: dict[str, Any], error: str):
    acdc_pipeline.open_store(tmp_path / "runs", mode="write").check_writable()
    given = {"store": tmp_path / "runs", "out": tmp_path / "wiki", **wrong}
    with pytest.raises(InvalidInput, match=error):
        acdc_pipeline.build_wiki(**given)
    assert not (tmp_path / "wiki").exists()


@pytest.mark.parametrize("suffix", ["json", "graphml", "dot", "parquet", "svg"])
def test_export_writes_the_format_of_the_suffix(
    found: acdc_pipeline.FoundCircuit, tmp_path: Path, suffix: str
):
    path = acdc_pipeline.export(found, tmp_path / f"circuit.{suffix}")
    starts = {
        "json": b"{",
        "graphml": b"<?xml",
        "dot": b"digraph",
        "parquet": b"PAR1",
        "svg": b"<svg",
    }
    assert path.read_bytes().startswith(starts[suffix])


def test_export_unknown_suffix_is_refused(found: acdc_pipeline.FoundCircuit, tmp_path: Path):
    with pytest.raises(InvalidInput, match="suffix of no format"):
        acdc_pipeline.export(found, tmp_path / "circuit.csv")


@pytest.mark.parametrize(
    ("name", "format", "error"),
    [
        ("circuit.csv", None, "fix: choose a format with format: node-link, "),
        ("circuit.dot", "graphml", "named like dot, and format is graphml"),
        ("none/circuit.dot", None, "cannot be written: its folder does not exist"),
        ("folder.dot", None, "is a folder"),
    ],
)
def test_export_wrong_file_is_named_and_nothing_is_written(
    found: acdc_pipeline.FoundCircuit, tmp_path: Path, name: str, format: str | None, error: str
):
    (tmp_path / "folder.dot").mkdir()
    with pytest.raises(InvalidInput, match=error) as raised:
        acdc_pipeline.export(found, tmp_path / name, format=format)
    assert "--" not in str(raised.value)
    assert list(tmp_path.rglob("*")) == [tmp_path / "folder.dot"]


def test_export_puts_a_new_file_in_the_place_of_the_old_one(
    found: acdc_pipeline.FoundCircuit, tmp_path: Path
):
    path, old = tmp_path / "circuit.dot", tmp_path / "old"
    path.write_text("before")
    path.chmod(0o640)
    os.link(path, old)
    acdc_pipeline.export(found, path)
    assert path.read_text().startswith("digraph")
    assert path.stat().st_mode & 0o777 == 0o640
    # a file written in place would change under both of its names
    assert old.read_text() == "before"
    assert sorted(tmp_path.iterdir()) == [path, old]


def test_bar_shows_how_far_a_search_is_and_goes(capsys: pytest.CaptureFixture[str]):
    bar = SearchBar()
    bar.start(10, "ioi in a model")
    bar.advance(4, 1, 5)
    bar.advance(6, 2, 0)
    bar.finish()
    shown = capsys.readouterr().err
    assert "ioi in a model" in shown
    # what a bar leaves behind on its line is blank
    assert shown.rstrip("\r").rpartition("\r")[2].strip() == ""


def test_bar_is_left_out_where_nobody_looks():
    assert bar_where_seen() is None


def test_discover_of_a_stored_run_imports_no_torch(tmp_path: Path):
    how: dict[str, Any] = {"threshold": 0.5, "prompts": 4, "store": str(tmp_path)}
    found = acdc_pipeline.discover("induction", "zoo:attn-2l", **how)
    call = f"discover('induction', 'zoo:attn-2l', **{how!r}).run_id, 'torch' in sys.modules"
    code = f"import sys; from acdc_pipeline import discover; print({call})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == [found.run_id, "False"]
