"""`acdc run --watch`: what others add to a sweep is executed, until Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acdc_pipeline.cli.commands import watch
from tests.command_line import acdc
from tests.sweeps import write_sweep

COMPILED = "zoo:compiled-or"


def sweep_of(path: Path, *thresholds: float) -> Path:
    return write_sweep(
        path,
        tasks=["compiled_or"],
        models=[COMPILED],
        methods=[{"name": "acdc", "thresholds": list(thresholds)}],
    )


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What happens while the command waits: one thing after the other, then Ctrl-C."""

    def set_up(*steps: Callable[[], object]) -> None:
        left = list(steps)

        def pause() -> None:
            if not left:
                raise KeyboardInterrupt
            left.pop(0)()

        monkeypatch.setattr(watch, "_pause", pause)

    return set_up


def test_run_watch_executes_what_is_added_to_the_sweep(
    capsys, tmp_path: Path, in_turn: Callable[..., None]
):
    path = sweep_of(tmp_path / "sweep.yaml", 0.1)
    in_turn(lambda: sweep_of(path, 0.1, 0.2), lambda: sweep_of(path, 0.1, 0.2, 0.3))
    ended = acdc(capsys, "run", path, "--watch", "--device", "cpu", "--json")
    assert ended.code == 0, ended.err
    states = [run["state"] for run in ended.document["runs"]]
    assert states == ["committed"] * 3
    assert ended.err.count("waiting for more (Ctrl-C ends)") == 3


def test_run_watch_goes_on_where_the_sweep_cannot_be_read_for_a_while(
    capsys, tmp_path: Path, in_turn: Callable[..., None]
):
    path = sweep_of(tmp_path / "sweep.yaml", 0.1)

    def half_written() -> None:
        path.write_text("name: x\ntasks: [")

    in_turn(half_written, lambda: None, lambda: sweep_of(path, 0.1, 0.2))
    ended = acdc(capsys, "run", path, "--watch", "--device", "cpu", "--json")
    assert ended.code == 0, ended.err
    assert len(ended.document["runs"]) == 2
    assert ended.err.count("acdc: warning:") == 1


def test_run_watch_of_a_sweep_that_was_never_right_is_refused(capsys, tmp_path: Path):
    acdc(capsys, "run", tmp_path / "none.yaml", "--watch").refuses("none.yaml")


@pytest.mark.parametrize(
    ("lease", "says"), [("soon", "not a duration"), ("0.5s", "too short"), ("60", "not a duration")]
)
def test_run_lease_that_is_no_time_is_refused(capsys, tmp_path: Path, lease: str, says: str):
    path = sweep_of(tmp_path / "sweep.yaml", 0.1)
    acdc(capsys, "run", path, "--lease", lease).refuses("--lease", says)
