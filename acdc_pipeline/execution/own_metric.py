"""Runs whose metric is a function of one's own: what they need, and what they record about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs import RunSpec
from acdc_pipeline.specs.names import METRICS, MetricKey
from acdc_pipeline.specs.own_metric import Metric, missing_function
from acdc_pipeline.store import RunRecord

TRAITS = "own_metric"
"""The entry of a record's details that describes the metric of one's own."""


def named_metric(run: RunSpec) -> MetricKey | None:
    """The metric of one's own that `run` names, or None."""
    metric = getattr(run.method, "metric", None)
    return None if metric is None or metric in METRICS else metric


def require_function(run: RunSpec, given: Metric | None) -> None:
    """Raise InvalidInput unless `given` is the metric of one's own that `run` names, if any."""
    named = named_metric(run)
    if named is not None and (given is None or given.key != named):
        raise missing_function(named)


def require_same_metric(record: RunRecord, given: Metric | None) -> None:
    """Raise InvalidInput if a stored run used the metric `given` in another direction or form."""
    stored = record.details.get(TRAITS)
    if given is None or stored is None or stored == given.traits():
        return
    name = next(name for name, value in given.traits().items() if stored.get(name) != value)
    raise InvalidInput(
        f"{given.traits()[name]!r} is not what it was in run {record.spec.run_id()[:8]}, "
        f"{stored.get(name)!r}",
        where=f"metric '{given.key}'",
        field=name,
        fix="give the changed metric another version",
    )


def own_metric_details(
    run: RunSpec, given: Metric | None, metrics: Mapping[str, float]
) -> tuple[dict[str, Any], list[str]]:
    """What a record says about the metric of one's own, and warnings; nothing without one.

    Args:
        metrics: of the run, with `model_` for the whole and `ablated_` for the ablated model.
    """
    named = named_metric(run)
    if named is None or given is None:
        return {}, []
    warnings = []
    if given.version is None:
        warnings.append(
            f"metric '{given.name}' has no version: this run cannot be compared with those of "
            "other sessions"
        )
    whole, ablated = metrics[f"model_{named}"], metrics[f"ablated_{named}"]
    if whole != ablated and (whole > ablated) == given.lower_is_better:
        better = "lower" if given.lower_is_better else "higher"
        warnings.append(
            f"'{given.name}' is {whole:.4g} for the whole model and {ablated:.4g} with every edge "
            f"removed, although the metric declares that {better} is better: check lower_is_better"
        )
    return {TRAITS: given.traits()}, warnings
