"""One round of a regression: runs executed, verdicts reached, baselines written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from acdc_pipeline.cli.regressing import Asked
from acdc_pipeline.cli.sweeping import carry_out
from acdc_pipeline.cli.terminal.progress import waiting
from acdc_pipeline.cli.terminal.words import counted, relative
from acdc_pipeline.errors import (
    AcdcError,
    BaselineError,
    ExecutionFailed,
    InvalidInput,
    StoreFailed,
)

if TYPE_CHECKING:
    from acdc_pipeline.cli.workplace import Workplace
    from acdc_pipeline.execution.executor import Outcome
    from acdc_pipeline.execution.planned import PlannedRun
    from acdc_pipeline.models.fingerprint import Fingerprint
    from acdc_pipeline.regression.baseline import Baseline
    from acdc_pipeline.regression.report import Report
    from acdc_pipeline.regression.verdict import Verdict
    from acdc_pipeline.store import Store


@dataclass(frozen=True)
class Round:
    """Where and on what a regression works.

    Args:
        store: holds the fresh runs.
        kept: where people find them afterwards; None for a temporary store.
        place: what it executes on.
        again: the command that goes on after an interruption; None where nothing stays.
    """

    store: Store
    kept: str | None
    place: Workplace
    again: str | None


class Fingerprints:
    """The fingerprints of the models of one regression, each taken once.

    Attributes:
        of: what the files say. Raises what `fingerprint` raises.
        with_heads: the same with a digest of each head, which takes loading the model.
    """

    def __init__(self) -> None:
        from acdc_pipeline.models.take_fingerprint import fingerprint

        self.of: Callable[[str], Fingerprint] = cache(fingerprint)
        self.with_heads: Callable[[str], Fingerprint] = cache(self._with_heads)

    def _with_heads(self, ref: str) -> Fingerprint:
        from acdc_pipeline.models.head_digests import with_heads

        return with_heads(self.of(ref), ref)


def check_fresh(store: Store, asked: Sequence[Asked]) -> None:
    """Raises InvalidInput if `store` holds runs that are to be executed afresh."""
    ids = [one.planned.run_id for one in asked if one.planned is not None]
    if there := len(store.whole(ids)):
        raise InvalidInput(
            f"holds {there} of these {counted(len(ids), 'run')} already",
            where=relative(store.url),
            fix="name another store, or take them as they are with --cached",
        )


def regressed(round_: Round, sweep: str, asked: Sequence[Asked], folder: Path) -> Report:
    """Executes the runs of `asked` and holds each against its baseline in `folder`.

    Where nothing can be executed any more (no cluster, no worker that lives, a store that gave
    out), every cell is an error.

    Raises:
        KeyboardInterrupt: as it came.
        InvalidInput: the place of work or the store is not what it has to be.
    """
    from acdc_pipeline.regression.baseline import unused
    from acdc_pipeline.regression.report import Report
    from acdc_pipeline.regression.verdict import judge_failure

    fingerprints = Fingerprints()
    broken: AcdcError | None = None
    ended: dict[str, Outcome] = {}
    try:
        ended = _executed(round_, [one.planned for one in asked if one.planned is not None])
    except (ExecutionFailed, StoreFailed) as error:
        broken = error
    with waiting("comparing"):
        verdicts = [
            verdict_of(one, folder, round_.store, ended, fingerprints)
            if broken is None
            else judge_failure(one.cell, None, None, one.error or broken)
            for one in asked
        ]
    return Report(
        sweep=sweep,
        baselines=relative(str(folder)),
        store=round_.kept,
        verdicts=tuple(verdicts),
        unused=unused(folder, [one.cell for one in asked]),
    )


def updated(
    round_: Round, report: Report, asked: Sequence[Asked], folder: Path, reason: str, seeds: int
) -> Report:
    """Writes a baseline into `folder` for every cell of `report` that is neither ok nor failed.

    Cells of which a run on another sample of prompts fails keep what they have, and become errors.

    Raises:
        ExecutionFailed: a file cannot be written.
    """
    from acdc_pipeline.regression.baseline import write_baseline
    from acdc_pipeline.regression.verdict import judge_failure

    todo = {
        verdict.cell.stem: other_samples(one, seeds)
        for one, verdict in zip(asked, report.verdicts, strict=True)
        if verdict.status not in ("ok", "error") and verdict.run_id is not None
    }
    ended = _executed(round_, [run for runs in todo.values() for run in runs])
    verdicts: list[Verdict] = []
    written: list[str] = []
    fingerprints = Fingerprints()
    for one, verdict in zip(asked, report.verdicts, strict=True):
        others = todo.get(verdict.cell.stem, ())
        failed = next((e for run in others if (e := _error_of(ended, run)) is not None), None)
        if failed is not None:
            verdicts.append(judge_failure(one.cell, None, None, failed))
            continue
        verdicts.append(verdict)
        if others:
            baseline = new_baseline(one, others, round_.store, reason, fingerprints)
            written.append(write_baseline(folder, baseline).name)
    return replace(report, verdicts=tuple(verdicts), updated=tuple(written))


def _error_of(ended: Mapping[str, Outcome], run: PlannedRun) -> AcdcError | None:
    outcome = ended.get(run.run_id)
    return ExecutionFailed("was not executed") if outcome is None else outcome.error


def _executed(round_: Round, runs: Sequence[PlannedRun]) -> dict[str, Outcome]:
    """How each of `runs` ended, by run id."""
    outcomes = carry_out(runs, round_.store, round_.place, again=round_.again)
    return {outcome.planned.run_id: outcome for outcome in outcomes}


def verdict_of(
    asked: Asked,
    folder: Path,
    store: Store,
    ended: Mapping[str, Outcome],
    fingerprints: Fingerprints,
) -> Verdict:
    """What is to be said of one cell whose run is over.

    Args:
        asked: the cell.
        folder: of the baselines.
        store: where its run is, if it came to an end.
        ended: how runs ended, by run id; those that were not executed are not there.
        fingerprints: of the models.
    """
    from acdc_pipeline.regression.baseline import read_baseline
    from acdc_pipeline.regression.verdict import judge, judge_failure, no_baseline

    baseline: Baseline | None = None
    problem: BaselineError | None = None
    try:
        baseline = read_baseline(folder, asked.cell)
    except BaselineError as error:
        problem = error
    outcome = None if asked.planned is None else ended.get(asked.planned.run_id)
    if asked.planned is None or outcome is None:
        why = asked.error or ExecutionFailed("was not executed")
        return judge_failure(asked.cell, baseline, None, why)
    try:
        model = fingerprints.of(asked.planned.run.model)
        if outcome.error is not None:
            return judge_failure(asked.cell, baseline, model, outcome.error, outcome.seconds)
        record = store.get(asked.planned.run_id)
        if baseline is not None and _heads_are_asked(baseline.model, model):
            model = fingerprints.with_heads(asked.planned.run.model)
    except AcdcError as error:
        return judge_failure(asked.cell, baseline, None, outcome.error or error, outcome.seconds)
    if baseline is None:
        ran = asked.planned.run_id
        return no_baseline(asked.cell, problem, seconds=outcome.seconds, run_id=ran)
    return judge(baseline, record, model, outcome.seconds)


def _heads_are_asked(was: Fingerprint, now: Fingerprint) -> bool:
    return bool(was.heads) and was.revision != now.revision


def other_samples(asked: Asked, seeds: int) -> tuple[PlannedRun, ...]:
    """The runs of a cell on other samples of prompts: the next `seeds` seeds."""
    from acdc_pipeline.execution.planned import PlannedRun

    assert asked.planned is not None
    run, task = asked.planned.run, asked.planned.task
    return tuple(
        PlannedRun(run.model_copy(update={"seed": run.seed + k}), task) for k in range(1, seeds + 1)
    )


def new_baseline(
    asked: Asked,
    others: Sequence[PlannedRun],
    store: Store,
    reason: str,
    fingerprints: Fingerprints,
) -> Baseline:
    """The baseline of a cell from its run and those on other samples, which are in `store`.

    Raises:
        StoreError: a run is not there.
    """
    import acdc_pipeline
    from acdc_pipeline.regression.baseline import Baseline, graph_shape
    from acdc_pipeline.regression.finding import finding_of
    from acdc_pipeline.regression.tolerance import tolerance
    from acdc_pipeline.specs import METHOD_VERSIONS

    assert asked.planned is not None
    record = store.get(asked.planned.run_id)
    found = finding_of(record)
    circuit = found.circuit
    samples = {run.run.seed: finding_of(store.get(run.run_id)) for run in others}
    model = fingerprints.of(record.spec.model)
    if model.tensors:  # what is pinned to a commit of the hub is not loaded a second time
        model = fingerprints.with_heads(record.spec.model)
    return Baseline(
        cell=asked.cell,
        reason=reason,
        task_hash=record.spec.task_hash,
        method_version=METHOD_VERSIONS[record.spec.method.name],
        code_version=acdc_pipeline.__version__,
        run_id=record.spec.run_id(),
        model=model,
        environment=record.environment,
        graph=graph_shape(circuit.topology),
        edges={str(edge): circuit.scores.get(edge) for edge in circuit.sorted_edges},
        metrics=dict(found.metrics),
        tolerance=tolerance(found, samples),
    )
