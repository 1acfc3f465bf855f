"""Methods as people ask for them: what has a usual value may be left out.

The command line, the Python API and sweeps read these; the method that comes out names every
value, and that is what a run is identified by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

from pydantic import Field, model_validator

from acdc_pipeline.errors import SpecError, UnknownName
from acdc_pipeline.specs.base import Spec, tag_of
from acdc_pipeline.specs.load import parse
from acdc_pipeline.specs.method import METHODS, AcdcMethod, EapIgAcdcMethod, Method
from acdc_pipeline.specs.names import Ablation, Difference, HeadOrder, MetricName, Rank
from acdc_pipeline.specs.scored_method import reject_two_sizes
from acdc_pipeline.specs.task import TaskSpec

USUAL_SHARE = 0.05
"""Of a graph's edges, where no size is asked for."""

USUAL_SCREEN = 0.2
"""Of a graph's edges, that a search is left with after they were screened."""


class AcdcRequest(Spec):
    """ACDC at one threshold.

    Args:
        threshold: τ > 0; no value suits every task.
        metric: None takes the task's own discovery metric.
        ablation, order, difference: as in `AcdcMethod`; the usual values are the paper's.
    """

    name: Literal["acdc"]
    threshold: float = Field(gt=0)
    metric: MetricName | None = None
    ablation: Ablation = "corrupted"
    order: HeadOrder = "reverse-heads"
    difference: Difference = "signed"

    def methods(self, task: TaskSpec) -> tuple[AcdcMethod]:
        """The method, for `task`."""
        values = self.plain() | {"metric": metric_for(self.name, self.metric, task)}
        return (parse(values, AcdcMethod, self.name),)


class EapIgAcdcRequest(Spec):
    """ACDC at one threshold, on the edges that integrated gradients leave.

    Args:
        threshold: τ > 0; no value suits every task.
        metric: None takes the task's own discovery metric.
        ablation, order, difference, steps, screen: as in `EapIgAcdcMethod`.
    """

    name: Literal["eap-ig-acdc"]
    threshold: float = Field(gt=0)
    metric: MetricName | None = None
    ablation: Ablation = "corrupted"
    order: HeadOrder = "reverse-heads"
    difference: Difference = "signed"
    steps: int = Field(default=5, ge=1)
    screen: float = Field(default=USUAL_SCREEN, gt=0, le=1)

    def methods(self, task: TaskSpec) -> tuple[EapIgAcdcMethod]:
        """The method, for `task`."""
        values = self.plain() | {"metric": metric_for(self.name, self.metric, task)}
        return (parse(values, EapIgAcdcMethod, self.name),)


class ScoredRequest(Spec):
    """What all methods take that give every edge a score and keep the best.

    Args:
        metric: None takes the task's own discovery metric; where the method cannot work with it,
            the first that it can of those that the task reports, or else `nll`.
        ablation: what a removed edge carries.
        share: of the graph's edges; without `share` and `edges`, 0.05.
        edges: how many edges, in place of `share`.
    """

    metric: MetricName | None = None
    ablation: Ablation = "corrupted"
    share: float | None = Field(default=None, gt=0, le=1)
    edges: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _one_size(cls, data: Any) -> Any:
        if isinstance(data, dict):
            reject_two_sizes(data.get("share"), data.get("edges"))
        return data

    def methods(self, task: TaskSpec) -> tuple[Method]:
        """The method, for `task`."""
        share = USUAL_SHARE if self.share is None and self.edges is None else self.share
        name = tag_of(type(self))
        values = self.plain() | {"metric": metric_for(name, self.metric, task), "share": share}
        return (parse(values, METHODS[name], name),)


class RankedRequest(ScoredRequest):
    """As above, where scores may be negative.

    Args:
        rank: `magnitude` or `signed`.
    """

    rank: Rank = "magnitude"


class EapRequest(RankedRequest):
    """Edge attribution patching."""

    name: Literal["eap"]


