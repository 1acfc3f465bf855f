"""The types of head scores, criteria and roles, and the thresholds that all roles share."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

Family = Literal["random tokens", "weights", "task prompts", "backup"]
Evidence = Literal["weights", "attention", "causal"]
"""The kind of evidence, weakest first: the weights, the attention of the head, and the effect of
its output on that of the model."""

EVIDENCE: tuple[Evidence, ...] = ("weights", "attention", "causal")

NullKind = Literal[
    "shuffled tokens", "random weights", "other answers", "corrupted prompts", "other heads"
]

NULLS: dict[NullKind, str] = {
    "shuffled tokens": "every head of the same model on the same tokens in another order, so that "
    "nothing repeats where it is looked for",
    "random weights": "every head of models of the same shape whose matrices hold normal noise of "
    "the same size",
    "other answers": "every head on the same prompts, asked for the answers of another prompt",
    "corrupted prompts": "every head at the same positions of the counterfactual prompts",
    "other heads": "every later head when as many other heads are ablated instead",
}
"""The description of every null. A score passes it above the 99th percentile of its values."""

NULL_QUANTILE = 0.99

OUTLIER = 3.5
"""Robust z-score above which a head is an outlier among the heads of its model (Iglewicz & Hoaglin
1993, How to Detect and Handle Outliers: 0.6745 (x - median) / MAD)."""

NULL_MARGIN = 1.0
"""The margin by which an outlier below the standard threshold has to exceed a null, as a multiple
of the distance from the null's mean to its 99th percentile. A null covers all layers, and one head
in a hundred of all may be one in twenty of the layer with the largest weights."""

HEADROOM = 1 / 3
"""If a null exceeds the threshold of a bounded score, the threshold moves above the null by this
fraction of the distance to the bound."""

TELLING_PERIOD = 8
"""The shortest period of repeated random tokens whose attention scores are informative: with period
n, uniform attention gives each position about 1/(1.5 n), a third at 2 and a twelfth at 8."""

SATURATED = 0.95
"""Fraction of a score's bound; if a null reaches it, the score does not distinguish heads."""

TOP = 5
"""k of `copy_at_5`, `suppress_at_5`, `answer_copying`, `answer_suppression` and `relation`."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ScoreDefinition:
    """A number that every head has, unless it is undefined for the head.

    Args:
        name: as in `heads.parquet`, before the `@`.
        version: raised when the value for the same head would change.
        title: for headings.
        family: the data that it is measured on.
        claim: its meaning, in one sentence.
        formula: LaTeX, with A the attention after softmax, row vectors, W_OV = W_V W_O and
            W_QK = W_Q W_K^T with the linear part of the norms folded in.
        source: citation.
        sign: the meaning of a higher value.
        low: lowest possible value; None if unbounded.
        high: highest possible value; None if unbounded.
        nulls: the nulls that it has to exceed for a role.
        per: whether there is one value per model, or one per task.
    """

    name: str
    version: int
    title: str
    family: Family
    claim: str
    formula: str
    source: str
    sign: str
    low: float | None
    high: float | None
    nulls: tuple[NullKind, ...] = ()
    per: Literal["model", "task"] = "model"

    @property
    def key(self) -> str:
        """Name and version, as in `heads.parquet`."""
        return f"{self.name}@{self.version}"

    @property
    def scale(self) -> Literal["sequential", "diverging"]:
        """Whether a colour scale has zero at one end or in the middle."""
        return "sequential" if self.low is not None and self.low >= 0 else "diverging"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Criterion:
    """A threshold on a score.

    Args:
        score: name of the score.
        evidence: the kind of evidence that the score is.
        least: the threshold; the quantity `of` has to be at least this.
        of: the quantity: `score`, `minus score`, or `share` and `minus share`, which divide the
            score by the whole model's answer logit on the same prompts.
        floor: the threshold for outliers among the heads of a model; None if `least` holds for all.
        if_measured: whether it is left out on tasks whose prompts do not give the score.
    """

    score: str
    evidence: Evidence
    least: float
    of: Literal["score", "minus score", "share", "minus share"] = "score"
    floor: float | None = None
    if_measured: bool = False


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RoleDefinition:
    """A role of heads.

    Args:
        name: such as `induction`.
        title: as in "behaves as an induction head".
        claim: what such a head does, in one sentence.
        unlike: how it differs from the kind that it is taken for, in one sentence; may be empty.
        required: the criteria for the role, which include the nulls of their scores; heads are
            ranked by the first.
        supporting: criteria that strengthen the evidence.
        reason: the rationale of the thresholds.
        on: `tokens` for random tokens, `weights`, `task` for the prompts of a task.
        tasks: the tasks it applies to: all, or those whose roles make them IOI-like.
        special_of: the more general role that it implies on the same task.
    """

    name: str
    title: str
    claim: str
    required: tuple[Criterion, ...]
    reason: str
    on: Literal["tokens", "weights", "task"]
    supporting: tuple[Criterion, ...] = ()
    tasks: Literal["every task", "IOI-like tasks"] = "every task"
    special_of: str | None = None
    unlike: str = ""
