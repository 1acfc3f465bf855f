"""`acdc demo` on a sweep of models whose circuits are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.specs import find_sweep, find_task
from acdc_pipeline.store import open_store
from tests.command_line import Outcome, acdc

SWEEP = """\
name: small
tasks: [{tasks}]
models: ["zoo:compiled-or"]
methods:
  - {{name: acdc, thresholds: [0.1, 0.01]}}
prompts: 16
seeds: [0]
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SWEEP.format(tasks="compiled_or"))
    return path


def demo(capsys, sweep: Path, *more: str, executor: str = "local") -> Outcome:
    """The demo of a sweep, with its wiki beside the sweep."""
    out = sweep.parent / "wiki"
    return acdc(capsys, "demo", sweep, "--executor", executor, "--out", out, *more)


def test_demo_ends_with_circuits_in_the_store_and_a_table_of_them(capsys, sweep, store_url):
    shown = demo(capsys, sweep)
    assert shown.code == 0, shown.err
    assert len(open_store(store_url).run_ids()) == 2
    for part in ("edges kept", "4 of 23", "17.4%", "100.0%", "acdc runs show", "/runs/"):
        assert part in shown.out
    assert "[2/2] compiled_or in zoo:compiled-or at 0.01: 4 edges" in shown.err
    assert f"open {sweep.parent / 'wiki' / 'index.html'}" in shown.out
    assert "compiled-or" in (sweep.parent / "wiki" / "index.html").read_text()


@pytest.mark.ray
def test_demo_on_a_ray_of_its_own_stores_what_it_stores_here(capsys, sweep, store_url):
    there = demo(capsys, sweep, "--json", executor="ray")
    assert there.code == 0, there.err
    again = demo(capsys, sweep, "--json").document
    assert [run["cached"] for run in again["runs"]] == [True, True]
    assert again["wiki"] == there.document["wiki"]


def test_demo_again_takes_everything_from_the_store(capsys, sweep):
    first = demo(capsys, sweep, "--json").document
    again = demo(capsys, sweep, "--json").document
    assert [run["cached"] for run in first["runs"]] == [False, False]
    assert [run["cached"] for run in again["runs"]] == [True, True]
    for a, b in zip(first["runs"], again["runs"], strict=True):
        assert {**a, "cached": None} == {**b, "cached": None}


def test_demo_goes_on_after_a_run_that_fails_and_ends_with_3(capsys, sweep, store_url):
    sweep.write_text(SWEEP.format(tasks="ioi, compiled_or"))
    shown = demo(capsys, sweep, "--json")
    assert shown.code == 3
    assert "2 of 4 runs failed" in shown.err
    assert len(shown.document["runs"]) == 2
    assert "too few words" in shown.document["failed"][0]["error"]
    assert len(open_store(store_url).run_ids()) == 2


def test_demo_says_what_makes_a_run_mean_little(capsys, sweep):
    sweep.write_text(sweep.read_text().replace("[0.1, 0.01]", "[1000]"))
    shown = demo(capsys, sweep)
    assert shown.code == 0
    assert "note: compiled_or in zoo:compiled-or at 1000: the circuit is empty" in shown.err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("compiled_or]", "compiled_ro]", "did you mean 'compiled_or'?"),
        ("zoo:compiled-or", "zoo:complied-or", "did you mean 'zoo:compiled-or'?"),
        ("thresholds", "threshholds", "did you mean 'thresholds'?"),
        ("0.01]", "-0.01]", "methods.0.thresholds.1: -0.01 is not greater than 0"),
    ],
)
def test_demo_with_a_mistake_in_the_sweep_runs_nothing(
    capsys, sweep, store_url, old: str, new: str, message: str
):
    sweep.write_text(sweep.read_text().replace(old, new))
    demo(capsys, sweep).refuses(message)
    assert not Path(store_url).exists()


def test_demo_of_an_unknown_sweep_suggests_the_nearest(capsys):
    acdc(capsys, "demo", "dmo").refuses("unknown sweep 'dmo'", "did you mean 'demo'?")


def test_demo_sweep_that_ships_names_tasks_and_models_that_ship():
    sweep = find_sweep("demo")
    assert [find_task(name).name for name in sweep.tasks] == ["ioi", "induction", "docstring"]
