"""Plan a sweep: find its tasks and models, pin every run, and look up the state of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from acdc_pipeline.errors import (
    AcdcError,
    DamagedRun,
    InvalidInput,
    OutOfMemoryBudget,
    SpecError,
    UnsupportedModel,
    unknown,
)
from acdc_pipeline.execution.plan import describe_supported
from acdc_pipeline.execution.progress import SilentSweep, SweepListener
from acdc_pipeline.execution.runs import Outcome, PlannedRun
from acdc_pipeline.execution.shard import WHOLE, Shard, shard_of
from acdc_pipeline.models.describe import ModelDescription, no_mixture
from acdc_pipeline.models.zoo import list_zoo
from acdc_pipeline.specs import Cell, ModelRef, RunSpec, SweepSpec, TaskSpec, find_task
from acdc_pipeline.specs.names import Dtype
from acdc_pipeline.store import RunFailure, RunRecord, Store
from acdc_pipeline.workflows.executors import ExecutionSettings, execute_runs, make_executor
from acdc_pipeline.workflows.shards import check_method

RunState = Literal["cached", "to run", "failed before"]

# A byte budget that was too small says nothing about the next one, and fails at once if it does.
_RETRIED = OutOfMemoryBudget.__name__

NO_REPLACEMENTS: Mapping[ModelRef, ModelRef] = MappingProxyType({})


@dataclass(frozen=True)
class Refusal:
    """A cell without a run, because its model is missing or not supported."""

    cell: Cell
    error: AcdcError

    @property
    def unsupported(self) -> bool:
        """Whether the model is there, and the engine does not reproduce it."""
        return isinstance(self.error, UnsupportedModel)


@dataclass(frozen=True)
class SweepPlan:
    """The runs of a sweep, or of a shard of it.

    Args:
        runs: the runs, each once, in the order of the sweep.
        models: descriptions of the models of `runs`, by reference.
    """

    name: str
    runs: tuple[PlannedRun, ...]
    refused: tuple[Refusal, ...]
    models: Mapping[str, ModelDescription]

    @cached_property
    def unsupported(self) -> tuple[Refusal, ...]:
        """The cells of `refused` whose model the engine does not reproduce."""
        return tuple(refusal for refusal in self.refused if refusal.unsupported)


@dataclass(frozen=True)
class SweepStatus:
    """A plan with the state of its runs in a store.

    Args:
        failures: earlier failures by run id, of runs that are not in the store.
        damaged: errors of failure files that cannot be read; their runs count as never executed.
    """

    plan: SweepPlan
    states: Mapping[str, RunState]
    failures: Mapping[str, RunFailure]
    damaged: tuple[DamagedRun, ...]

    def state(self, planned: PlannedRun) -> RunState:
        return self.states[planned.run_id]

    def runs(self, *states: RunState) -> tuple[PlannedRun, ...]:
        """The runs in one of `states`, in the order of the sweep."""
        return tuple(run for run in self.plan.runs if self.state(run) in states)


@dataclass(frozen=True)
class SweepResult:
    """An executed sweep.

    Args:
        status: the plan, and the state of its runs before the execution.
    """

    store: Store
    status: SweepStatus
    outcomes: tuple[Outcome, ...]

    @cached_property
    def records(self) -> list[RunRecord]:
        """The runs of the sweep that are in the store, in its order, read at the first access."""
        done = {o.planned.run_id for o in self.outcomes if o.error is None}
        done |= {planned.run_id for planned in self.status.runs("cached")}
        ids = [planned.run_id for planned in self.status.plan.runs]
        return [self.store.get(run_id) for run_id in ids if run_id in done]

    @property
    def errors(self) -> list[AcdcError]:
        """The errors of failed runs and of refused cells."""
        failed = [o.error for o in self.outcomes if o.error is not None]
        return failed + [refusal.error for refusal in self.status.plan.refused]


def run_sweep(
    sweep: SweepSpec,
    store: Store,
    settings: ExecutionSettings,
    *,
    shard: Shard = WHOLE,
    retry_failed: bool = False,
    listener: SweepListener | None = None,
    tasks: Sequence[TaskSpec] = (),
) -> SweepResult:
    """Plan a sweep and execute the runs that `store` does not have.

    Args:
        tasks: as for `plan_sweep`.

    Raises:
        InvalidInput: the sweep, the settings or the store is not valid.
        ExecutionFailed: nothing can be executed, such as where no cluster answers.
    """
    profile = settings.profile
    plan = plan_sweep(
        sweep, dtype=profile.dtype, shard=shard, given=tasks, spread_over=profile.shards
    )
    status = sweep_status(plan, store)
    runs = status.runs("to run", "failed before") if retry_failed else status.runs("to run")
    if not runs:
        return SweepResult(store, status, ())
    store.check_writable()
    outcomes = execute_runs(runs, store, make_executor(settings), listener or SilentSweep())
    return SweepResult(store, status, tuple(outcomes))


def plan_sweep(
    sweep: SweepSpec,
    *,
    dtype: Dtype,
    shard: Shard = WHOLE,
    replacements: Mapping[ModelRef, ModelRef] = NO_REPLACEMENTS,
    on_size: Callable[[int], None] = lambda size: None,
    given: Sequence[TaskSpec] = (),
    spread_over: int | None = None,
) -> SweepPlan:
    """Plan the runs of `sweep` from its tasks and the models' files; no model is loaded.

    A cell whose model is missing or not supported is refused and does not stop the rest. Equal
    cells are one run: duplicates in the sweep are removed before it is cut into shards, references
    to equal weights within each shard.

    Args:
        replacements: models to use in place of others, after the sweep's exclusions.
        on_size: called with the number of cells of the whole sweep before they are made.
        given: tasks in memory; one replaces the task that the sweep names so.
        spread_over: processes that each run is spread over, as `shards` of a worker profile; None
            for one.

    Raises:
        UnknownName: there is no such task, or a zoo name or pattern matches nothing.
        SpecError: a task cannot be read, is given but not named by the sweep, or the sweep
            excludes everything.
        InvalidInput: a method of the sweep is not spread over processes, see `check_method`.
    """
    in_memory = _given_tasks(sweep, given)
    tasks = {name: in_memory.get(name) or find_task(name) for name in sweep.tasks}
    models = sweep.model_refs(list_zoo())
    on_size(sweep.size(tasks, models))
    cells = sweep.cells(tasks, models, dtype)
    if not cells:
        raise SpecError(
            "leaves out every task in every model",
            where=f"sweep '{sweep.name}'",
            field="exclude",
            fix="remove an exclusion, or add a model",
        )
    for cell in cells:
        check_method(cell.method, spread_over)
    cells = tuple(replace(cell, model=replacements.get(cell.model, cell.model)) for cell in cells)
    # A definition hash takes reading all prompts of the task, so each is computed once.
    named = {id(cell.task): cell.task for cell in cells}
    hashes = {key: task.definition_hash() for key, task in named.items()}
    distinct: dict[tuple[object, ...], Cell] = {}
    for cell in cells:
        distinct.setdefault((hashes[id(cell.task)], cell.model, cell.method, cell.seed), cell)
    return _pin_runs(sweep.name, shard_of(tuple(distinct.values()), shard), hashes)


def sweep_status(plan: SweepPlan, store: Store) -> SweepStatus:
    """Look up the runs of `plan` in `store`, and verify those that are there.

    A run that was committed after a failure is cached. A damaged run counts as absent, and one
    that failed for lack of memory as never executed.

    Raises:
        StoreError: the store cannot be read.
    """
    run_ids = [run.run_id for run in plan.runs]
    present = store.intact(run_ids)
    failures = {f.run_id: f for f in store.failures() if f.kind != _RETRIED}
    states: dict[str, RunState] = dict.fromkeys(run_ids, "to run")
    states |= {i: "failed before" for i in run_ids if i in failures}
    states |= {i: "cached" for i in run_ids if i in present}
    return SweepStatus(
        plan=plan,
        states=states,
        failures={i: failures[i] for i in run_ids if i in failures and i not in present},
        damaged=tuple(store.damaged_failures()),
    )


def _given_tasks(sweep: SweepSpec, given: Sequence[TaskSpec]) -> dict[str, TaskSpec]:
    """The tasks in memory by name. Raises SpecError for one that the sweep does not name."""
    found: dict[str, TaskSpec] = {}
    for task in given:
        if task.name not in sweep.tasks or task.name in found:
            raise SpecError(
                f"'{task.name}' is there twice"
                if task.name in found
                else unknown("task of the sweep", task.name, sweep.tasks),
                where=f"sweep '{sweep.name}'",
                field="tasks",
                allowed=", ".join(sweep.tasks),
                fix="name every task in memory once in 'tasks' of the sweep",
            )
        found[task.name] = task
    return found


def _pin_runs(name: str, cells: Iterable[Cell], hashes: Mapping[int, str]) -> SweepPlan:
    models: dict[ModelRef, ModelDescription | AcdcError] = {}
    runs: dict[str, PlannedRun] = {}
    refused: list[Refusal] = []
    spans: dict[int, str] = {}
    for cell in cells:
        if cell.model not in models:
            models[cell.model] = _describe(cell.model)
        model = models[cell.model]
        if isinstance(model, AcdcError):
            refused.append(Refusal(cell, model))
            continue
        if cell.experts != "layer" and model.experts is None:
            refused.append(Refusal(cell, no_mixture().at(model.ref)))
            continue
        run = RunSpec(
            task=cell.task.name,
            task_hash=hashes[id(cell.task)],
            model=model.ref,
            model_revision=model.revision,
            method=cell.method,
            prompts=cell.task.prompts_for(cell.prompts),
            seed=cell.seed,
            dtype=cell.dtype,
            experts=cell.experts,
            positions=cell.positions,
            spans_hash=_spans_of(cell, spans),
        )
        planned = PlannedRun(run, cell.task)
        runs.setdefault(planned.run_id, planned)
    described = {m.ref: m for m in models.values() if isinstance(m, ModelDescription)}
    return SweepPlan(name, tuple(runs.values()), tuple(refused), described)


def _spans_of(cell: Cell, known: dict[int, str]) -> str:
    """Return the hash of the spans that edges of a cell live in, if they are those of the task."""
    if cell.positions != "spans":
        return ""
    if id(cell.task) not in known:
        known[id(cell.task)] = cell.task.spans_hash()
    return known[id(cell.task)]


def _describe(ref: ModelRef) -> ModelDescription | AcdcError:
    try:
        return describe_supported(ref)
    except AcdcError as error:
        return error
    except OSError as error:
        return InvalidInput(f"cannot be read: {error.strerror or error}", where=str(ref))