class EapIgInputsRequest(RankedRequest):
    """EAP with integrated gradients over the input."""

    name: Literal["eap-ig-inputs"]
    steps: int = Field(default=5, ge=1)
    rounds: int = Field(default=1, ge=1)


class EapIgActivationsRequest(RankedRequest):
    """EAP with integrated gradients over each source's output."""

    name: Literal["eap-ig-activations"]
    steps: int = Field(default=5, ge=1)


class CleanCorruptedRequest(RankedRequest):
    """EAP with the gradients at both ends."""

    name: Literal["clean-corrupted"]


class ExactRequest(RankedRequest):
    """Each edge removed from the whole model, alone."""

    name: Literal["exact"]


class NodeAttributionRequest(RankedRequest):
    """Attribution patching of nodes."""

    name: Literal["node-attribution"]


class NodeExactRequest(RankedRequest):
    """Each node removed from the whole model, alone."""

    name: Literal["node-exact"]


class HispRequest(ScoredRequest):
    """Head importance score for pruning, of every node."""

    name: Literal["hisp"]


class EdgePruningRequest(ScoredRequest):
    """A gate on every edge, trained to the size asked for."""

    name: Literal["edge-pruning"]
    steps: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=0.1, gt=0)


class SubnetworkProbingRequest(ScoredRequest):
    """A gate on every node, trained."""

    name: Literal["subnetwork-probing"]
    steps: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=0.1, gt=0)
    penalty: float = Field(default=1.0, gt=0)


class RandomRequest(ScoredRequest):
    """The null: a random circuit of the size asked for."""

    name: Literal["random"]


AnyScoredRequest: TypeAlias = (
    EapRequest
    | EapIgInputsRequest
    | EapIgActivationsRequest
    | CleanCorruptedRequest
    | ExactRequest
    | NodeAttributionRequest
    | NodeExactRequest
    | HispRequest
    | EdgePruningRequest
    | SubnetworkProbingRequest
    | RandomRequest
)
"""Any of the methods that score and then cut, told apart by `name`."""

REQUESTS: Mapping[str, type[AcdcRequest] | type[EapIgAcdcRequest] | type[ScoredRequest]] = {
    tag_of(request): request
    for request in (AcdcRequest, EapIgAcdcRequest, *get_args(AnyScoredRequest))
}


def method_for(
    name: str,
    values: Mapping[str, Any],
    task: TaskSpec,
    *,
    where: str,
    written: Callable[[str], str] = str,
) -> Method:
    """The method called `name` with `values`, the rest as usual, for `task`.

    Args:
        name: of the method.
        values: its parameters, by name.
        task: gives the metric where none is asked for.
        where: what the values come from, for errors.
        written: how a parameter is written there, for errors.

    Raises:
        UnknownName: no such method.
        SpecError: a value that is not valid, or that belongs to other methods only.
    """
    if name not in REQUESTS:
        raise UnknownName.among("method", name, REQUESTS)
    for field in values:
        if field not in parameters_of(name):
            raise _foreign(name, field, where, written)
    try:
        return parse({"name": name, **values}, REQUESTS[name], where).methods(task)[0]
    except SpecError as error:
        error.field = None if error.field is None else written(error.field)
        raise


def metric_for(name: str, asked: MetricName | None, task: TaskSpec) -> MetricName:
    """The metric asked for, or else the first that suits both `task` and the method `name`."""
    candidates = (task.metrics.discovery, *task.metrics.report, "nll")
    return asked or next(metric for metric in candidates if metric not in METHODS[name].UNFIT)


def parameters_of(name: str) -> tuple[str, ...]:
    """What can be asked of the method called `name`."""
    return tuple(field for field in REQUESTS[name].model_fields if field != "name")


def _foreign(name: str, field: str, where: str, written: Callable[[str], str]) -> SpecError:
    owners = [other for other in REQUESTS if field in parameters_of(other)]
    advice = f"leave it out, or choose a method that has it: {', '.join(owners)}"
    return SpecError(
        f"method '{name}' has no such parameter",
        where=where,
        field=written(field),
        allowed=", ".join(map(written, parameters_of(name))),
        fix=advice if owners else None,
    )
