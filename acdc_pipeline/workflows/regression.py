"""Find the circuits of a sweep again, compare them with baselines, and renew baselines."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import acdc_pipeline
from acdc_pipeline.errors import (
    AcdcError,
    BaselineError,
    ExecutionFailed,
    InvalidInput,
    StoreFailed,
)
from acdc_pipeline.execution.executor import Executor
from acdc_pipeline.execution.progress import SilentSweep
from acdc_pipeline.execution.runs import Outcome, PlannedRun
from acdc_pipeline.models.fingerprint import Fingerprint
from acdc_pipeline.models.take_fingerprint import add_head_digests, take_fingerprint
from acdc_pipeline.models.zoo import list_zoo
from acdc_pipeline.regression.baseline import (
    Baseline,
    ExpectedConsensus,
    find_unused,
    graph_shape,
    read_baseline,
    write_baseline,
)
from acdc_pipeline.regression.cell import CellSpec, cell_of, check_distinct
from acdc_pipeline.regression.finding import finding_of, measure_tolerance
from acdc_pipeline.regression.report import Report
from acdc_pipeline.regression.verdict import Verdict, judge, judge_failure, judge_without_baseline
from acdc_pipeline.specs import (
    ModelRef,
    ProfileMethod,
    WorkerProfile,
    circuit_method,
    find_sweep,
)
from acdc_pipeline.store import Store, open_store
from acdc_pipeline.text import pluralize
from acdc_pipeline.workflows.executors import execute_runs, execution_settings, make_executor
from acdc_pipeline.workflows.sweep import Refusal, plan_sweep

Execute = Callable[[Sequence[PlannedRun]], Iterable[Outcome]]
"""Executes runs into the store of the regression and returns their outcomes."""


@dataclass(frozen=True)
class PlannedCell:
    """A cell with its run.

    Args:
        planned: the run; None where `error` says why there is none.
        error: the reason, such as a missing model.
    """

    cell: CellSpec
    planned: PlannedRun | None
    error: AcdcError | None = None


def plan_cells(
    sweep: str, profile: WorkerProfile, replacements: Mapping[ModelRef, ModelRef]
) -> tuple[str, tuple[PlannedCell, ...]]:
    """Return the name of a sweep and its cells, without loading a model.

    Runs that find no circuit, such as head profiles, are left out.

    Args:
        profile: says the precision where the sweep names none, and over how many processes each
            run is spread.
        replacements: models of the sweep, each with the model that takes its place and is
            compared with its baselines.

    Raises:
        InvalidInput: the sweep is not valid, does not contain a model to be replaced, contains the
            replacement, or has a method that is not spread over processes.
    """
    spec = find_sweep(sweep)
    models = spec.model_refs(list_zoo())
    for old, new in replacements.items():
        if old not in models:
            allowed = ", ".join(map(str, models))
            raise InvalidInput(f"{old} is not in the sweep", field="replace", allowed=allowed)
        if new in models:
            raise InvalidInput(f"{new} is in the sweep itself", field="replace")
    plan = plan_sweep(
        spec, dtype=profile.dtype, replacements=replacements, spread_over=profile.shards
    )
    originals = {str(new): str(old) for old, new in replacements.items()}
    cells = [
        PlannedCell(cell_of(run.run, originals.get(run.run.model, run.run.model)), run)
        for run in plan.runs
        if not isinstance(run.run.method, ProfileMethod)
    ]
    cells += [
        PlannedCell(_refused_cell(refusal, originals), None, refusal.error)
        for refusal in plan.refused
        if not isinstance(refusal.cell.method, ProfileMethod)
    ]
    check_distinct((planned.cell for planned in cells), spec.name)
    return spec.name, tuple(cells)


def check_fresh(
    store: Store, cells: Sequence[PlannedCell], fix: str = "name another store"
) -> None:
    """Raise InvalidInput if `store` already holds runs of `cells`."""
    ids = [cell.planned.run_id for cell in cells if cell.planned is not None]
    if present := len(store.intact(ids)):
        raise InvalidInput(
            f"holds {present} of these {pluralize(len(ids), 'run')} already",
            where=store.url,
            fix=fix,
        )


def run_regression(
    sweep: str,
    cells: Sequence[PlannedCell],
    execute: Execute,
    store: Store,
    baselines: Path,
    comparing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Report:
    """Execute the runs of `cells` and compare each with its baseline.

    Where nothing can be executed any more (no cluster, no live worker, a failed store), every
    cell is an error.

    Args:
        comparing: a context manager around the comparison, to show progress.

    Raises:
        InvalidInput: the worker profile or the store is not valid.
    """
    fingerprints = Fingerprints()
    failure: AcdcError | None = None
    outcomes: dict[str, Outcome] = {}
    try:
        outcomes = _outcomes(execute, [c.planned for c in cells if c.planned is not None])
    except (ExecutionFailed, StoreFailed) as error:
        failure = error
    with comparing():
        verdicts = [
            judge_cell(cell, baselines, store, outcomes, fingerprints)
            if failure is None
            else judge_failure(cell.cell, None, None, cell.error or failure)
            for cell in cells
        ]
    return Report(
        sweep=sweep,
        baselines=str(baselines),
        store=store.url,
        verdicts=tuple(verdicts),
        unused=find_unused(baselines, [cell.cell for cell in cells]),
    )


def update_baselines(
    report: Report,
    cells: Sequence[PlannedCell],
    execute: Execute,
    store: Store,
    folder: Path,
    reason: str,
    seeds: int,
) -> Report:
    """Write a baseline for every cell of `report` that drifted or has no usable one.

    A cell keeps its baseline, and becomes an error, if a run on another sample of prompts fails.

    Raises:
        ExecutionFailed: a file cannot be written.
    """
    samples = {
        verdict.cell.stem: _other_samples(cell, seeds)
        for cell, verdict in zip(cells, report.verdicts, strict=True)
        if verdict.status not in ("ok", "error") and verdict.run_id is not None
    }
    outcomes = _outcomes(execute, [run for runs in samples.values() for run in runs])
    verdicts: list[Verdict] = []
    written: list[str] = []
    fingerprints = Fingerprints()
    for cell, verdict in zip(cells, report.verdicts, strict=True):
        others = samples.get(verdict.cell.stem, ())
        errors = (_error_of(outcomes, run) for run in others)
        failed = next((error for error in errors if error is not None), None)
        if failed is not None:
            verdicts.append(judge_failure(cell.cell, None, None, failed))
            continue
        verdicts.append(verdict)
        if others:
            baseline = _new_baseline(cell, others, store, reason, fingerprints)
            written.append(write_baseline(folder, baseline).name)
    return replace(report, verdicts=tuple(verdicts), updated=tuple(written))


def judge_cell(
    cell: PlannedCell,
    baselines: Path,
    store: Store,
    outcomes: Mapping[str, Outcome],
    fingerprints: Fingerprints,
) -> Verdict:
    """Compare one cell with its baseline."""
    baseline: Baseline | None = None
    problem: BaselineError | None = None
    try:
        baseline = read_baseline(baselines, cell.cell)
    except BaselineError as error:
        problem = error
    outcome = None if cell.planned is None else outcomes.get(cell.planned.run_id)
    if cell.planned is None or outcome is None:
        reason = cell.error or ExecutionFailed("was not executed")
        return judge_failure(cell.cell, baseline, None, reason)
    try:
        model = fingerprints.of(cell.planned.run.model)
        if outcome.error is not None:
            return judge_failure(cell.cell, baseline, model, outcome.error, outcome.seconds)
        record = store.get(cell.planned.run_id)
        known = None if baseline is None else baseline.model
        if known is not None and known.heads and known.revision != model.revision:
            model = fingerprints.with_heads(cell.planned.run.model)
    except AcdcError as error:
        return judge_failure(cell.cell, baseline, None, outcome.error or error, outcome.seconds)
    if baseline is None:
        run_id = cell.planned.run_id
        return judge_without_baseline(cell.cell, problem, seconds=outcome.seconds, run_id=run_id)
    return judge(baseline, record, model, outcome.seconds)


class Fingerprints:
    """Fingerprints of models, each computed once.

    Attributes:
        of: the fingerprint of a model's files. Raises what `take_fingerprint` raises.
        with_heads: the same with a digest of each head, for which the model is loaded.
    """

    def __init__(self) -> None:
        self.of: Callable[[str], Fingerprint] = cache(take_fingerprint)
        self.with_heads: Callable[[str], Fingerprint] = cache(self._with_heads)

    def _with_heads(self, ref: str) -> Fingerprint:
        return add_head_digests(self.of(ref), ref)


class CellRunner:
    """The cells of a sweep, executed one at a time in this process and compared.

    Raises:
        InvalidInput: the sweep is not valid, or the folder does not exist.
    """

    def __init__(self, folder: str, sweep: str) -> None:
        self._folder = Path(folder)
        if not self._folder.is_dir():
            raise InvalidInput("is not a folder", where=folder)
        self._settings = execution_settings(executor="local")
        _, self.cells = plan_cells(sweep, self._settings.profile, {})
        self._executor: Executor | None = None
        self._fingerprints = Fingerprints()
        self._store: tempfile.TemporaryDirectory[str] | None = None

    def verdict(self, index: int) -> Verdict:
        """Execute the run of a cell and compare it with its baseline."""
        if self._store is None:
            self._store = tempfile.TemporaryDirectory(prefix="acdc-regress-")
        if self._executor is None:
            self._executor = make_executor(self._settings)
        cell, store = self.cells[index], open_store(self._store.name, "write")
        runs = [] if cell.planned is None else [cell.planned]
        executed = execute_runs(runs, store, self._executor, SilentSweep())
        outcomes = {outcome.planned.run_id: outcome for outcome in executed}
        return judge_cell(cell, self._folder, store, outcomes, self._fingerprints)

    def close(self) -> None:
        if self._store is not None:
            self._store.cleanup()
            self._store = None
        self._executor = None


def _refused_cell(refusal: Refusal, originals: Mapping[str, str]) -> CellSpec:
    cell, model = refusal.cell, str(refusal.cell.model)
    return CellSpec(
        task=cell.task.name,
        model=originals.get(model, model),
        method=circuit_method(cell.method),
        prompts=cell.task.prompts_for(cell.prompts),
        seed=cell.seed,
        dtype=cell.dtype,
    )


def _outcomes(execute: Execute, runs: Sequence[PlannedRun]) -> dict[str, Outcome]:
    return {outcome.planned.run_id: outcome for outcome in execute(runs)}


def _error_of(outcomes: Mapping[str, Outcome], run: PlannedRun) -> AcdcError | None:
    outcome = outcomes.get(run.run_id)
    return ExecutionFailed("was not executed") if outcome is None else outcome.error


def _other_samples(cell: PlannedCell, seeds: int) -> tuple[PlannedRun, ...]:
    """The runs of a cell with the next `seeds` seeds."""
    assert cell.planned is not None
    run, task = cell.planned.run, cell.planned.task
    return tuple(
        PlannedRun(run.model_copy(update={"seed": run.seed + k}), task) for k in range(1, seeds + 1)
    )


def _new_baseline(
    cell: PlannedCell,
    others: Sequence[PlannedRun],
    store: Store,
    reason: str,
    fingerprints: Fingerprints,
) -> Baseline:
    """Make a baseline from the run of a cell and its runs on other samples, all in `store`."""
    assert cell.planned is not None
    record = store.get(cell.planned.run_id)
    found = finding_of(record)
    circuit = found.circuit
    samples = {run.run.seed: finding_of(store.get(run.run_id)) for run in others}
    model = fingerprints.of(record.spec.model)
    if model.tensors:  # a model pinned to a commit of the hub is not loaded a second time
        model = fingerprints.with_heads(record.spec.model)
    return Baseline(
        cell=cell.cell,
        reason=reason,
        task_hash=record.spec.task_hash,
        method_version=record.spec.method.VERSION,
        code_version=acdc_pipeline.__version__,
        run_id=record.spec.run_id(),
        model=model,
        environment=record.environment,
        graph=graph_shape(circuit.topology),
        edges={str(edge): circuit.scores.get(edge) for edge in circuit.sorted_edges},
        metrics=dict(found.metrics),
        tolerance=measure_tolerance(found, samples),
        consensus=None if found.consensus is None else ExpectedConsensus.of(found.consensus),
    )
