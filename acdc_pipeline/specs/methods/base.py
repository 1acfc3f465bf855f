"""What all discovery methods share: parameters with defaults, a version, and traits.

A method is one class. Its fields are required, so that what a run is identified by names every
value; the value that a parameter has where a user gives none is written beside it, as `Default`.
`resolve` fills those in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import WrapValidator, model_validator
from pydantic_core import PydanticKnownError

from acdc_pipeline.specs.base import Spec, rejection, tag_of
from acdc_pipeline.specs.load import parse
from acdc_pipeline.specs.names import METRICS, Ablation, MetricKey, Rank
from acdc_pipeline.specs.own_metric import is_metric
from acdc_pipeline.specs.task import TaskSpec

if TYPE_CHECKING:
    from acdc_pipeline.graph.selection import Selection


def _check_metric(value: Any, _: Any) -> str:
    if not is_metric(value):
        raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, METRICS))})
    return value


MethodMetric = Annotated[str, WrapValidator(_check_metric)]
"""The metric of a method: a built-in one, or name and version of one's own (`margin@1`)."""

NO_GRADIENT: Mapping[MetricKey, str] = {
    "accuracy": "has no gradient",
    "forced_choice": "has no gradient",
}
"""Metrics that gradient-based methods cannot use, and why."""

NO_GRADIENT_AT_CLEAN: Mapping[MetricKey, str] = {
    **NO_GRADIENT,
    "kl": "has gradient 0 at the clean prompts, where this method takes it",
}
"""Metrics that methods cannot use which take gradients at the clean prompts only, and why."""


@dataclass(frozen=True)
class Default:
    """The value of a parameter where a user gives none, as in `Annotated[int, Default(5)]`.

    Pydantic does not apply it: a stored method without the parameter is an error.
    """

    value: Any


class BaseMethod(Spec):
    """What a run may do. The discovery methods are `BaseCircuitMethod`s.

    Attributes:
        VERSION: raised whenever the method would decide differently: part of every run id.
        ALIASES: other names that are accepted; runs are stored under the name itself.
        SWEEP_LISTS: parameters that a sweep gives as a list, by the name of that list.
        NOT_IN_SWEEPS: parameters that a sweep cannot give.
        TEST_COST: forward passes that the test of one edge costs, for forecasts.
        COMPUTES_SCORES: whether scores of edges or heads are computed together, as opposed to
            only testing edges one by one, for forecasts.
        POSITIONAL: whether it also finds circuits whose edges live in spans of positions.
    """

    VERSION: ClassVar[int]
    ALIASES: ClassVar[tuple[str, ...]] = ()
    SWEEP_LISTS: ClassVar[Mapping[str, str]] = {}
    NOT_IN_SWEEPS: ClassVar[tuple[str, ...]] = ()
    TEST_COST: ClassVar[float] = 0.0
    COMPUTES_SCORES: ClassVar[bool] = True
    POSITIONAL: ClassVar[bool] = True

    if TYPE_CHECKING:
        # A Literal in every subclass, at the place that it has in the JSON.
        name: Any

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """The names of the method's parameters."""
        return tuple(field for field in cls.model_fields if field != "name")

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The default of every parameter that has one."""
        return {
            name: mark.value
            for name, field in cls.model_fields.items()
            for mark in field.metadata
            if isinstance(mark, Default)
        }

    @classmethod
    def check_given(cls, values: Mapping[str, Any]) -> None:
        """Raise the rejection that a validator needs if `values` exclude one another."""

    @classmethod
    def check_arguments(cls, values: Mapping[str, Any], where: str) -> None:
        """Raise InvalidInput about one of `values` that only a default may be."""

    @classmethod
    def complete(cls, values: Mapping[str, Any], task: TaskSpec) -> dict[str, Any]:
        """`values`, with the defaults for `task` where they give none."""
        return {"name": tag_of(cls), **cls.defaults(), **values}

    @classmethod
    def resolve(cls, values: Mapping[str, Any], task: TaskSpec, where: str) -> Self:
        """The method with `values`, and with the defaults for `task` where they give none.

        Raises:
            SpecError: a value is not valid; names `where` it comes from.
        """
        return parse(cls.complete(values, task), cls, where)

    def edges_tested(self, n_edges: int) -> int:
        """How many of a graph's `n_edges` the method at most tests one by one."""
        return 0


class BaseCircuitMethod(BaseMethod):
    """A method that finds a circuit.

    Attributes:
        SCORE: the meaning of an edge score, for users; `{metric}` is replaced by the metric.
        UNFIT: metrics that the method cannot use, and why.
        KIND: what the methods of its kind do, as the title of their options in a help.
    """

    SCORE: ClassVar[str]
    UNFIT: ClassVar[Mapping[MetricKey, str]] = {}
    KIND: ClassVar[str]

    if TYPE_CHECKING:
        # Fields of every subclass, at the place that they have in the JSON.
        metric: MethodMetric
        ablation: Ablation

    @classmethod
    def check_given(cls, values: Mapping[str, Any]) -> None:
        """Raise the rejection that a validator needs if `values` exclude one another."""

    @classmethod
    def complete(cls, values: Mapping[str, Any], task: TaskSpec) -> dict[str, Any]:
        """As for every method; the metric is the first of the task's that the method can use."""
        filled = super().complete(values, task)
        if filled["metric"] is None:
            candidates = (task.metrics.discovery, *task.metrics.report, "nll")
            filled["metric"] = next(metric for metric in candidates if metric not in cls.UNFIT)
        return filled

    @property
    def ranking(self) -> Rank:
        """How scores are ordered: by magnitude, or with their sign."""
        return "signed"

    @property
    def selection(self) -> Selection:
        """The rule by which circuits are cut from the scores."""
        from acdc_pipeline.graph.selection import Selection

        return Selection(self.ranking)

    @property
    def score_meaning(self) -> str:
        """What the score of an edge means, for users."""
        return self.SCORE.format(metric=self.metric)

    @model_validator(mode="after")
    def _metric_fits(self) -> Self:
        if self.metric in self.UNFIT:
            allowed = ", ".join(name for name in METRICS if name not in self.UNFIT)
            reason = f"{self.UNFIT[self.metric]}, so {self.name} cannot use it"
            raise rejection("metric", f"'{self.metric}' {reason}", allowed=allowed)
        return self
