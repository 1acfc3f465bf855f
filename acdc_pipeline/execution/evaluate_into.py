"""An evaluation of a stored run: from the store if it is there, else measured and kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from acdc_pipeline.errors import DamagedRun, StoreError
from acdc_pipeline.execution.curves import circuits_of_family
from acdc_pipeline.execution.effort import Effort
from acdc_pipeline.execution.environment import environment
from acdc_pipeline.execution.evaluate import evaluate
from acdc_pipeline.execution.evaluation import Evaluation
from acdc_pipeline.execution.evaluation_figures import evaluation_figures, evaluation_of
from acdc_pipeline.execution.progress import PartProgress
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs import RunSpec, TaskSpec, sha256_of
from acdc_pipeline.store import Store, StoredEvaluation
from acdc_pipeline.store.evaluation import evaluation_id


@dataclass(frozen=True)
class Answer:
    """An evaluation, and what the store has to do with it.

    Args:
        evaluation: what was measured.
        cached: whether it was in the store already.
        unkept: why it could not be kept, in a store that may only be read, say; None where it was.
    """

    evaluation: Evaluation
    cached: bool
    unkept: StoreError | None


def evaluate_into(
    store: Store,
    worker: Worker,
    run: RunSpec,
    task: TaskSpec,
    circuit: Circuit,
    effort: Effort,
    progress: PartProgress | None = None,
) -> Answer:
    """The evaluation of the circuit of `run`: from the store, or measured and kept there.

    The same run, effort and seed is the same evaluation, unless its curve is made of runs at other
    thresholds and there are others by now. A damaged evaluation counts as absent and is replaced;
    `Store.evaluations` names it. What was measured is given back even if it cannot be kept.

    Raises what `evaluate` raises, and StoreError where the store cannot be read.
    """
    family = _family(store, run, circuit)
    settings = {**effort.settings(), "circuit": _digest(circuit), "family": _family_digest(family)}
    run_id = run.run_id()
    kept = _kept(store, run_id, evaluation_id(run_id, settings))
    if kept is not None:
        return Answer(evaluation_of(kept.figures, circuit), cached=True, unkept=None)
    started = time.perf_counter()
    found = evaluate(worker, run, task, circuit, family, effort, progress)
    measured = StoredEvaluation(
        run_id=run_id,
        settings=settings,
        figures=evaluation_figures(found),
        wall_seconds=time.perf_counter() - started,
        environment=environment(worker.device, run.dtype),
        measured_at=time.time(),
    )
    try:
        store.add_evaluation(measured)
    except StoreError as error:
        return Answer(found, cached=False, unkept=error)
    return Answer(found, cached=False, unkept=None)


def _kept(store: Store, run_id: str, name: str) -> StoredEvaluation | None:
    try:
        return store.evaluation(run_id, name)
    except DamagedRun:
        return None  # as of a damaged run: made again, and replaced


def _family(store: Store, run: RunSpec, circuit: Circuit) -> list[Circuit]:
    """What a curve is made of: scores of every edge alone, or the runs at other thresholds."""
    if circuit.scores.keys() == circuit.topology.edge_set:
        return [circuit]
    return circuits_of_family(store, run)


def _digest(circuit: Circuit) -> str:
    return sha256_of([str(edge) for edge in circuit.sorted_edges])[:16]


def _family_digest(family: Sequence[Circuit]) -> str:
    return sha256_of(sorted(map(_digest, family)))[:16]
