"""Evaluate a stored run: read the evaluation from the store, or measure and keep it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from acdc_pipeline.errors import StoreError
from acdc_pipeline.evaluation import CurvePoint, Knockout, PartScore, Recovery, Scale
from acdc_pipeline.execution.environment import environment
from acdc_pipeline.execution.progress import PartProgress
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.specs.names import COMPARED, ComparedAblation, MetricKey
from acdc_pipeline.store import Store, StoredEvaluation
from acdc_pipeline.workflows.ablations import Ablated
from acdc_pipeline.workflows.evaluate import evaluate
from acdc_pipeline.workflows.evaluation import Evaluation
from acdc_pipeline.workflows.evaluation_plan import FIELDS, EvaluationPlan, Part, amount_of
from acdc_pipeline.workflows.kept_evaluation import (
    circuits_of_curve,
    evaluation_settings,
    find_figures,
    is_whole,
)
from acdc_pipeline.workflows.measured import Measured, PromptScores
from acdc_pipeline.workflows.stability import Stability, Transfer

KEPT_EVERY = 10.0
"""Seconds between two writes of the finished parts into the store."""


@dataclass(frozen=True)
class Answer:
    """An evaluation and its state in the store.

    Args:
        cached: whether it was in the store already.
        unkept: why it could not be stored, in a read-only store for example; None if it was.
    """

    evaluation: Evaluation
    cached: bool
    unkept: StoreError | None


def evaluate_into(
    store: Store,
    make_worker: Callable[[], Worker],
    run: RunSpec,
    task: TaskSpec,
    circuit: Circuit,
    plan: EvaluationPlan,
    progress: PartProgress | None = None,
) -> Answer:
    """Return the evaluation of the circuit of `run` from the store, or measure and store it.

    An evaluation is identified by the run, the plan and the seed, and by the other runs that its
    curve is made of. A part that another evaluation of the run measured with the same seed and
    amount is reused. Finished parts are written every `KEPT_EVERY` seconds, so that an
    interrupted call loses little. A damaged evaluation counts as absent and is replaced;
    `Store.evaluations` names it. The evaluation is returned even if it cannot be stored.

    Args:
        make_worker: makes the worker, only if something has to be measured.

    Raises what `evaluate` raises, and StoreError if the store cannot be read.
    """
    run_id = run.run_id()
    family = circuits_of_curve(store, run, circuit)
    settings = evaluation_settings(circuit, family, plan)
    if (kept := find_figures(store, run_id, settings)) is not None:
        return Answer(evaluation_of(kept, circuit), cached=True, unkept=None)
    worker = make_worker()
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
            store_it(found, replace(plan, parts=frozenset(done)).settings())
            kept_at = time.perf_counter()

    known = _known_parts(store, run_id, settings, circuit)
    found = evaluate(worker, run, task, circuit, family, plan, progress, known, keep)
    return Answer(found, cached=False, unkept=store_it(found, {}))


def evaluation_figures(found: Evaluation) -> dict[str, Any]:
    """Return an evaluation as JSON data, by name; None means not measured."""
    return {
        "edges_kept": len(found.circuit),
        "edges_total": found.circuit.topology.n_edges,
        "pairs_kept": found.circuit.n_pairs,
        "pairs_total": found.circuit.n_pairs_total,
        "metric": found.scale.metric,
        "task_metric": found.task_metric,
        "model": found.scale.whole,
        "ablated": found.scale.nothing,
        "value": found.value,
        "faithfulness": found.faithfulness,
        "kl": found.kl,
        "faithfulness_interval": found.metrics[found.scale.metric].interval,
        "metrics": plain_metrics(found.metrics),
        "curve": _if_any(found.curve, lambda points: [_point(point) for point in points]),
        "cmd": found.cmd,
        "cpr": found.cpr,
        "cmd_interval": found.cmd_interval,
        "cpr_interval": found.cpr_interval,
        "null": _null(found),
        "ablations": _if_any(found.ablations, _plain_ablations),
        "not_exchanged": found.not_exchanged,
        "completeness": _if_any(found.knockouts, _plain),
        "worst_knockouts": _if_any(found.worst, _plain),
        "minimality": _if_any(found.needs, _plain),
        "auc": found.auc,
        "causal_scrubbing": _if_any(found.scrubbing, asdict),
        "not_scrubbed": found.unscrubbed,
        "fresh_prompts": found.fresh,
        "stability": _if_any(found.stability, asdict),
        "transfer": _if_any(found.transfer, asdict),
        "per_prompt": _per_prompt(found),
    }


def evaluation_of(figures: Mapping[str, Any], circuit: Circuit) -> Evaluation:
    """Rebuild the evaluation of `circuit` from what `evaluation_figures` returned.

    Figures of earlier versions, which have neither intervals nor values of prompts, lack them.
    """
    of_prompts = figures.get("per_prompt") or {"metrics": {}, "curve": None}
    return Evaluation(
        circuit=circuit,
        scale=Scale(figures["metric"], figures["model"], figures["ablated"]),
        task_metric=figures["task_metric"],
        metrics=metrics_of(figures["metrics"], of_prompts["metrics"]),
        curve=_if_any(figures["curve"], lambda points: _curve_of(points, of_prompts, figures)),
        cmd=figures["cmd"],
        cpr=figures["cpr"],
        cmd_interval=_if_any(figures.get("cmd_interval"), tuple),
        cpr_interval=_if_any(figures.get("cpr_interval"), tuple),
        nulls=_if_any(figures["null"], _nulls),
        ablations=_if_any(figures.get("ablations"), _ablations_of),
        not_exchanged=figures.get("not_exchanged"),
        knockouts=_if_any(figures["completeness"], _knockouts),
        worst=_if_any(figures["worst_knockouts"], _knockouts),
        needs=_if_any(figures["minimality"], _needs),
        auc=figures["auc"],
        scrubbing=_if_any(figures["causal_scrubbing"], lambda plain: Recovery(**plain)),
        unscrubbed=figures["not_scrubbed"],
        fresh=figures["fresh_prompts"],
        stability=_if_any(
            figures["stability"], lambda p: Stability(p["jaccard"], tuple(p["sizes"]))
        ),
        transfer=_if_any(figures["transfer"], lambda plain: Transfer(**plain)),
    )


def _known_parts(
    store: Store, run_id: str, settings: Mapping[str, Any], circuit: Circuit
) -> dict[Part, dict[str, Any]]:
    """The parts of `settings` that other evaluations of the run measured with equal settings."""
    out: dict[Part, dict[str, Any]] = {}
    for other in store.evaluations([run_id]).by_run.get(run_id, ()):
        theirs = other.settings
        same = ("circuit", "family", "seed")
        if not is_whole(other) or any(theirs[name] != settings[name] for name in same):
            continue
        found = evaluation_of(other.figures, circuit)
        for part in settings["parts"]:
            if part in theirs["parts"] and amount_of(part, theirs) == amount_of(part, settings):
                out[part] = {name: getattr(found, name) for name in FIELDS[part]}
    return out


def plain_metrics(metrics: Mapping[MetricKey, Measured]) -> dict[str, Any]:
    """Return metrics as JSON data, without the values of prompts."""
    return {name: _without_prompts(measured) for name, measured in metrics.items()}


def metrics_of(
    plain: Mapping[str, Any], of_prompts: Mapping[str, Any]
) -> dict[MetricKey, Measured]:
    """Rebuild metrics from what `plain_metrics` returned, and the values of prompts by metric."""
    found: dict[MetricKey, Measured] = {}
    for name, values in plain.items():
        by_prompt = of_prompts.get(name)
        found[name] = Measured(
            **{**values, "interval": _if_any(values.get("interval"), tuple)},
            by_prompt=_if_any(
                by_prompt, lambda b: PromptScores(**{key: tuple(v) for key, v in b.items()})
            ),
        )
    return found


def _plain_ablations(found: Mapping[ComparedAblation, Ablated]) -> dict[str, Any]:
    return {
        name: {
            "metrics": plain_metrics(one.metrics),
            "forwards": one.forwards,
            "donors": one.donors,
        }
        for name, one in found.items()
    }


def _ablations_of(plain: Mapping[Any, Any]) -> dict[ComparedAblation, Ablated]:
    """Rebuild what `_plain_ablations` returned, in the order of `COMPARED`."""
    return {
        name: Ablated(
            metrics_of(plain[name]["metrics"], {}),
            plain[name]["forwards"],
            _if_any(
                plain[name]["donors"],
                lambda runs: tuple(tuple((d, n) for d, n in of_prompt) for of_prompt in runs),
            ),
        )
        for name in COMPARED
        if name in plain
    }


def _per_prompt(found: Evaluation) -> dict[str, Any] | None:
    """The values of prompts of which the intervals are made; None without any."""
    scores = {name: one.by_prompt for name, one in found.metrics.items()}
    metrics = {name: asdict(one) for name, one in scores.items() if one is not None}
    curve = [point.by_prompt for point in found.curve or ()]
    if not metrics:
        return None
    return {"metrics": metrics, "curve": None if None in curve or not curve else curve}


def _without_prompts(measured: Measured | CurvePoint) -> dict[str, Any]:
    return {name: value for name, value in asdict(measured).items() if name != "by_prompt"}


def _point(point: CurvePoint) -> dict[str, Any]:
    """A point of a curve; only its fraction where no circuit is that small.

    The areas use the empty circuit there, so that a search is not rewarded for sizes that it did
    not find; but no circuit was measured.
    """
    plain = _without_prompts(point)
    return plain if point.edges else {**dict.fromkeys(plain), "fraction": point.fraction}


def _curve_of(
    points: Sequence[Mapping[str, Any]], of_prompts: Mapping[str, Any], figures: Mapping[str, Any]
) -> tuple[CurvePoint, ...]:
    by_prompt = of_prompts["curve"] or [None] * len(points)
    nothing, kl = figures["ablated"], figures["metrics"]["kl"]["ablated"]
    empty = {"edges": 0, "value": nothing, "faithfulness": 0.0, "kl": kl, "interval": None}
    return tuple(
        CurvePoint(
            **{
                **(plain if plain["edges"] is not None else {**plain, **empty}),
                "interval": _if_any(plain.get("interval"), tuple),
            },
            by_prompt=_if_any(values, tuple),
        )
        for plain, values in zip(points, by_prompt, strict=True)
    )


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


def _nulls(plain: Mapping[str, Any]) -> dict[MetricKey, tuple[float, ...]]:
    return {name: tuple(one["faithfulness"]) for name, one in plain["metrics"].items()}


def _plain(found: Sequence[Knockout | PartScore]) -> list[dict[str, Any]]:
    return [asdict(one) for one in found]


def _knockouts(plain: Sequence[Mapping[str, Any]]) -> tuple[Knockout, ...]:
    return tuple(Knockout(**{**one, "parts": tuple(one["parts"])}) for one in plain)


def _needs(plain: Sequence[Mapping[str, Any]]) -> tuple[PartScore, ...]:
    return tuple(PartScore(one["part"], one["score"], tuple(one["without"])) for one in plain)


def _if_any(found: Any, convert: Callable[[Any], Any]) -> Any:
    return None if found is None else convert(found)
