"""An evaluation as the figures that a store keeps, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from acdc_pipeline.evaluation import Knockout, Need, Point, Recovery, Scale
from acdc_pipeline.graph import Circuit
from acdc_pipeline.workflows.evaluation import Evaluation, Measured
from acdc_pipeline.workflows.stability import Stability, Transfer


def evaluation_figures(found: Evaluation) -> dict[str, Any]:
    """The figures by name, as JSON data; None stands for what was not measured."""
    return {
        "edges_kept": len(found.circuit),
        "edges_total": found.circuit.topology.n_edges,
        "metric": found.scale.metric,
        "task_metric": found.task_metric,
        "model": found.scale.whole,
        "ablated": found.scale.nothing,
        "value": found.value,
        "faithfulness": found.faithfulness,
        "kl": found.kl,
        "metrics": {name: asdict(measured) for name, measured in found.metrics.items()},
        "curve": None if found.curve is None else [_point(point) for point in found.curve],
        "cpr": found.cpr,
        "cmd": found.cmd,
        "null": _null(found),
        "completeness": _all(found.knockouts),
        "worst_knockouts": _all(found.worst),
        "minimality": _all(found.needs),
        "auc": found.auc,
        "causal_scrubbing": None if found.scrubbing is None else asdict(found.scrubbing),
        "not_scrubbed": found.unscrubbed,
        "fresh_prompts": found.fresh,
        "stability": None if found.stability is None else asdict(found.stability),
        "transfer": None if found.transfer is None else asdict(found.transfer),
    }


def evaluation_of(figures: Mapping[str, Any], circuit: Circuit) -> Evaluation:
    """The evaluation of `circuit` that `evaluation_figures` turned into `figures`."""
    knockouts, worst, needs = (
        figures[name] for name in ("completeness", "worst_knockouts", "minimality")
    )
    curve, null, scrubbing = (figures[name] for name in ("curve", "null", "causal_scrubbing"))
    stability, transfer = figures["stability"], figures["transfer"]
    return Evaluation(
        circuit=circuit,
        scale=Scale(figures["metric"], figures["model"], figures["ablated"]),
        task_metric=figures["task_metric"],
        metrics={name: Measured(**values) for name, values in figures["metrics"].items()},
        curve=None if curve is None else tuple(_point_of(point, figures) for point in curve),
        cpr=figures["cpr"],
        cmd=figures["cmd"],
        nulls=None
        if null is None
        else {name: tuple(one["faithfulness"]) for name, one in null["metrics"].items()},
        knockouts=None if knockouts is None else tuple(map(_knockout, knockouts)),
        worst=None if worst is None else tuple(map(_knockout, worst)),
        needs=None
        if needs is None
        else tuple(Need(one["part"], one["score"], tuple(one["without"])) for one in needs),
        auc=figures["auc"],
        scrubbing=None if scrubbing is None else Recovery(**scrubbing),
        unscrubbed=figures["not_scrubbed"],
        fresh=figures["fresh_prompts"],
        stability=None
        if stability is None
        else Stability(stability["jaccard"], tuple(stability["sizes"])),
        transfer=None if transfer is None else Transfer(**transfer),
    )


def _point(point: Point) -> dict[str, Any]:
    """A point of a curve; nothing but its fraction where no circuit is that small.

    The areas take the empty circuit there, so that a search is not rewarded for sizes that it did
    not find; that is no measurement of a circuit.
    """
    plain = asdict(point)
    return plain if point.edges else {**dict.fromkeys(plain), "fraction": point.fraction}


def _point_of(plain: Mapping[str, Any], figures: Mapping[str, Any]) -> Point:
    if plain["edges"] is not None:
        return Point(**plain)
    nothing, kl = figures["ablated"], figures["metrics"]["kl"]["ablated"]
    return Point(plain["fraction"], 0, nothing, 0.0, kl)


def _null(found: Evaluation) -> dict[str, Any] | None:
    if found.nulls is None:
        return None
    return {
        "drawn": len(found.null),
        "faithfulness": list(found.null),
        "percentile": found.percentile,
        "metrics": {
            name: {"faithfulness": list(values), "percentile": found.percentile_in(name)}
            for name, values in found.nulls.items()
        },
    }


def _all(found: tuple[Knockout, ...] | tuple[Need, ...] | None) -> list[dict[str, Any]] | None:
    return None if found is None else [asdict(one) for one in found]


def _knockout(plain: Mapping[str, Any]) -> Knockout:
    return Knockout(
        tuple(plain["parts"]), plain["circuit"], plain["model"], plain["incompleteness"]
    )
