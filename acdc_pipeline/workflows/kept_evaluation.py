"""Find the evaluation of a stored run in the store, without the libraries that measure one.

Those take seconds to import.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from acdc_pipeline.errors import DamagedRun
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs import RunSpec, sha256_of
from acdc_pipeline.specs.base import canonical_json
from acdc_pipeline.specs.names import COMPARED
from acdc_pipeline.store import Store, StoredEvaluation
from acdc_pipeline.store.evaluation import evaluation_id
from acdc_pipeline.store.index import equal
from acdc_pipeline.workflows.evaluation_plan import AMOUNTS, EvaluationPlan

SIZES = ("threshold", "share", "edges")
"""Parameters that only decide the size of a circuit: runs that differ in them are one search."""


_ORDER = (
    *("edges_kept", "edges_total", "pairs_kept", "pairs_total", "fraction", "by", "parts", "part"),
    *("score", "without", "edges", "circuit", "metric", "task_metric", "recovered", "low", "high"),
    *("model", "ablated", "hypothesis", "scrubbed", "prompts", "exchangeable", "value", "drawn"),
    *("incompleteness", "faithfulness", "percentile", "kl", "interval", "faithfulness_interval"),
    *("metrics", "curve", "cmd", "cpr", "cmd_interval", "cpr_interval", "null"),
    *("ablations", *COMPARED, "forwards", "donors", "not_exchanged"),
    *("completeness", "worst_knockouts", "minimality", "auc", "causal_scrubbing", "not_scrubbed"),
    *("fresh_prompts", "stability", "transfer", "jaccard", "sizes", "seen", "unseen"),
    *("per_prompt",),
)
"""Order of the figures of an evaluation, at every depth; the store sorts them by name."""


_IN_EACH = ("edges_kept", "edges_total", "metric", "task_metric", "model", "ablated", "value")
"""Figures of every evaluation; with `metrics`, which have the KL."""

_NAMED_IN_EACH = (
    *("curve", "cmd", "cpr", "null", "completeness", "worst_knockouts", "minimality", "auc"),
    *("causal_scrubbing", "not_scrubbed", "fresh_prompts", "stability", "transfer"),
)
"""Figures that every evaluation names, with None where they were not measured."""

_SETTINGS = ("parts", "null", *AMOUNTS, "seed", "circuit", "family")


def stored_figures(
    store: Store, run: RunSpec, circuit: Circuit, plan: EvaluationPlan
) -> Mapping[str, Any] | None:
    """Return the figures of an evaluation of `run` that the store has, or None.

    Raises what `Store.get` raises.
    """
    settings = evaluation_settings(circuit, circuits_of_curve(store, run, circuit), plan)
    kept = find_figures(store, run.run_id(), settings)
    return None if kept is None else _in_order(kept)


def find_figures(
    store: Store, run_id: str, settings: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """Return the figures of the evaluation with `settings`.

    None if it is absent, damaged, or not whole, see `is_whole`.
    """
    try:
        kept = store.evaluation(run_id, evaluation_id(run_id, settings))
    except DamagedRun:
        return None
    return None if kept is None or not is_whole(kept) else kept.figures


def is_whole(kept: StoredEvaluation) -> bool:
    """Whether an evaluation has the figures and settings that `evaluation_figures` writes.

    The store checks the shape of the figures that are in a file; another program may have written
    fewer of them.
    """
    figures = kept.figures
    return (
        all(figures.get(name) is not None for name in _IN_EACH)
        and "kl" in (figures.get("metrics") or ())
        and all(name in figures for name in _NAMED_IN_EACH)
        and all(name in kept.settings for name in _SETTINGS)
    )


def _in_order(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures in the order in which they are printed; metrics stay sorted by name."""

    def ordered(value: Any, by_name: bool = False) -> Any:
        if isinstance(value, Mapping):
            names = value if by_name else sorted(value, key=_place)
            return {name: ordered(value[name], name == "metrics") for name in names}
        return [ordered(one) for one in value] if isinstance(value, list) else value

    return ordered(figures)


def _place(name: str) -> tuple[int, str]:
    """Where a figure is printed; those of other programs come last."""
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER)), name


def evaluation_settings(
    circuit: Circuit, family: Sequence[Circuit], plan: EvaluationPlan
) -> dict[str, Any]:
    """Return everything that identifies an evaluation of a run, as JSON data.

    Args:
        family: the circuits of its curve, as `circuits_of_curve` returns them.
    """
    digests = {"circuit": _digest(circuit), "family": family_digest(family)}
    return {**plan.settings(), **digests}


def family_digest(family: Iterable[Circuit]) -> str:
    """Return 16 hex digits of a sha256 over the edges of the circuits of a curve."""
    return sha256_of(sorted(map(_digest, family)))[:16]


def circuits_of_curve(store: Store, run: RunSpec, circuit: Circuit) -> list[Circuit]:
    """Return the circuits of the curve of `circuit`, which was found by `run`.

    It is this one alone if every edge has a score, else all of its search.
    """
    return [circuit] if circuit.is_scored else circuits_of_search(store, run)


def circuits_of_search(store: Store, run: RunSpec) -> list[Circuit]:
    """Return the circuits in `store` of the same search as `run`, including its own.

    Raises what `Store.get` raises.
    """
    key = search_key(run)
    same = equal(method=run.method.name, task_hash=run.task_hash, model_revision=run.model_revision)
    alike = store.summaries(where=same)
    names = [s.run_id for s in alike if search_key(s.spec) == key]
    return [found for name in names if (found := store.get(name).circuit) is not None]


def search_key(run: RunSpec) -> str:
    """Equal for runs of one search at several sizes."""
    plain: dict[str, Any] = run.plain()
    method = {name: value for name, value in plain["method"].items() if name not in SIZES}
    return canonical_json({**plain, "method": method, "task": None, "model": None})


def _digest(circuit: Circuit) -> str:
    return sha256_of([str(edge) for edge in circuit.sorted_edges])[:16]
