"""A sweep, held against a store and carried out: what `acdc plan`, `run` and `demo` share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.output import print_note
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.text import format_size, pluralize
from acdc_pipeline.cli.views.sweep_progress import show_sweep_progress
from acdc_pipeline.errors import StoreFailed
from acdc_pipeline.workflows.executors import (
    ExecutionSettings,
    execute_runs,
    leaves_gpu_idle,
    make_executor,
)

if TYPE_CHECKING:
    from acdc_pipeline.execution.runs import Outcome, PlannedRun
    from acdc_pipeline.store import Store
    from acdc_pipeline.workflows.sweep import SweepStatus

_MANY = 50_000
_BYTES_EACH = 2_000
"""Of memory for a planned run: 1.6 kB were measured on 200,000 of them; forecasts come on top."""


def planned_against(
    sweep: str, store: str | None, place: ExecutionSettings, shard: str | None
) -> tuple[Store, SweepStatus]:
    """The store, and what `sweep` is in its light. Writes nothing, executes nothing.

    Args:
        sweep: a name, or a file.
        store: where results are; None for the default.
        place: whose dtype is used where the sweep names none.
        shard: `I/N`; None for all of it.

    Raises:
        InvalidInput: the sweep, the shard or the store is not valid.
    """
    from acdc_pipeline.execution.shard import WHOLE, parse_shard

    part = WHOLE if shard is None else parse_shard(shard)
    from acdc_pipeline.specs import find_sweep

    spec = find_sweep(sweep)
    with show_status(f"planning {spec.name}"):
        from acdc_pipeline.store import open_store
        from acdc_pipeline.workflows.sweep import plan_sweep, sweep_status

        results = open_store(store)
        plan = plan_sweep(spec, dtype=place.profile.dtype, shard=part, on_size=_say_many)
        return results, sweep_status(plan, results)


def _say_many(cells: int) -> None:
    if cells >= _MANY:
        print_note(
            f"{cells:,} runs to plan: this takes a while, and about "
            f"{format_size(cells * _BYTES_EACH)}"
        )


def say_what_is_there(work: SweepStatus) -> None:
    """Says on stderr how much of a sweep need not be done."""
    if cached := len(work.runs("cached")):
        print_note(f"{cached} of {pluralize(len(work.plan.runs), 'run')} are in the store already")


def carry_out(
    runs: Sequence[PlannedRun], results: Store, place: ExecutionSettings, again: str | None
) -> list[Outcome]:
    """Executes `runs`, shows how it goes, and gives every outcome in the order they came.

    Args:
        runs: what to do.
        results: where to.
        place: on what.
        again: the command that goes on after an interruption; None where there is none, for the
            store goes too.

    Raises:
        KeyboardInterrupt: as it came; what was committed stays, and `again` was said.
        StoreError: the store cannot be written.
        StoreFailed: it cannot be used any more; what was committed stays, and `again` was said.
    """
    outcomes: list[Outcome] = []
    if not runs:
        return outcomes
    results.check_writable()
    # Libraries take seconds to load, in which a log would otherwise hold nothing.
    print_note(f"{pluralize(len(runs), 'run')} to do")
    try:
        with show_status("getting ready"):
            executor = make_executor(place)
            if leaves_gpu_idle(place):
                print_note(
                    f"note: the GPU of this machine stays idle: profile '{place.name}' has no gpus "
                    "(--device cuda uses it)"
                )
        with (
            show_sweep_progress(runs) as listener,
            closing(execute_runs(runs, results, executor, listener)) as working,
        ):
            for outcome in working:
                outcomes.append(outcome)
    except (KeyboardInterrupt, StoreFailed):
        there = sum(outcome.state != "failed" for outcome in outcomes)
        if again is not None:
            print_note(f"{there} of {len(runs)} done and in the store; go on with: {again}")
        raise
    return outcomes
