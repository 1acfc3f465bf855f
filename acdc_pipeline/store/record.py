"""The result of a run: record, summary and scores of heads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import acdc_pipeline
from acdc_pipeline.errors import StoreError
from acdc_pipeline.graph import Circuit, Decision
from acdc_pipeline.graph.consensus import Consensus
from acdc_pipeline.specs import RunSpec


@dataclass(frozen=True, slots=True)
class HeadScore:
    """One score of one head.

    Args:
        metric: name and version of the score (`induction@1`), with the task if it was measured on
            the prompts of one (`direct_effect@1:ioi`).
        value: the score, in the unit and sign of the metric.
        n: number of samples it is a mean of; 0 for scores computed from the weights.
        ci_low: lower end of its bootstrap interval, None where it has none.
    """

    model: str
    layer: int
    head: int
    metric: str
    value: float
    n: int
    seed: int
    ci_low: float | None = None
    ci_high: float | None = None


@dataclass(frozen=True)
class RunRecord:
    """The result of a run, equal to the record that the store returns for it.

    For that reason it holds only values that can be stored: scores of edges are rounded to 32
    bits, `details`, `profile` and `text` are JSON data (tuples become lists), and every number is
    finite, because a NaN is a failed computation and not a result.

    Args:
        circuit: the circuit that was found; None for runs that search for none.
        decisions: decision log, empty for methods without one.
        details: further results as JSON data: smallest margin, edges tested, ….
        wall_seconds: duration without the loading of the model, in seconds.
        parity_error: largest difference between the logits of the engine and of the model.
        profile: further results of such runs, as JSON data: roles, nulls, examples.
        consensus: what several searches agree on; None for one alone.
        text: what heads do on ordinary text, as JSON data; None for other runs.

    Raises:
        StoreError: a value cannot be stored.
    """

    spec: RunSpec
    circuit: Circuit | None
    decisions: tuple[Decision, ...]
    metrics: dict[str, float]
    details: dict[str, Any]
    wall_seconds: float
    environment: dict[str, str]
    parity_error: float | None = None
    heads: tuple[HeadScore, ...] = field(default=())
    profile: dict[str, Any] | None = None
    consensus: Consensus | None = None
    text: dict[str, Any] | None = None

    def __repr__(self) -> str:
        spec = self.spec
        found = "" if self.circuit is None else f", {self.circuit!r}"
        return (
            f"<run {spec.run_id()[:8]}: {spec.method.name} on {spec.task} in {spec.model}{found}>"
        )

    def __post_init__(self) -> None:
        if self.circuit is not None:
            object.__setattr__(self, "circuit", _with_float32_scores(self.circuit))
        for decision in self.decisions:
            _finite(decision.metric_before, f"decisions.{decision.step}.metric_before")
            _finite(decision.metric_after, f"decisions.{decision.step}.metric_after")
        for score in self.heads:
            for name in ("value", "ci_low", "ci_high"):
                _finite(getattr(score, name), f"heads.{score.layer}.{score.head}.{name}")
        metrics = {name: _finite(value, f"metrics.{name}") for name, value in self.metrics.items()}
        object.__setattr__(self, "metrics", metrics)
        object.__setattr__(self, "details", json_data(self.details, "details"))
        if self.profile is not None:
            object.__setattr__(self, "profile", json_data(self.profile, "profile"))
        if self.text is not None:
            object.__setattr__(self, "text", json_data(self.text, "text"))
        _finite(self.wall_seconds, "wall_seconds")
        _finite(self.parity_error, "parity_error")


@dataclass(frozen=True)
class RunSummary:
    """What a list of runs shows of a run, without its tables."""

    run_id: str
    spec: RunSpec
    edges_kept: int | None
    edges_total: int | None
    metrics: Mapping[str, float]
    wall_seconds: float
    parity_error: float | None
    code_version: str


def summary_of(record: RunRecord) -> RunSummary:
    """Return the summary of a run, equal to that in its `run.json`."""
    circuit = record.circuit
    return RunSummary(
        run_id=record.spec.run_id(),
        spec=record.spec,
        edges_kept=None if circuit is None else len(circuit),
        edges_total=None if circuit is None else circuit.topology.n_edges,
        metrics=dict(sorted(record.metrics.items())),
        wall_seconds=float(record.wall_seconds),
        parity_error=record.parity_error,
        code_version=acdc_pipeline.__version__,
    )


def _with_float32_scores(circuit: Circuit) -> Circuit:
    scores: dict[Any, float] = {}
    for edge, score in circuit.scores.items():
        with np.errstate(over="ignore"):
            rounded = float(np.float32(score))
        if not math.isfinite(rounded):
            raise StoreError(f"{score!r} is not a 32-bit number", field=f"circuit.scores.{edge}")
        scores[edge] = rounded
    return circuit if scores == circuit.scores else replace(circuit, scores=scores)


def _finite(value: float | None, name: str) -> float | None:
    if value is not None and not math.isfinite(value):
        raise StoreError(f"{value!r} is not a result", field=name, allowed="finite numbers")
    return None if value is None else float(value)


def json_data(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return `data` after a round trip through JSON. Raises StoreError with the field `name`."""
    try:
        return json.loads(json.dumps(dict(data), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise StoreError(f"not JSON data: {error}", field=name) from error
