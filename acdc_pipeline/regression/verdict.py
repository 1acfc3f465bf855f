"""The verdict on one cell: as expected, drifted, failed, or without a usable baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from acdc_pipeline.errors import AcdcError, BaselineError, PromptError
from acdc_pipeline.graph import Topology
from acdc_pipeline.models.fingerprint import Fingerprint
from acdc_pipeline.regression.baseline import UPDATE, Baseline, graph_shape
from acdc_pipeline.regression.cell import CellSpec
from acdc_pipeline.regression.changes import changes_between, list_differing
from acdc_pipeline.regression.finding import (
    EDGES,
    HEADS,
    NECESSARY,
    RANKING,
    SHARES,
    SIZE,
    Finding,
    distances,
    finding_of,
    lost_necessary,
    moved_shares,
)
from acdc_pipeline.specs import RunSpec
from acdc_pipeline.store import RunRecord
from acdc_pipeline.text import list_first

MOST_NAMED = 4
"""Edges of a statistic of a consensus that are named in a line."""

Status = Literal["ok", "drift", "error", "missing", "incompatible"]


@dataclass(frozen=True)
class Deviation:
    """One statistic of a cell.

    Args:
        statistic: `edges`, `heads`, `size`, `ranking`, or a metric.
        distance: from the baseline, see `finding.distances`.
        limit: the largest distance that is not drift.
        was: the baseline's value; None where only a distance is known.
        edges: those that a statistic of a consensus counts.
    """

    statistic: str
    distance: float
    limit: float
    was: float | None = None
    now: float | None = None
    edges: tuple[str, ...] = ()

    @property
    def drifted(self) -> bool:
        """Whether the distance exceeds the limit."""
        return self.distance > self.limit

    def __str__(self) -> str:
        if self.was is not None and self.now is not None:
            values = f"{self.was:.4g} -> {self.now:.4g}"
            return f"{self.statistic} {values} (may differ by {self.limit:.3g})"
        if self.statistic in (NECESSARY, SHARES):
            what = "lost necessary edges" if self.statistic == NECESSARY else "shares that moved"
            return f"{what}: {list_first(self.edges, MOST_NAMED)}"
        words = {
            EDGES: "Jaccard of edges",
            HEADS: "Jaccard of heads",
            RANKING: "rank correlation of scores",
        }[self.statistic]
        return f"{words} {1 - self.distance:.3f} (at least {1 - self.limit:.3f})"


@dataclass(frozen=True)
class Verdict:
    """The outcome of one cell.

    Args:
        status: `missing` without a baseline, `incompatible` with one that cannot be compared.
        causes: reasons why the status is not ok, most important first.
        deviations: every statistic that was compared.
        edges, heads: names of the gained ones, and of the lost ones.
    """

    cell: CellSpec
    status: Status
    causes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    edges: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    heads: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    run_id: str | None = None
    seconds: float = 0.0
    error: AcdcError | None = None

    @property
    def compared(self) -> bool:
        """Whether a fresh run was compared with a baseline."""
        return self.status in ("ok", "drift")


def judge(
    baseline: Baseline, record: RunRecord, model: Fingerprint, seconds: float = 0.0
) -> Verdict:
    """Return the verdict on a new run.

    It is drift if a statistic is further from the baseline than its limit, if the configuration or
    the tokenizer of the model changed, or if heads exchanged places, so that their names stand for
    others. Changed weights are named, but are no drift by themselves.
    """
    problem = _find_incompatibility(baseline, record)
    changes = changes_between(baseline.model, model)
    if problem is not None:
        ran = record.spec.run_id()
        return judge_without_baseline(
            baseline.cell, problem, seconds=seconds, run_id=ran, more=changes.all
        )
    was, now = baseline.finding(), finding_of(record)
    deviations = _list_deviations(was, now, baseline.tolerance.limits)
    drifted = sorted((d for d in deviations if d.drifted), key=_importance)
    causes = (*changes.definition, *(str(deviation) for deviation in drifted))
    elsewhere = list_differing(baseline.environment, record.environment)
    measured = (f"measured elsewhere: {', '.join(elsewhere)}",) if elsewhere else ()
    notes = () if causes else changes.weights
    return Verdict(
        cell=baseline.cell,
        status="drift" if causes else "ok",
        causes=(*causes, *changes.weights) if causes else (),
        notes=(*notes, *_note_changed_circuit(baseline, record, was, now), *measured),
        deviations=deviations,
        edges=_gained_and_lost(now.circuit.edges, was.circuit.edges),
        heads=_gained_and_lost(now.heads, was.heads),
        run_id=record.spec.run_id(),
        seconds=seconds,
    )


def judge_failure(
    cell: CellSpec,
    baseline: Baseline | None,
    model: Fingerprint | None,
    error: AcdcError,
    seconds: float = 0.0,
) -> Verdict:
    """Return the verdict on a run that failed: an error, not drift.

    The exception: where the tokenizer or the configuration changed and the prompts no longer fit
    it, that change is drift.
    """
    if baseline is not None and model is not None and isinstance(error, PromptError):
        changes = changes_between(baseline.model, model)
        if changes.definition and model.tokenizer is not None:
            reason = f"the prompts do not fit any more: {error.headline}"
            return Verdict(
                cell, "drift", (*changes.definition, reason), error=error, seconds=seconds
            )
    return Verdict(cell, "error", (error.headline,), error=error, seconds=seconds)


def judge_without_baseline(
    cell: CellSpec,
    error: BaselineError | None = None,
    *,
    seconds: float = 0.0,
    run_id: str | None = None,
    more: tuple[str, ...] = (),
) -> Verdict:
    """Return the verdict on a cell without a baseline, or with an unusable one (`error`)."""
    status: Status = "missing" if error is None else "incompatible"
    if error is None:
        error = BaselineError("there is no baseline", where=f"{cell.stem}.json", fix=UPDATE)
    causes = (error.headline, *more)
    return Verdict(cell, status, causes, error=error, seconds=seconds, run_id=run_id)


def _find_incompatibility(baseline: Baseline, record: RunRecord) -> BaselineError | None:
    """Return the reason why the two cannot be compared; None if they can."""
    spec: RunSpec = record.spec
    assert record.circuit is not None
    problem = None
    if spec.task_hash != baseline.task_hash:
        problem = f"the definition of task {spec.task} is not what it was, so these are new prompts"
    elif baseline.method_version != spec.method.VERSION:
        problem = (
            f"{spec.method.name} is at version {spec.method.VERSION}, "
            f"the baseline was made by version {baseline.method_version}"
        )
    elif graph_shape(record.circuit.topology) != baseline.graph:
        problem = f"{_changed_graph(baseline.graph.topology(), record.circuit.topology)}, so edges "
        problem += "cannot be compared"
    if problem is None:
        return None
    return BaselineError(problem, where=f"{baseline.cell.stem}.json", fix=UPDATE)


def _changed_graph(was: Topology, now: Topology) -> str:
    """Say which spans differ, in a graph of the same components."""
    if was.collapsed != now.collapsed:
        return "the model has another graph"
    parts = {
        "without": [span for span in was.spans if span not in now.spans],
        "with": [span for span in now.spans if span not in was.spans],
    }
    named = [f"{word} {', '.join(spans)}" for word, spans in parts.items() if spans]
    return f"the prompts have other spans ({'; '.join(named) or 'in another order'})"


def _list_deviations(
    was: Finding, now: Finding, limits: Mapping[str, float]
) -> tuple[Deviation, ...]:
    found = []
    named: dict[str, tuple[str, ...]] = {}
    if was.consensus is not None and now.consensus is not None:
        named[NECESSARY] = tuple(map(str, lost_necessary(was, now)))
        named[SHARES] = tuple(
            f"{edge} in {was.consensus.kept.get(edge, 0)} of {was.consensus.searches} circuits -> "
            f"{now.consensus.kept.get(edge, 0)}"
            for edge in moved_shares(was, now)
        )
    values = [dict(finding.metrics) | {SIZE: float(len(finding.circuit))} for finding in (was, now)]
    for name, distance in distances(was, now).items():
        if name in limits:
            before, after = (of.get(name) for of in values)
            edges = named.get(name, ())
            found.append(Deviation(name, distance, limits[name], before, after, edges))
    return tuple(found)


def _importance(deviation: Deviation) -> tuple[int, str]:
    """Return a sort key: statistics of the circuit, metrics of the model, those of the circuit."""
    name = deviation.statistic
    order = (NECESSARY, SHARES, EDGES, HEADS, SIZE, RANKING)
    if name in order:
        return order.index(name), name
    return len(order) + (not name.startswith("model_")), name


def _gained_and_lost(now: frozenset, was: frozenset) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(sorted(map(str, now - was))), tuple(sorted(map(str, was - now)))


def _note_changed_circuit(
    baseline: Baseline, record: RunRecord, was: Finding, now: Finding
) -> tuple[str, ...]:
    """Return a note if the same run gave another circuit."""
    moved = was.circuit.edges ^ now.circuit.edges
    if record.spec.run_id() != baseline.run_id or not moved:
        return ()
    return (f"the same question gave another circuit ({len(moved)} edges differ)",)
