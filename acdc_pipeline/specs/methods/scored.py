"""Methods that score every edge and keep the best: their parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_serializer, model_validator

from acdc_pipeline.specs.base import rejection
from acdc_pipeline.specs.methods.base import (
    NO_GRADIENT,
    NO_GRADIENT_AT_CLEAN,
    BaseCircuitMethod,
    Default,
    MethodMetric,
)
from acdc_pipeline.specs.names import Ablation, MetricKey, Rank, Selector
from acdc_pipeline.specs.task import TaskSpec

if TYPE_CHECKING:
    from acdc_pipeline.graph.selection import Selection

Spread = Literal["scores", "steps"] | None
"""See `ScoredMethod.spread`."""

DEFAULT_SHARE = 0.05
"""The share of a graph's edges that a circuit has where no size is given."""

MAX_ROUNDS = 1000
"""Each takes `steps` gradients; circuits of successive rounds differ by a fraction of a percent."""

MIN_RESAMPLES, MAX_RESAMPLES = 40, 100_000
"""Of fewer, none may disagree in an interval of 95 %: one in forty is the tail on one side."""


class ScoredMethod(BaseCircuitMethod):
    """A method that gives every edge a score.

    A run stores the score of every edge, so that the circuit of any other size can be cut from it
    by the same rule (`graph.selection`); its own circuit is the one of the size given here.

    Args:
        metric: what the scores are about; by default the task's discovery metric, or where the
            method cannot use it, the first that it can of those that the task reports, or `nll`.
        ablation: what a removed edge carries.
        share: size of the circuit as a share of the graph's edges, above 0, up to 1; or None.
        edges: size of the circuit as a number of edges; or None. Exactly one of both is given;
            the default is a share of 0.05.
        select: whether edges are chosen one by one (`greedy`) or together, by an integer program
            (`ilp`).

    Attributes:
        LATER: parameters that methods got after their first runs were stored, each with the value
            at which it is left out of the stored form, so that those runs keep their ids.
        COMPUTE: the function that computes the scores, as `module:function`. It is imported when a
            run needs it: specifications are read without torch.
    """

    COMPUTE: ClassVar[str]
    KIND: ClassVar[str] = "score every edge"
    LATER: ClassVar[Mapping[str, Any]] = {"select": "greedy"}

    metric: Annotated[MethodMetric, Default(None)]
    ablation: Annotated[Ablation, Default("corrupted")]
    share: Annotated[float | None, Field(gt=0, le=1), Default(None)]
    edges: Annotated[int | None, Field(ge=1), Default(None)]
    select: Annotated[Selector, Default("greedy")] = "greedy"

    @classmethod
    def complete(cls, values: Mapping[str, Any], task: TaskSpec) -> dict[str, Any]:
        filled = super().complete(values, task)
        if filled["share"] is None and filled["edges"] is None:
            filled["share"] = DEFAULT_SHARE
        return filled

    @classmethod
    def check_given(cls, values: Mapping[str, Any]) -> None:
        if values.get("share") is not None and values.get("edges") is not None:
            raise rejection(
                "edges", "cannot go with a share", fix="give a number of edges or a share"
            )

    @model_validator(mode="before")
    @classmethod
    def _has_one_size(cls, data: Any) -> Any:
        if isinstance(data, dict):
            cls.check_given(data)
            if data.get("share") is None and data.get("edges") is None:
                raise rejection("share", "is missing", fix="give 'share' or 'edges'")
        return data

    @model_serializer(mode="wrap")
    def _without_later(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        values, missing = handler(self), object()
        return {
            name: values[name] for name in values if values[name] != self.LATER.get(name, missing)
        }

    @property
    def selection(self) -> Selection:
        return replace(super().selection, by=self.select)

    @property
    def scores_fit_every_size(self) -> bool:
        """Whether the scores are the same whatever the size of the circuit."""
        return True

    @property
    def spread(self) -> Spread:
        """What is a mean over prompts, so that workers with parts of them can compute it.

        `scores`: the scores themselves. `steps`: what the function takes from `problem.mean`. None:
        nothing; the function needs all prompts in `problem.bench`.
        """
        return None

    def size(self, n_edges: int) -> int:
        """How many of a graph's `n_edges` the circuit may have, at least one."""
        if self.edges is not None:
            return self.edges
        assert self.share is not None
        return max(1, round(self.share * n_edges))


class RankedMethod(ScoredMethod):
    """A method whose scores may be negative, which means that removing the edge helps.

    Args:
        rank: whether scores are ordered by magnitude (`magnitude`) or with their sign (`signed`).
        positive_share: the least share of the circuit's edges, 0 to 1, that has a score above 0,
            the other edges being the best by magnitude; 0 for no such rule.
    """

    LATER: ClassVar[Mapping[str, Any]] = {**ScoredMethod.LATER, "positive_share": 0.0}

    rank: Annotated[Rank, Default("magnitude")]
    positive_share: Annotated[float, Field(ge=0, le=1), Default(0.0)] = 0.0

    @property
    def ranking(self) -> Rank:
        return self.rank

    @property
    def selection(self) -> Selection:
        return replace(super().selection, positive_share=self.positive_share)

    @model_validator(mode="after")
    def _signs_fit(self) -> Self:
        if self.positive_share and self.rank == "signed":
            problem = "with sign, positive scores come first anyway"
            raise rejection("positive_share", problem, fix="leave out `rank` or `positive_share`")
        return self


class EdgeMeanMethod(RankedMethod):
    """A method whose scores are means over the prompts.

    Args:
        sign_filter: the number of bootstrap resamples of the prompts on which the sign of a score
            has to agree for its edge to be kept; 0 for no filter.
    """

    LATER: ClassVar[Mapping[str, Any]] = {**RankedMethod.LATER, "sign_filter": 0}

    sign_filter: Annotated[int, Field(ge=0, le=MAX_RESAMPLES), Default(0)] = 0

    @property
    def selection(self) -> Selection:
        return replace(super().selection, filtered=self.sign_filter > 0)

    @property
    def spread(self) -> Spread:
        return "scores"

    @model_validator(mode="after")
    def _enough_resamples(self) -> Self:
        if 0 < self.sign_filter < MIN_RESAMPLES:
            problem = "too few resamples for an interval of 95 %"
            raise rejection("sign_filter", problem, allowed=f"{MIN_RESAMPLES} or more")
        return self


class EapMethod(EdgeMeanMethod):
    """Edge attribution patching (Syed et al. 2023)."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one costs in {metric}, to first order"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT_AT_CLEAN
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.eap:eap"

    name: Literal["eap"]


class RelpMethod(EdgeMeanMethod):
    """Relevance patching: EAP with relevance in place of gradients (Rezaei Jafari et al. 2025)."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one costs in {metric}, by relevance"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT_AT_CLEAN
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.eap:relp"

    name: Literal["relp"]


class EapIgInputsMethod(EdgeMeanMethod):
    """EAP with integrated gradients over the input (Hanna et al. 2024).

    Args:
        steps: points between the ablated and the clean input at which gradients are taken.
        rounds: rounds in which edges are removed; the remaining ones are scored again in each.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one costs in {metric}, by integrated gradients"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.eap:eap_ig_inputs"
    ALIASES: ClassVar[tuple[str, ...]] = ("eap-ig",)
    LATER: ClassVar[Mapping[str, Any]] = {**EdgeMeanMethod.LATER, "rounds": 1}

    name: Literal["eap-ig-inputs"]
    steps: Annotated[int, Field(ge=1), Default(5)]
    rounds: Annotated[int, Default(1)] = Field(default=1, ge=1, le=MAX_ROUNDS)

    @property
    def scores_fit_every_size(self) -> bool:
        return self.rounds == 1

    @property
    def spread(self) -> Spread:
        return "scores" if self.rounds == 1 else "steps"

    @model_validator(mode="after")
    def _rounds_fit(self) -> EapIgInputsMethod:
        if self.rounds > 1 and self.rank == "signed":
            problem = "several rounds rank by magnitude"
            raise rejection("rounds", problem, fix="leave out rank: signed, or rounds")
        if self.rounds > 1 and self.sign_filter:
            problem = "scores of several rounds are no means over prompts"
            raise rejection("sign_filter", problem, fix="leave out `sign_filter` or `rounds`")
        return self


class EapIgActivationsMethod(EdgeMeanMethod):
    """EAP with integrated gradients over each source's output (MIB benchmark).

    Args:
        steps: points between a source's ablated and clean output at which gradients are taken.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one costs in {metric}, by integrated gradients"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.eap:eap_ig_activations"

    name: Literal["eap-ig-activations"]
    steps: Annotated[int, Field(ge=1), Default(5)]


class CleanCorruptedMethod(EdgeMeanMethod):
    """EAP with the mean of the gradients at the clean and at the ablated input."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one costs in {metric}, by the gradients at both ends"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.eap:clean_corrupted"

    name: Literal["clean-corrupted"]


class ExactMethod(EdgeMeanMethod):
    """Each edge removed from the whole model, alone."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing one alone costs in {metric}"
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.exact:exact"
    # the rest of the model is intact, so that a removal changes half of it on average
    TEST_COST: ClassVar[float] = 0.5
    COMPUTES_SCORES: ClassVar[bool] = False

    name: Literal["exact"]

    def edges_tested(self, n_edges: int) -> int:
        return n_edges


class NodeAttributionMethod(RankedMethod):
    """Attribution patching of nodes; an edge has the score of its weaker end."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing its weaker end costs in {metric}, to first order"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT_AT_CLEAN
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.nodes:node_attribution"

    name: Literal["node-attribution"]

    @property
    def spread(self) -> Spread:
        return "steps"


class NodeExactMethod(RankedMethod):
    """Each node removed from the whole model, alone; an edge has the score of its weaker end."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "what removing its weaker end alone costs in {metric}"
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.nodes:node_exact"

    name: Literal["node-exact"]

    @property
    def spread(self) -> Spread:
        return "steps"


class HispMethod(ScoredMethod):
    """Head importance score for pruning (Michel et al. 2019), of every node."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "importance of its weaker end within its layer, 0 to 1"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT_AT_CLEAN
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.nodes:hisp"

    name: Literal["hisp"]

    @property
    def spread(self) -> Spread:
        return "steps"


class TrainedForOneSize(ScoredMethod):
    """A method whose scores are trained for the size of the circuit, on all prompts together."""

    @property
    def scores_fit_every_size(self) -> bool:
        return False

    @property
    def spread(self) -> Spread:
        return "steps"


class EdgePruningMethod(TrainedForOneSize):
    """A gate on every edge, trained to the size given (Bhaskar et al. 2024).

    Args:
        steps: of the optimiser.
        learning_rate: of Adam.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "log-odds of its trained gate"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.gates:edge_pruning"

    name: Literal["edge-pruning"]
    steps: Annotated[int, Field(ge=1), Default(300)]
    learning_rate: Annotated[float, Field(gt=0), Default(0.1)]


class SubnetworkProbingMethod(ScoredMethod):
    """A gate on every node, trained; an edge has the score of its weaker end (Cao et al. 2021).

    Args:
        steps: of the optimiser.
        learning_rate: of Adam.
        penalty: λ, what keeping all gates open costs, in units of the metric.
    """

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "log-odds of the trained gate of its weaker end"
    UNFIT: ClassVar[Mapping[MetricKey, str]] = NO_GRADIENT
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.gates:subnetwork_probing"

    name: Literal["subnetwork-probing"]
    steps: Annotated[int, Field(ge=1), Default(300)]
    learning_rate: Annotated[float, Field(gt=0), Default(0.1)]
    penalty: Annotated[float, Field(gt=0), Default(1.0)]

    @property
    def spread(self) -> Spread:
        return "steps"


class RandomMethod(ScoredMethod):
    """Scores drawn at random: the null model for a circuit of the same size."""

    VERSION: ClassVar[int] = 1
    SCORE: ClassVar[str] = "drawn at random"
    COMPUTE: ClassVar[str] = "acdc_pipeline.algorithms.scoring:random_scores"

    name: Literal["random"]

    @property
    def spread(self) -> Spread:
        return "steps"
