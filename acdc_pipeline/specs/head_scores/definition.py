"""What a score of a head is, and when it earns the head a role: data, for programs and pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["random tokens", "weights", "task prompts", "backup"]
Evidence = Literal["weights", "attention", "causal"]
"""Where a fact comes from, weakest first: what the weights would do, what the head looks at, what
its output does to the model's."""

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
"""What each null is. A score passes one by exceeding the 99th percentile of its values."""

NULL_QUANTILE = 0.99

OUTLIER = 3.5
"""Robust z-score from which a head stands out from the other heads of its model (Iglewicz & Hoaglin
1993, How to Detect and Handle Outliers: 0.6745 (x - median) / MAD)."""

NULL_MARGIN = 1.0
"""How far above a null a head below the usual line has to be, as a multiple of how far the null's
99th percentile is above its mean: a null is over all layers, and one head in a hundred of all is
one in twenty of the layer whose weights are largest."""

HEADROOM = 1 / 3
"""Where a null reaches past the line of a bounded score, the line moves above the null by this
share of what is left up to the bound."""

TELLING_PERIOD = 8
"""Random tokens said twice that give attention enough positions to choose between: with n of them a
head that looks everywhere alike gives each position about 1/(1.5 n), a third at 2 and a twelfth
at 8."""

SATURATED = 0.95
"""Share of a score's bound; where a null reaches it, the score tells no heads apart."""


@dataclass(frozen=True)
class ScoreDefinition:
    """One number that every head has, or lacks where it is not defined.

    Args:
        name: as in `heads.parquet`, before the `@`.
        version: raised when the same head would get another number.
        title: for headings.
        family: what it is measured on.
        claim: one sentence: what the number says.
        formula: LaTeX, with A the attention after softmax, row vectors, W_OV = W_V W_O and
            W_QK = W_Q W_K^T with the linear part of the norms folded in.
        source: citation.
        sign: what a higher value means.
        low: least possible value; None where there is none.
        high: largest possible value.
        nulls: what it is compared with before it earns a role.
        per: whether a model has one such number, or one for each task it is profiled on.
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
        """Name and version, as `heads.parquet` has them."""
        return f"{self.name}@{self.version}"

    @property
    def scale(self) -> Literal["sequential", "diverging"]:
        """Whether a colour scale has its zero at one end or in its middle."""
        return "sequential" if self.low is not None and self.low >= 0 else "diverging"


@dataclass(frozen=True)
class Criterion:
    """A line that a score has to cross.

    Args:
        score: name of the score.
        evidence: what crossing it is evidence of.
        least: the line; the score, or its share of the answer's logit, has to be at least this.
        of: `score` as it is, `minus score`, or `share` and `minus share`: divided by the whole
            model's answer logit on the same prompts.
        floor: the line for a head that stands out from the other heads of its model; None where
            `least` holds for all.
    """

    score: str
    evidence: Evidence
    least: float
    of: Literal["score", "minus score", "share", "minus share"] = "score"
    floor: float | None = None


@dataclass(frozen=True)
class RoleDefinition:
    """A kind of head.

    Args:
        name: `induction`.
        title: as in "behaves as an induction head".
        claim: what such a head does, one sentence.
        required: what a head must cross to get the role, nulls included; the first gives rank.
        supporting: what strengthens the evidence where it is crossed too.
        reason: why the lines are where they are.
        on: `tokens` for random tokens, `weights`, `task` for the prompts of a task.
        tasks: the tasks it applies to: all, or those whose roles make them IOI-like.
        special_of: the role that goes without saying on the same task.
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
