"""The shapes of the figures in the file of an evaluation, which somebody else may have written.

A figure that is absent, or null, was not measured. One of another shape makes the file damaged, so
that whatever reads figures (lists, comparisons, the wiki) finds numbers where it expects them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acdc_pipeline.errors import shorten_value
from acdc_pipeline.specs.names import METRICS, ComparedAblation

_MAX_COUNT = 2**53

Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=_MAX_COUNT)]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]
Donor = Annotated[list[Count], Field(min_length=2, max_length=2)]
Metric = Annotated[str, Field(pattern=rf"^(?:{'|'.join(METRICS)}|[^@\n]+@[^@\n]+)$")]
"""A metric of the package, or name and version of one's own."""


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Measured(_Shape):
    circuit: Number
    model: Number
    ablated: Number
    faithfulness: Number | None
    interval: Pair | None = None


class _Point(_Shape):
    fraction: Number
    edges: Count | None
    value: Number | None
    faithfulness: Number | None
    kl: Number | None
    interval: Pair | None = None


class _NullInMetric(_Shape):
    faithfulness: list[Number]
    percentile: Number | None


class _Null(_NullInMetric):
    drawn: Count
    metrics: dict[Metric, _NullInMetric]


class _Ablated(_Shape):
    metrics: dict[Metric, _Measured]
    forwards: Count
    donors: list[list[Donor]] | None


class _Knockout(_Shape):
    parts: list[str]
    circuit: Number
    model: Number
    incompleteness: Number


class _Need(_Shape):
    part: str
    score: Number
    without: list[str]


class _Scrubbing(_Shape):
    metric: Metric
    recovered: Number
    low: Number
    high: Number
    model: Number
    hypothesis: Number
    scrubbed: Number
    prompts: Count
    exchangeable: Number


class _Stability(_Shape):
    jaccard: Number
    sizes: list[Count]


class _Transfer(_Shape):
    by: str
    edges: Count
    seen: Number
    unseen: Number


class _OfPrompts(_Shape):
    circuit: list[Number]
    model: list[Number]
    ablated: list[Number]


class _PerPrompt(_Shape):
    metrics: dict[Metric, _OfPrompts]
    curve: list[list[Number]] | None


class _Figures(_Shape):
    model_config = ConfigDict(strict=True, extra="ignore")

    edges_kept: Count | None = None
    edges_total: Count | None = None
    pairs_kept: Count | None = None
    pairs_total: Count | None = None
    metric: Metric | None = None
    task_metric: Metric | None = None
    model: Number | None = None
    ablated: Number | None = None
    value: Number | None = None
    faithfulness: Number | None = None
    kl: Number | None = None
    faithfulness_interval: Pair | None = None
    metrics: dict[Metric, _Measured] | None = None
    curve: list[_Point] | None = None
    cmd: Number | None = None
    cpr: Number | None = None
    cmd_interval: Pair | None = None
    cpr_interval: Pair | None = None
    null: _Null | None = None
    ablations: dict[ComparedAblation, _Ablated] | None = None
    not_exchanged: str | None = None
    completeness: list[_Knockout] | None = None
    worst_knockouts: list[_Knockout] | None = None
    minimality: list[_Need] | None = None
    auc: Number | None = None
    causal_scrubbing: _Scrubbing | None = None
    not_scrubbed: str | None = None
    fresh_prompts: Number | None = None
    stability: _Stability | None = None
    transfer: _Transfer | None = None
    per_prompt: _PerPrompt | None = None


class _Settings(_Shape):
    model_config = ConfigDict(strict=True, extra="ignore")

    null: Count | Literal["cheap"] | None = None
    draws: Count | None = None
    restarts: Count | None = None
    resamples: Count | None = None


def check_figures(figures: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise ValueError that names a figure, or an amount in the settings, of another shape.

    The metric of the search has to be among `metrics` and under every ablation, CMD and CPR have to
    come together, and a curve has to have the values of prompts for every point or for none.
    """
    try:
        _Settings.model_validate(dict(settings))
        found = _Figures.model_validate(dict(figures))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{shorten_value(place)} is malformed: {first['msg']}") from None
    for measured in (found.metrics, *(one.metrics for one in (found.ablations or {}).values())):
        if measured is not None and found.metric not in measured:
            raise ValueError(f"has no values in {found.metric}")
    if (found.cmd is None) != (found.cpr is None):
        raise ValueError("has one of CMD and CPR")
    of_prompts = found.per_prompt and found.per_prompt.curve
    if of_prompts is not None and len(of_prompts) != len(found.curve or ()):
        raise ValueError("has values of prompts for other points than those of its curve")
