"""From a sweep to its runs: tasks found, models looked up, every cell pinned to a revision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from acdc_pipeline.errors import AcdcError, InvalidInput, SpecError
from acdc_pipeline.execution.plan import describe_supported
from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.execution.shard import WHOLE, Shard, shard_of
from acdc_pipeline.models.describe import ModelDescription
from acdc_pipeline.models.zoo import list_zoo
from acdc_pipeline.specs import Cell, ModelRef, RunSpec, SweepSpec, find_task
from acdc_pipeline.specs.names import Dtype


@dataclass(frozen=True)
class Refusal:
    """A cell that no run can be made of, and why: its model is missing or not reproduced."""

    cell: Cell
    error: AcdcError


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep, or a shard of it, consists of on this machine.

    Args:
        name: of the sweep.
        runs: each once, in the sweep's order.
        refused: the cells that are no runs, in the same order.
        models: what the models of `runs` are, by reference.
    """

    name: str
    runs: tuple[PlannedRun, ...]
    refused: tuple[Refusal, ...]
    models: Mapping[str, ModelDescription]


NOBODY: Mapping[ModelRef, ModelRef] = MappingProxyType({})
"""No model stands in for another."""


def plan_sweep(
    sweep: SweepSpec,
    *,
    dtype: Dtype,
    shard: Shard = WHOLE,
    replacements: Mapping[ModelRef, ModelRef] = NOBODY,
    counted: Callable[[int], None] = lambda size: None,
) -> SweepPlan:
    """The runs of `sweep`. Reads tasks and the models' files, loads nothing.

    A cell whose model is missing or not reproduced is refused and does not stop the rest. Cells
    that are the same question are one run: those that the sweep itself says twice before it is cut
    into shards, two references to the same weights within each.

    Args:
        sweep: what to run.
        dtype: used if the sweep does not say; the worker profile's.
        shard: which part of it.
        replacements: models that take the place of others, after the sweep's exclusions: a model is
            asked what the one that it stands in for would be asked.
        counted: hears how many cells the whole sweep has, before they are made.

    Raises:
        UnknownName: no such task; a zoo name or pattern that matches nothing.
        SpecError: a task that cannot be read, or a sweep that excludes everything.
    """
    tasks = {name: find_task(name) for name in sweep.tasks}
    models = sweep.model_refs(list_zoo())
    counted(sweep.size(tasks, models))
    cells = sweep.cells(tasks, models, dtype)
    if not cells:
        raise SpecError(
            "leaves out every task in every model",
            where=f"sweep '{sweep.name}'",
            field="exclude",
            fix="remove an exclusion, or add a model",
        )
    cells = tuple(replace(cell, model=replacements.get(cell.model, cell.model)) for cell in cells)
    hashes = _task_hashes(cells)
    return _planned(sweep.name, shard_of(_distinct(cells, hashes), shard), hashes)


def _task_hashes(cells: Iterable[Cell]) -> dict[int, str]:
    """The definition hash of each task by its id, for it takes reading all the prompts."""
    tasks = {id(cell.task): cell.task for cell in cells}
    return {key: task.definition_hash() for key, task in tasks.items()}


def _distinct(cells: Iterable[Cell], hashes: Mapping[int, str]) -> tuple[Cell, ...]:
    found: dict[tuple[object, ...], Cell] = {}
    for cell in cells:
        task = hashes[id(cell.task)]
        found.setdefault((task, cell.model, cell.method, cell.seed), cell)
    return tuple(found.values())


def _planned(name: str, cells: Iterable[Cell], hashes: Mapping[int, str]) -> SweepPlan:
    models: dict[ModelRef, ModelDescription | AcdcError] = {}
    runs: dict[str, PlannedRun] = {}
    refused: list[Refusal] = []
    for cell in cells:
        if cell.model not in models:
            models[cell.model] = _looked_up(cell.model)
        model = models[cell.model]
        if isinstance(model, AcdcError):
            refused.append(Refusal(cell, model))
            continue
        planned = PlannedRun(_pinned(cell, model, hashes[id(cell.task)]), cell.task)
        runs.setdefault(planned.run_id, planned)
    described = {m.ref: m for m in models.values() if isinstance(m, ModelDescription)}
    return SweepPlan(name, tuple(runs.values()), tuple(refused), described)


def _looked_up(ref: ModelRef) -> ModelDescription | AcdcError:
    try:
        return describe_supported(ref)
    except AcdcError as error:
        return error
    except OSError as error:
        return InvalidInput(f"cannot be read: {error.strerror or error}", where=str(ref))


def _pinned(cell: Cell, model: ModelDescription, task_hash: str) -> RunSpec:
    return RunSpec(
        task=cell.task.name,
        task_hash=task_hash,
        model=model.ref,
        model_revision=model.revision,
        method=cell.method,
        prompts=cell.task.prompts_for(cell.prompts),
        seed=cell.seed,
        dtype=cell.dtype,
    )
