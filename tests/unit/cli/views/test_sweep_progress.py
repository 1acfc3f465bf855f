"""How a sweep shows what it does: counted, in lines for logs, as a picture on a terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from acdc_pipeline.cli.views.sweep_progress import (
    SweepLines,
    SweepLive,
    SweepProgress,
    show_sweep_progress,
)
from acdc_pipeline.errors import PromptError
from acdc_pipeline.execution.progress import SweepListener
from acdc_pipeline.execution.runs import Outcome, PlannedRun, State
from tests.sweeps import planned


class Clock:
    """Shows what it was set to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ended(seed: int, state: State = "committed", worker: str = "w", attempts: int = 1) -> Outcome:
    error = PromptError("two tokens", where="a.jsonl:1", fix="cut") if state == "failed" else None
    kept = 3 if state == "committed" else None
    return Outcome(planned(seed), state, 1.25, attempts, worker, kept, error)


def named(model: str, task: str, seed: int = 0) -> PlannedRun:
    one = planned(seed)
    return PlannedRun(one.run.model_copy(update={"model": model, "task": task}), one.task)


def test_progress_counts_ends_and_forgets_who_is_done(clock: Clock):
    progress = SweepProgress(4, clock)
    progress.started("w", planned(0), 1)
    progress.started("v", planned(1), 2)
    progress.advanced("w", 5, 2, 15)
    assert [(worker, run.attempt, run.share) for worker, run in progress.workers] == [
        ("w", 1, 0.25),
        ("v", 2, 0.0),
    ]
    progress.ended(ended(0))
    progress.ended(ended(1, "failed", "v"))
    progress.ended(ended(2, "present"))
    assert (progress.done, progress.states["failed"], progress.workers) == (3, 1, [])


def test_progress_is_not_disturbed_by_a_worker_that_has_no_run(clock: Clock):
    progress = SweepProgress(2, clock)
    progress.advanced("late", 1, 1, 1)
    progress.lost("late", None, "gone")
    assert progress.workers == []


def test_progress_takes_zeros_for_a_worker_that_has_not_begun(clock: Clock):
    progress = SweepProgress(2, clock)
    progress.started("w", planned(0), 1)
    progress.advanced("w", 0, 0, 0)
    assert [(run.left, run.share) for _, run in progress.workers] == [(None, 0.0)]


def test_progress_keeps_workers_in_the_order_they_first_came(clock: Clock):
    progress = SweepProgress(9, clock)
    for worker in ("b", "a", "c"):
        progress.started(worker, planned(0), 1)
    progress.ended(ended(0, worker="b"))
    progress.started("b", planned(1), 1)
    assert [worker for worker, _ in progress.workers] == ["b", "a", "c"]


def test_progress_expects_the_rest_to_take_as_long_as_what_was_worked_on(clock: Clock):
    progress = SweepProgress(10, clock)
    progress.ended(ended(0, "present"))
    assert progress.seconds_left is None  # runs that were there say nothing
    clock.now += 30
    progress.ended(ended(1))
    progress.ended(ended(2, "failed"))
    assert progress.seconds_left == pytest.approx(15 * 7)
    progress.started("w", planned(3), 1)
    progress.advanced("w", 1, 0, 1)  # half a run more: 30 s for 2.5 runs, 6.5 to go
    assert progress.seconds_left == pytest.approx(12 * 6.5)


def test_lines_number_the_runs_that_end_and_say_how(capsys, clock: Clock):
    lines = SweepLines(4, clock)
    assert isinstance(lines, SweepListener)
    lines.started("w", planned(0), 1)
    lines.ended(ended(0))
    lines.ended(ended(1, "present"))
    lines.ended(ended(2, "failed", attempts=4))
    lines.lost("w", planned(3), "killed by signal 9")
    lines.lost("v", None, "its node is gone")
    lines.finish()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "[1/4] ioi in zoo:attn-2l at 0.01: 3 edges, 1.2 s",
        "[2/4] ioi in zoo:attn-2l at 0.01, seed 1: in the store already",
        "[3/4] ioi in zoo:attn-2l at 0.01, seed 2: failed after 4 attempts: two tokens",
        "w died: killed by signal 9; ioi in zoo:attn-2l at 0.01, seed 3 goes back into the queue",
        "v died: its node is gone",
    ]


