"""The fixed vocabularies of specifications, one Literal each."""

from __future__ import annotations

from typing import Literal, get_args

MetricName = Literal["kl", "logit_diff", "prob_diff", "nll", "accuracy"]
Ablation = Literal["corrupted", "zero", "mean"]
HeadOrder = Literal["reverse-heads", "natural"]
Difference = Literal["signed", "abs"]
Dtype = Literal["float32", "float64", "bfloat16", "float16"]
Executor = Literal["local", "ray"]
Rule = Literal["fresh", "keep", "swap"]
ModelKind = Literal["zoo", "hf", "dir"]

METRICS: tuple[MetricName, ...] = get_args(MetricName)
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

NOUNS: dict[frozenset[str], str] = {
    frozenset(get_args(MetricName)): "metric",
    frozenset(get_args(Ablation)): "ablation",
    frozenset(get_args(HeadOrder)): "head order",
    frozenset(get_args(Difference)): "difference",
    frozenset(get_args(Dtype)): "dtype",
    frozenset(get_args(Executor)): "executor",
    frozenset(get_args(Rule)): "rule",
}
"""What a member of each vocabulary is called in an error."""
