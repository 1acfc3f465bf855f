"""An evaluation of a stored run: from the store if it is there, else measured and kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from acdc_pipeline.errors import DamagedRun, StoreError
from acdc_pipeline.execution.environment import environment
from acdc_pipeline.execution.progress import PartProgress
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs import RunSpec, TaskSpec, sha256_of
from acdc_pipeline.store import Store, StoredEvaluation
from acdc_pipeline.store.evaluation import evaluation_id
from acdc_pipeline.workflows.curves import circuits_of_family
from acdc_pipeline.workflows.effort import Effort, Part, amount_of
from acdc_pipeline.workflows.evaluate import evaluate
from acdc_pipeline.workflows.evaluation import FIELDS, Evaluation
from acdc_pipeline.workflows.evaluation_figures import evaluation_figures, evaluation_of

KEPT_EVERY = 10.0
"""Seconds between two moments at which parts that are done are put into the store."""


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
    thresholds and there are others by now. A part that another evaluation of the run has measured
    with the same seed and amount is taken from there. While it is measured, what is done is kept
    every `KEPT_EVERY` seconds, so that a call that is killed loses no more. A damaged evaluation
    counts as absent and is replaced; `Store.evaluations` names it. What was measured is given back
    even if it cannot be kept.

    Raises what `evaluate` raises, and StoreError where the store cannot be read.
    """
    family = _family(store, run, circuit)
    settings = {**effort.settings(), "circuit": _digest(circuit), "family": _family_digest(family)}
    run_id = run.run_id()
    kept = _kept(store, run_id, evaluation_id(run_id, settings))
    if kept is not None:
        return Answer(evaluation_of(kept.figures, circuit), cached=True, unkept=None)
    started = kept_at = time.perf_counter()

    def store_it(found: Evaluation, measured: Mapping[str, Any]) -> StoreError | None:
        evaluation = StoredEvaluation(
            run_id=run_id,
            settings={**settings, **measured},
            figures=evaluation_figures(found),
            wall_seconds=time.perf_counter() - started,
            environment=environment(worker.device, run.dtype),
            measured_at=time.time(),
        )
        try:
            store.add_evaluation(evaluation)
        except StoreError as error:
            return error
        return None

    def keep(found: Evaluation, done: Sequence[Part]) -> None:
        nonlocal kept_at
        if time.perf_counter() - kept_at >= KEPT_EVERY:
            store_it(found, replace(effort, parts=frozenset(done)).settings())
            kept_at = time.perf_counter()

    known = _known_parts(store, run_id, settings, circuit)
    found = evaluate(worker, run, task, circuit, family, effort, progress, known, keep)
    return Answer(found, cached=False, unkept=store_it(found, {}))


def _known_parts(
    store: Store, run_id: str, settings: Mapping[str, Any], circuit: Circuit
) -> dict[Part, dict[str, Any]]:
    """The parts of `settings` that other evaluations of the run have measured in the same way."""
    out: dict[Part, dict[str, Any]] = {}
    for other in store.evaluations([run_id]).by_run.get(run_id, ()):
        theirs = other.settings
        if any(theirs[name] != settings[name] for name in ("circuit", "family", "seed")):
            continue
        found = evaluation_of(other.figures, circuit)
        for part in settings["parts"]:
            if part in theirs["parts"] and amount_of(part, theirs) == amount_of(part, settings):
                out[part] = {name: getattr(found, name) for name in FIELDS[part]}
    return out


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
