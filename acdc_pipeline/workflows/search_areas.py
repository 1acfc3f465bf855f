"""The searches of a store and the areas CMD and CPR of each, without what measures them.

The libraries that measure take seconds to import.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from acdc_pipeline.errors import AcdcError
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs import RunSpec, canonical_json
from acdc_pipeline.specs.names import MetricName
from acdc_pipeline.specs.run_task import task_of_run
from acdc_pipeline.store import RunSummary, Store, StoredEvaluation
from acdc_pipeline.store.figures import is_only_of_its_size
from acdc_pipeline.workflows.kept_evaluation import family_digest, search_key

NO_CURVE = "every circuit found keeps no edges, or all: there is no curve"
AREAS = ("cmd", "cpr", "cmd_interval", "cpr_interval")
"""The figures of a curve, here and in an evaluation; earlier evaluations have no intervals."""

NOT_MEASURED = "its curve was not measured"


@dataclass(frozen=True)
class SearchAreas:
    """The areas of one search.

    Args:
        runs: its runs, the one with the most edges last.
        metric: metric of faithfulness; None if it is that of a task that was not found.
        cmd: area between the faithfulness curve and 1; lower is better. None if there is no curve.
        cpr: area under the curve; higher is better.
        cmd_interval, cpr_interval: their 95 % bootstrap intervals over prompts; None if not known.
        pairs: the (node, node) pairs of its largest circuit; None if that was not read.
        state: `missing` if nobody measured the curve, `none` if there is none, `failed` if it
            cannot be measured.
        reason: why there are no areas.
    """

    runs: tuple[RunSummary, ...]
    metric: MetricName | None
    cmd: float | None = None
    cpr: float | None = None
    cmd_interval: tuple[float, float] | None = None
    cpr_interval: tuple[float, float] | None = None
    pairs: int | None = None
    state: Literal["known", "missing", "none", "failed"] = "known"
    reason: str | None = None

    @property
    def run(self) -> RunSpec:
        """The run with the most edges."""
        return self.runs[-1].spec

    def failed(self, error: AcdcError) -> SearchAreas:
        """Return the same search with the reason why it cannot be measured."""
        return replace(self, state="failed", reason=str(error.problem))


def by_distance(searches: Iterable[SearchAreas]) -> list[SearchAreas]:
    """Return searches by model and task, and of each those of the smallest CMD first."""
    return sorted(
        searches,
        key=lambda s: (s.run.model, s.run.task, s.cmd is None, s.cmd or 0.0, *_order(s.run)),
    )


def places(searches: Sequence[SearchAreas]) -> list[int | None]:
    """Return the place of each search by CMD among those on the same prompts; None without CMD.

    It is one more than the number of searches whose whole interval is below its own: searches share
    a place where their intervals overlap. One without an interval counts with its CMD alone.
    """
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    keys = [_prompts_key(search) for search in searches]
    for key, search in zip(keys, searches, strict=True):
        if search.cmd is not None:
            groups[key].append(search.cmd_interval or (search.cmd, search.cmd))
    out: list[int | None] = []
    for key, search in zip(keys, searches, strict=True):
        if search.cmd is None:
            out.append(None)
            continue
        low, _ = search.cmd_interval or (search.cmd, search.cmd)
        out.append(1 + sum(high < low for _, high in groups[key]))
    return out


def _prompts_key(search: SearchAreas) -> str:
    """Equal for searches whose areas are of one model on the same prompts, in one metric."""
    run = search.run
    plain = {name: value for name, value in run.plain().items() if name != "method"}
    return canonical_json([plain, run.method.plain().get("ablation"), search.metric])


def stored_searches(
    store: Store,
    summaries: Iterable[RunSummary],
    evaluations: Mapping[str, Sequence[StoredEvaluation]],
    metric: MetricName | None,
) -> list[SearchAreas]:
    """Return every search among `summaries`, grouped by model, with its areas if they are stored.

    Areas are those of the newest evaluation, of any of its runs, whose curve is in the metric and
    is made of the circuits that the search has in the store.

    Args:
        evaluations: by run id.
        metric: metric of faithfulness; None for each task's discovery metric, which is the same
            for every method, whatever metric its search used.
    """
    searches: dict[str, list[RunSummary]] = defaultdict(list)
    for summary in summaries:
        if summary.edges_kept is not None:
            searches[search_key(summary.spec)].append(summary)
    found = []
    for runs in sorted(searches.values(), key=lambda runs: _order(runs[0].spec)):
        runs.sort(key=lambda summary: summary.edges_kept or 0)
        found.append(_stored_areas(store, tuple(runs), evaluations, metric))
    return found


def _order(run: RunSpec) -> tuple[str, str, str, str]:
    return run.model, run.task, run.method.name, run.positions


def _stored_areas(
    store: Store,
    runs: tuple[RunSummary, ...],
    evaluations: Mapping[str, Sequence[StoredEvaluation]],
    metric: MetricName | None,
) -> SearchAreas:
    search = SearchAreas(runs, metric)
    missing = replace(search, state="missing", reason=NOT_MEASURED)
    try:
        by = metric or task_of_run(search.run).metrics.discovery
        search, missing = replace(search, metric=by), replace(missing, metric=by)
        curves = [
            evaluation
            for summary in runs
            for evaluation in evaluations.get(summary.run_id, ())
            if evaluation.figures.get("metric") == by and evaluation.figures.get("cpr") is not None
        ]
        trivial = all(is_only_of_its_size(s.edges_kept, s.edges_total) for s in runs)
        if not curves and not trivial:
            return missing
        circuits = circuits_of_runs(store, runs)
        search = replace(search, pairs=circuits[-1].n_pairs)
        missing = replace(missing, pairs=search.pairs)
        scored = circuits[-1].is_scored
        if trivial and not scored:
            return replace(search, state="none", reason=NO_CURVE)
        digest = family_digest(circuits[-1:] if scored else circuits)
    except AcdcError as error:
        # A missing task must not keep the others from being compared; the table names the reason.
        return search.failed(error)
    same = [evaluation for evaluation in curves if evaluation.settings.get("family") == digest]
    if not same:
        return missing
    newest = max(same, key=lambda evaluation: evaluation.measured_at).figures
    found = {name: newest.get(name) for name in AREAS}
    areas = {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}
    return replace(search, **areas)


def circuits_of_runs(store: Store, runs: Iterable[RunSummary]) -> list[Circuit]:
    """Return the circuits of runs, in their order. Raises what `Store.get` raises."""
    return [found for s in runs if (found := store.get(s.run_id).circuit) is not None]
