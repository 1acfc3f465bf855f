"""The smallest circuit of a method that reaches a faithfulness: `discover(…, faithful=0.9)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.graph.search_order import ThresholdRange
from acdc_pipeline.specs import (
    AcdcMethod,
    RunSpec,
    ScoredMethod,
    SearchMethod,
    TaskSpec,
    circuit_method,
)
from acdc_pipeline.store.figures import faithfulness_of
from acdc_pipeline.workflows.discovery import discover_into, execute_alone
from acdc_pipeline.workflows.size_search import (
    bisect_sizes,
    grid_index,
    grid_threshold,
    size_grid,
    smallest_size,
)

if TYPE_CHECKING:
    from acdc_pipeline.execution.methods import SharedWork
    from acdc_pipeline.execution.progress import Progress
    from acdc_pipeline.execution.shards.worker import ShardedWorker
    from acdc_pipeline.execution.worker import Worker
    from acdc_pipeline.store import RunRecord, Store

ROUNDING = 1e-6
"""A faithfulness this far below the target reaches it: float32 gives no more digits."""

# Where a threshold of ACDC may be looked for, in units of |m(G) - m(∅)|.
_LEAST, _MOST = 1e-7, 10.0


@dataclass(frozen=True)
class Trial:
    """A circuit that was tried on the way to the one that is faithful enough.

    Args:
        threshold: of its search; None for methods that score edges.
        edges: how many edges it has.
        faithfulness: in the metric of the run; 1 for the whole model, 0 for the empty circuit.
        run_id: its run; None for a cut that was only measured.
    """

    threshold: float | None
    edges: int
    faithfulness: float
    run_id: str | None


@dataclass(frozen=True)
class FaithfulRun:
    """The smallest circuit found that reaches a faithfulness.

    Args:
        target: the faithfulness to reach.
        cached: whether the run was in the store already.
        trials: the circuits tried, in that order.
    """

    record: RunRecord
    target: float
    cached: bool
    trials: tuple[Trial, ...]

    @property
    def is_monotone(self) -> bool:
        """Whether every circuit tried that is larger than one that reaches the target does so."""
        by_size = sorted(self.trials, key=lambda trial: (trial.edges, trial.faithfulness))
        found = [_reaches(trial.faithfulness, self.target) for trial in by_size]
        return found == sorted(found)


@runtime_checkable
class TrialListener(Protocol):
    """A listener to the circuits tried."""

    def trying(self, what: str) -> None:
        """A search at a size, or the measurement of several cuts, begins."""

    def tried(self, trial: Trial) -> None:
        """A circuit was measured."""


class SilentTrials(TrialListener):
    """A `TrialListener` that reports nothing."""


def discover_faithful(
    run: RunSpec,
    task: TaskSpec,
    target: float,
    store: Store | None,
    make_worker: Callable[[], Worker | ShardedWorker],
    progress: Progress | None = None,
    listener: TrialListener | None = None,
    written: Callable[[str], str] = str,
    check: Callable[[RunRecord], None] = lambda record: None,
    report: Callable[[str], None] = lambda message: None,
) -> FaithfulRun:
    """Return the smallest circuit found that reaches the faithfulness `target`.

    Every search is an ordinary run in the store, so that a second call goes on from there.
    docs/evaluation.md states what is guaranteed.

    Args:
        run: the run, with `starting_size`.
        target: as `check_target` admits it.
        store: where runs are looked up and stored; None stores nothing.
        check, report: as in `discover_into`.

    Raises:
        InvalidInput: no circuit tried reaches the target, or the metric cannot tell the model from
            the empty circuit.
        AcdcError: as `discover_into`.
    """
    if isinstance(run.method, AcdcMethod) and run.method.consensus:
        raise InvalidInput(
            f"cannot go with {written('consensus')}, whose circuit no threshold continues",
            where="discover",
            field=written("faithful"),
            fix="find the threshold first, and search again with the consensus at it",
        )
    shown = listener or SilentTrials()
    runs = _Runs(run, task, target, store, make_worker, progress, shown, check, report)
    method = circuit_method(run.method)
    if isinstance(method, SearchMethod):
        _try_thresholds(runs, method)
    elif method.scores_fit_every_size:
        _try_cuts(runs, method)
    else:
        _try_sizes(runs, method)
    for trial in sorted(runs.trials, key=lambda trial: (trial.edges, -trial.faithfulness)):
        if _reaches(trial.faithfulness, target):
            record, cached = runs.of_trial(trial)
            # A cut is measured among others, its run alone: they may differ by a rounding.
            if _reaches(_faithfulness(record), target):
                return FaithfulRun(record, target, cached, tuple(runs.trials))
    best = max(runs.trials, key=lambda trial: trial.faithfulness)
    raise InvalidInput(
        f"no circuit of {method.name} reaches a faithfulness of {target:g} in {method.metric}: of "
        f"{len(runs.trials)} tried the best one, {_size_text(best)}, has {best.faithfulness:.6g}",
        where="discover",
        field=written("faithful"),
        fix="lower the target, or choose another method or metric",
    )


class _Runs:
    """The runs and measurements of one call, and what they share."""

    def __init__(
        self,
        run: RunSpec,
        task: TaskSpec,
        target: float,
        store: Store | None,
        make_worker: Callable[[], Worker | ShardedWorker],
        progress: Progress | None,
        listener: TrialListener,
        check: Callable[[RunRecord], None],
        report: Callable[[str], None],
    ) -> None:
        self.run, self.task, self.target = run, task, target
        self.make_worker = make_worker
        self.listener = listener
        self.trials: list[Trial] = []
        self._store, self._progress, self._check = store, progress, check
        self._report = report
        self._records: dict[str, tuple[RunRecord, bool]] = {}
        self._shared: SharedWork | None = None

    def at(self, **size: Any) -> tuple[RunRecord, bool]:
        """Return the record of the run of another size, and whether the store had it."""
        method = self.run.method.model_copy(update=size)
        run = self.run.model_copy(update={"method": method})
        run_id = run.run_id()
        if run_id not in self._records:
            self._records[run_id] = self._execute(run)
        return self._records[run_id]

    def of_trial(self, trial: Trial) -> tuple[RunRecord, bool]:
        """Return the record of a trial, and whether the store had it."""
        if trial.run_id is not None:
            return self._records[trial.run_id]
        return self.at(share=None, edges=trial.edges)

    def reaches(self, record: RunRecord, threshold: float | None) -> bool:
        """Add the circuit of a run to the trials; return whether it reaches the target."""
        assert record.circuit is not None
        trial = Trial(threshold, len(record.circuit), _faithfulness(record), record.spec.run_id())
        return self.add(trial)

    def add(self, trial: Trial) -> bool:
        """Add a trial; return whether it reaches the target."""
        self.trials.append(trial)
        self.listener.tried(trial)
        return _reaches(trial.faithfulness, self.target)

    def share_scores(self, record: RunRecord) -> None:
        """Let later runs take the scores of `record`, if they would compute the same ones."""
        assert record.circuit is not None
        if record.environment == self.make_worker().environment_of(self.run):
            self._work().scores = record.circuit.scores

    def _work(self) -> SharedWork:
        if self._shared is None:
            from acdc_pipeline.execution.methods import SharedWork

            self._shared = SharedWork()
        return self._shared

    def _execute(self, run: RunSpec) -> tuple[RunRecord, bool]:
        if self._store is None:
            worker, shared = self.make_worker(), self._work()
            record = execute_alone(
                worker, run, self.task, self._progress, shared=shared, report=self._report
            )
            return record, False
        # What answers from the store imports no torch.
        shared = None if self._store.has(run.run_id()) else self._work()
        return discover_into(
            self._store,
            run,
            self.task,
            self.make_worker,
            self._progress,
            shared,
            self._check,
            self._report,
        )


def _try_thresholds(runs: _Runs, method: SearchMethod) -> None:
    """Bisect the thresholds of the grid, beginning with the default one."""
    known: list[tuple[ThresholdRange, bool]] = []

    def reaches(index: int) -> bool:
        threshold = grid_threshold(index)
        for same, reached in known:
            if threshold in same:  # another name of a circuit that was tried
                return reached
        runs.listener.trying(f"threshold {threshold:g}")
        record, _ = runs.at(threshold=threshold)
        reached = runs.reaches(record, threshold)
        known.append((ThresholdRange.of(record.decisions, method.difference), reached))
        return reached

    start = grid_index(method.threshold)
    reaches(start)
    record, _ = runs.at(threshold=grid_threshold(start))
    assert record.circuit is not None
    span = abs(_model_value(record) - record.metrics[f"ablated_{method.metric}"])
    # Of n removals that cost less than τ each, all cost less than n τ: this one is small enough.
    enough = (1 - runs.target) * span / record.circuit.topology.n_edges
    lowest = grid_index(max(enough, _LEAST * span))
    bisect_sizes(reaches, start, lowest, grid_index(_MOST * span) + 1)


def _try_cuts(runs: _Runs, method: ScoredMethod) -> None:
    """Score every edge once, and measure circuits that are cut from the scores."""
    from acdc_pipeline.evaluation import Scale
    from acdc_pipeline.graph.cut import score_array

    runs.listener.trying("scores")
    record, _ = runs.at()
    circuit = record.circuit
    assert circuit is not None
    _faithfulness(record)
    runs.share_scores(record)
    worker = runs.make_worker()
    scale = Scale(method.metric, _model_value(record), record.metrics[f"ablated_{method.metric}"])
    scores = score_array(circuit.topology, circuit.scores)
    known = {0: False}

    def reaching(sizes: list[int]) -> list[bool]:
        masks = method.selection.masks(circuit.topology, scores, sizes)
        edges = [int(mask.sum()) for mask in masks]
        new = {n: mask for n, mask in zip(edges, masks, strict=True) if n not in known}
        if new:
            runs.listener.trying(f"cuts of {min(new)} to {max(new)} edges")
            values = worker.measure_cuts(runs.run, runs.task, method.metric, [*new.values()])
            for n, value in zip(new, values, strict=True):
                known[n] = runs.add(Trial(None, n, scale.faithfulness(value), None))
        return [known[n] for n in edges]

    smallest_size(reaching, circuit.topology.n_edges)


def _try_sizes(runs: _Runs, method: ScoredMethod) -> None:
    """Bisect the sizes of the grid, each with scores of its own, beginning with the default."""
    record, _ = runs.at()
    assert record.circuit is not None
    n_edges = record.circuit.topology.n_edges
    # Sparser circuits have higher indices, as with thresholds.
    sizes = size_grid(n_edges)[::-1]

    def reaches(index: int) -> bool:
        runs.listener.trying(f"{sizes[index]} edges")
        return runs.reaches(runs.at(share=None, edges=sizes[index])[0], None)

    start = next(i for i, size in enumerate(sizes) if size <= method.size(n_edges))
    bisect_sizes(reaches, start, 0, len(sizes) - 1, step=2)


def _reaches(faithfulness: float, target: float) -> bool:
    return faithfulness >= target - ROUNDING


def _model_value(record: RunRecord) -> float:
    metric = circuit_method(record.spec.method).metric
    # The KL of the model to itself is not stored.
    return 0.0 if metric == "kl" else record.metrics[f"model_{metric}"]


def _faithfulness(record: RunRecord) -> float:
    """Return the faithfulness of a run in the metric of its search."""
    metric = circuit_method(record.spec.method).metric
    found = faithfulness_of(record.metrics, metric)
    if found is None:
        raise InvalidInput(
            f"removing every edge leaves {metric} as it is: no circuit is more faithful than "
            "another",
            where="discover",
            field="metric",
            fix="choose another metric, or prompts whose sides differ in the answer",
        )
    return found


def _size_text(trial: Trial) -> str:
    edges = f"{trial.edges} edge" + ("" if trial.edges == 1 else "s")
    return edges if trial.threshold is None else f"{edges} at threshold {trial.threshold:g}"
