"""Methods that score every edge and then cut: their parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_serializer, model_validator

from acdc_pipeline.specs.base import Spec, rejection
from acdc_pipeline.specs.names import METRICS, Ablation, MetricName, Rank

NO_GRADIENT: Mapping[MetricName, str] = {
    "accuracy": "has no gradient",
    "forced_choice": "has no gradient",
}
"""Metrics that methods of gradients cannot work with, and why."""

_NONE_AT_CLEAN: Mapping[MetricName, str] = {
    **NO_GRADIENT,
    "kl": "has gradient 0 at the clean prompts, where this method takes it",
}


class ScoredMethod(Spec):
    """What all methods share that give every edge a score and keep the best.

    A run stores the score of every edge, so that the circuit of any other size can be cut from it
    by the same rule (`graph.cut`); its own circuit is the one of the size asked for here.

    Args:
        metric: what the scores are about.
        ablation: what a removed edge carries.
        share: how much of the graph's edges the circuit may have, above 0, up to 1; or None.
        edges: how many edges it may have; or None. One of both is given.
    """

    VERSION: ClassVar[int]
    SCORE: ClassVar[str]
    """What a score says, for people."""
    UNFIT: ClassVar[Mapping[MetricName, str]] = {}
    """Metrics that the method cannot work with, and why."""

    metric: MetricName
    ablation: Ablation
    share: float | None = Field(gt=0, le=1)
    edges: int | None = Field(ge=1)

    @property
    def ranking(self) -> Rank:
        """By what scores are put in order."""
        return "signed"

    @model_validator(mode="before")
    @classmethod
    def _one_size(cls, data: Any) -> Any:
        if isinstance(data, dict):
            reject_two_sizes(data.get("share"), data.get("edges"))
            if data.get("share") is None and data.get("edges") is None:
                raise rejection("share", "is missing", fix="give 'share' or 'edges'")
        return data

    @model_validator(mode="after")
    def _metric_fits(self) -> ScoredMethod:
        reject_unfit_metric(self.metric, self.UNFIT)
        return self

    def size(self, n_edges: int) -> int:
        """How many of a graph's `n_edges` the circuit may have, at least one."""
        if self.edges is not None:
            return self.edges
        assert self.share is not None
        return max(1, round(self.share * n_edges))


class RankedMethod(ScoredMethod):
    """A method whose scores may be negative, which means that removing the edge helps.

    Args:
        rank: whether the size of a score counts (`magnitude`) or its sign too (`signed`).
    """

    rank: Rank

    @property
    def ranking(self) -> Rank:
        return self.rank


class EapMethod(RankedMethod):
    """Edge attribution patching (Syed et al. 2023)."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one costs in {metric}, to first order"
    UNFIT: ClassVar[Mapping[MetricName, str]] = _NONE_AT_CLEAN

    name: Literal["eap"]


class EapIgInputsMethod(RankedMethod):
    """EAP with integrated gradients over the input (Hanna et al. 2024).

    Args:
        steps: points between the ablated and the clean input at which gradients are taken.
        rounds: in how many rounds edges go, the scores of those left taken anew in each.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one costs in {metric}, by integrated gradients"
    UNFIT: ClassVar[Mapping[MetricName, str]] = NO_GRADIENT

    name: Literal["eap-ig-inputs"]
    steps: int = Field(ge=1)
    rounds: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _rounds_fit(self) -> EapIgInputsMethod:
        if self.rounds > 1 and self.rank == "signed":
            problem = "several rounds rank by magnitude"
            raise rejection("rounds", problem, fix="leave out rank: signed, or rounds")
        return self

    @model_serializer(mode="wrap")
    def _without_one_round(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        # One round is the published method, which had no such parameter: its runs keep their ids.
        values = handler(self)
        return {name: values[name] for name in values if name != "rounds" or self.rounds > 1}


class EapIgActivationsMethod(RankedMethod):
    """EAP with integrated gradients over each source's output (MIB benchmark).

    Args:
        steps: points between a source's ablated and clean output at which gradients are taken.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one costs in {metric}, by integrated gradients"
    UNFIT: ClassVar[Mapping[MetricName, str]] = NO_GRADIENT

    name: Literal["eap-ig-activations"]
    steps: int = Field(ge=1)


class CleanCorruptedMethod(RankedMethod):
    """EAP with the mean of the gradients at the clean and at the ablated input."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one costs in {metric}, by the gradients at both ends"
    UNFIT: ClassVar[Mapping[MetricName, str]] = NO_GRADIENT

    name: Literal["clean-corrupted"]


class ExactMethod(RankedMethod):
    """Each edge removed from the whole model, alone."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one alone costs in {metric}"

    name: Literal["exact"]


class NodeAttributionMethod(RankedMethod):
    """Attribution patching of nodes; an edge is worth as much as its weaker end."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing its weaker end costs in {metric}, to first order"
    UNFIT: ClassVar[Mapping[MetricName, str]] = _NONE_AT_CLEAN

    name: Literal["node-attribution"]


class NodeExactMethod(RankedMethod):
    """Each node removed from the whole model, alone; an edge is worth as much as its weaker end."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing its weaker end alone costs in {metric}"

    name: Literal["node-exact"]


class HispMethod(ScoredMethod):
    """Head importance score for pruning (Michel et al. 2019), of every node."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "importance of its weaker end within its layer, 0 to 1"
    UNFIT: ClassVar[Mapping[MetricName, str]] = _NONE_AT_CLEAN

    name: Literal["hisp"]


class EdgePruningMethod(ScoredMethod):
    """A gate on every edge, trained to the size asked for (Bhaskar et al. 2024).

    Args:
        steps: of the optimiser.
        learning_rate: of Adam.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "log-odds of its trained gate"
    UNFIT: ClassVar[Mapping[MetricName, str]] = NO_GRADIENT

    name: Literal["edge-pruning"]
    steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0)


class SubnetworkProbingMethod(ScoredMethod):
    """A gate on every node, trained; an edge is worth as much as its weaker end (Cao et al. 2021).

    Args:
        steps: of the optimiser.
        learning_rate: of Adam.
        penalty: λ, what keeping all gates open costs, in units of the metric.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "log-odds of the trained gate of its weaker end"
    UNFIT: ClassVar[Mapping[MetricName, str]] = NO_GRADIENT

    name: Literal["subnetwork-probing"]
    steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    penalty: float = Field(gt=0)


class RandomMethod(ScoredMethod):
    """Scores drawn at random: what a circuit of that size is worth that knows nothing."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "drawn at random"

    name: Literal["random"]


def reject_two_sizes(share: object, edges: object) -> None:
    """Raises what pydantic expects of a validator if both sizes of a circuit are given."""
    if share is not None and edges is not None:
        raise rejection("edges", "cannot go with a share", fix="give a number of edges or a share")


def reject_unfit_metric(metric: MetricName, unfit: Mapping[MetricName, str]) -> None:
    """Raises what pydantic expects of a validator if a method cannot work with its metric."""
    if metric in unfit:
        allowed = ", ".join(name for name in METRICS if name not in unfit)
        raise rejection("metric", f"'{metric}' {unfit[metric]}", allowed=allowed)
