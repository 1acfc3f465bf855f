"""`acdc run --watch`: plan the sweep again and again, and execute what others add to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.output import print_note
from acdc_pipeline.errors import AcdcError
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    from acdc_pipeline.execution.runs import Outcome, PlannedRun
    from acdc_pipeline.workflows.sweep import SweepStatus

INTERVAL = 5.0
"""Seconds between two plans, where there is nothing to execute."""


def execute_and_watch(
    executed: Sequence[Outcome],
    plan: Callable[[], SweepStatus],
    execute: Callable[[Sequence[PlannedRun]], list[Outcome]],
) -> tuple[SweepStatus, list[Outcome]]:
    """Plan a sweep again and again and execute what is new, until Ctrl-C while it waits.

    A plan that fails, as while a file is being edited, is reported and tried again.

    Args:
        executed: outcomes of the runs of the first plan.
        plan: reads the sweep again and returns its plan.
        execute: executes runs and returns their outcomes.

    Returns:
        The last plan that succeeded, and the outcomes of its runs, the last of each.
    """
    outcomes = {outcome.planned.run_id: outcome for outcome in executed}
    note = _Notes()
    status = plan()
    while True:
        # A run that failed is not tried again: the store has its cause, and the next plan says so.
        todo = [run for run in status.runs("to run") if not _failed(outcomes.get(run.run_id))]
        if todo:
            outcomes |= {outcome.planned.run_id: outcome for outcome in execute(todo)}
        else:
            ended = pluralize(len(status.plan.runs), "run")
            note(f"{ended} done or failed; waiting for more (Ctrl-C ends)")
        try:
            if not todo:
                _pause()
            status = _plan_again(plan, note)
        except KeyboardInterrupt:
            break
    planned = {run.run_id for run in status.plan.runs}
    return status, [outcome for run_id, outcome in outcomes.items() if run_id in planned]


class _Notes:
    """Prints a note, unless it is that of the last call."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, text: str) -> None:
        if text != self._last:
            print_note(text)
        self._last = text


def _plan_again(plan: Callable[[], SweepStatus], note: Callable[[str], None]) -> SweepStatus:
    while True:
        try:
            return plan()
        except AcdcError as error:
            note(f"acdc: warning: {error}")
            _pause()


def _pause() -> None:
    time.sleep(INTERVAL)


def _failed(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.state == "failed"