def test_lines_speak_while_nothing_ends_but_only_now_and_then(capsys, clock: Clock):
    lines = SweepLines(4, clock)
    lines.started("w", planned(0), 1)
    lines.started("v", planned(1), 1)
    for tested in range(1, 31):
        clock.now += 1
        lines.advanced("w", tested, tested // 2, 100 - tested)
    assert capsys.readouterr().err.splitlines() == [
        "w: ioi in zoo:attn-2l at 0.01: 15 edges tested, 7 kept, at most 85 left, 0:15",
        "v: ioi in zoo:attn-2l at 0.01, seed 1: getting ready, 0:15",
        "0 of 4 runs done",
        "w: ioi in zoo:attn-2l at 0.01: 30 edges tested, 15 kept, at most 70 left, 0:30",
        "v: ioi in zoo:attn-2l at 0.01, seed 1: getting ready, 0:30",
        "0 of 4 runs done, about 6:10 left",
    ]


def console(width: int, height: int = 24) -> Console:
    return Console(
        file=StringIO(), force_terminal=True, width=width, height=height, color_system=None
    )


def picture(live: SweepLive, width: int, height: int = 24) -> list[str]:
    """What the terminal shows, drawn once."""
    screen = console(width, height)
    screen.print(live)
    assert isinstance(screen.file, StringIO)
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


RUNS = [named("zoo:gpt2-4l-s0", "ioi"), named("hf:openai-community/gpt2", "docstring", 1)]


def test_picture_has_a_line_for_each_worker_and_one_for_the_whole(clock: Clock):
    live = SweepLive(RUNS, clock, console(120))
    assert isinstance(live, SweepListener)
    live.started("n:1", RUNS[0], 1)
    live.started("n:2", RUNS[1], 2)
    clock.now += 7
    live.advanced("n:1", 412, 37, 86)
    live.finish()
    _, head, _, first, second, whole = picture(live, 120)
    assert " ".join(head.split()) == "worker model task method decided kept left time"
    assert " ".join(first.split()) == "n:1 zoo:gpt2-4l-s0 ioi acdc 0.01 412 37 86 0:07"
    assert second.split()[:3] == ["n:2", "hf:openai-community/gpt2", "docstring"]
    assert second.split()[-8:] == ["acdc", "0.01,", "try", "2", "–", "–", "–", "0:07"]
    assert whole.split(maxsplit=1)[1] == "0 of 2 done   0:07"


@pytest.mark.parametrize("width", [50, 60, 80, 120, 200])
def test_picture_fits_the_terminal(clock: Clock, width: int):
    live = SweepLive(RUNS, clock, console(width))
    for number, run in enumerate(RUNS):
        live.started(f"node-{number}:12345", run, 1)
        live.advanced(f"node-{number}:12345", 32000, 3200, 491)
    clock.now += 4000
    live.ended(ended(0, worker="other"))
    live.finish()
    shown = picture(live, width)
    assert max(map(len, shown)) <= width
    assert all("491" in line for line in shown[3:5])
    assert "1 of 2 done" in shown[5]


def test_picture_of_more_workers_than_lines_says_how_many_there_are(clock: Clock):
    live = SweepLive(RUNS, clock, console(80, 12))
    for number in range(40):
        live.started(f"w{number}", RUNS[0], 1)
    live.finish()
    shown = picture(live, 80, 12)
    assert len(shown) <= 12
    assert any(line == "and 34 more workers" for line in shown)


def said(live: SweepLive) -> str:
    screen = live._live.console.file
    assert isinstance(screen, StringIO)
    return screen.getvalue()


def test_picture_leaves_a_line_behind_for_each_run_of_a_small_sweep(clock: Clock):
    live = SweepLive(RUNS, clock, console(120))
    live.ended(ended(0))
    live.ended(ended(1, "failed"))
    live.lost("w", None, "gone")
    live.finish()
    for line in ("[1/2] ioi in zoo:attn-2l at 0.01: 3 edges", "failed: two tokens", "w died: gone"):
        assert line in said(live)


def test_picture_leaves_only_failures_behind_in_a_large_sweep(clock: Clock):
    live = SweepLive(RUNS * 200, clock, console(120))
    live.ended(ended(0))
    live.ended(ended(1, "failed"))
    live.finish()
    assert "3 edges" not in said(live)
    assert "[2/400]" in said(live)


def test_display_is_lines_off_a_terminal_and_a_picture_on_one(capsys, monkeypatch):
    with show_sweep_progress(RUNS) as listener:
        assert isinstance(listener, SweepLines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with show_sweep_progress(RUNS) as listener:
        assert isinstance(listener, SweepLive)
    assert capsys.readouterr().out == ""
