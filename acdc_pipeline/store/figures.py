"""Figures of a run, from its metrics and from all of its evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from acdc_pipeline.specs.names import COUNTING_METRICS
from acdc_pipeline.store.evaluation import StoredEvaluation

GROUPS: Mapping[str, tuple[str | None, tuple[str, ...]]] = {
    "null": ("drawn", ("null",)),
    "ablations": ("ablations", ("ablations", "not_exchanged")),
    "curve": (None, ("curve", "cmd", "cpr", "cmd_interval", "cpr_interval")),
    "completeness": ("draws", ("completeness",)),
    "worst_knockouts": ("restarts", ("worst_knockouts",)),
    "minimality": ("draws", ("minimality",)),
    "auc": (None, ("auc",)),
    "causal_scrubbing": ("draws", ("causal_scrubbing",)),
    "not_scrubbed": (None, ("not_scrubbed",)),
    "fresh_prompts": (None, ("fresh_prompts",)),
    "stability": ("resamples", ("stability",)),
    "transfer": (None, ("transfer",)),
}
"""Figures that are measured together, and the setting that holds their sample size."""

SUPERFLUOUS = 0.01
"""A node with a lower minimality score is superfluous (Wang et al. 2022)."""

_OTHER_STATES = ("model_", "ablated_")
"""Prefixes of metrics that were not measured on the circuit."""


@dataclass(frozen=True)
class Figures:
    """Figures of the circuit of a run; None for those that were not measured.

    Args:
        document: figures by name, as JSON data, as in a `StoredEvaluation`.
        evaluations: ids of the evaluations they come from.
    """

    document: Mapping[str, Any] = field(default_factory=dict)
    evaluations: tuple[str, ...] = ()

    def faithfulness(self, metric: str | None) -> float | None:
        """Return the faithfulness in `metric`: 1 for the model, 0 for the empty circuit."""
        measured = (self.document.get("metrics") or {}).get(metric) or {}
        return measured.get("faithfulness")

    @property
    def percentile(self) -> float | None:
        """The share of random circuits that are less faithful, in the metric of the search.

        None for a circuit of no edges or of all, which is the only one of its size.
        """
        if is_only_of_its_size(self.document.get("edges_kept"), self.document.get("edges_total")):
            return None
        return _part(self.document, "null", "percentile")

    @property
    def null_drawn(self) -> int | None:
        return _part(self.document, "null", "drawn")

    @property
    def cmd(self) -> float | None:
        """Area between the faithfulness curve and 1; lower is better."""
        return self.document.get("cmd")

    @property
    def cpr(self) -> float | None:
        """Area under the faithfulness curve; higher is better."""
        return self.document.get("cpr")

    @property
    def cmd_interval(self) -> Sequence[float] | None:
        """The 95 % bootstrap interval of CMD over prompts."""
        return self.document.get("cmd_interval")

    @property
    def cpr_interval(self) -> Sequence[float] | None:
        """The 95 % bootstrap interval of CPR over prompts."""
        return self.document.get("cpr_interval")

    @property
    def under_ablations(self) -> Mapping[str, float | None]:
        """The faithfulness in the metric of the search under each ablation that was measured."""
        found, metric = self.document.get("ablations") or {}, self.document.get("metric")
        return {name: one["metrics"][metric]["faithfulness"] for name, one in found.items()}

    @property
    def incompleteness(self) -> float | None:
        """Mean difference between circuit and model with the same nodes removed."""
        found = self.document.get("completeness")
        return fmean(knockout["incompleteness"] for knockout in found) if found else None

    @property
    def worst_knockout(self) -> float | None:
        """The largest such difference that a greedy search over nodes found."""
        found = self.document.get("worst_knockouts")
        return max(knockout["incompleteness"] for knockout in found) if found else None

    @property
    def needed(self) -> tuple[int, int] | None:
        """Number of nodes that are not superfluous, and number of nodes of the circuit."""
        found = self.document.get("minimality")
        if not found:
            return None
        return sum(need["score"] >= SUPERFLUOUS for need in found), len(found)

    @property
    def scrubbed(self) -> float | None:
        """The share of the metric that remains under causal scrubbing."""
        return _part(self.document, "causal_scrubbing", "recovered")

    @property
    def fresh(self) -> float | None:
        """Faithfulness on prompts of another seed."""
        return self.document.get("fresh_prompts")

    @property
    def jaccard(self) -> float | None:
        """Mean similarity of the circuits found on resampled prompts."""
        return _part(self.document, "stability", "jaccard")

    @property
    def transfer(self) -> float | None:
        """Faithfulness on prompts that were not used by the search."""
        return _part(self.document, "transfer", "unseen")


def is_only_of_its_size(kept: int | None, total: int | None) -> bool:
    """Whether no other circuit keeps as many edges: it keeps none, or all. False if unknown."""
    return kept is not None and kept in (0, total)


def figures_of(evaluations: Sequence[StoredEvaluation]) -> Figures:
    """Return the figures of a run from all its evaluations.

    Each figure is that of the largest sample, and of several such the newest; figures that every
    evaluation contains are those of the newest. The values of prompts are left out.

    Args:
        evaluations: evaluations of one run, the newest last.
    """
    if not evaluations:
        return Figures()
    used = {evaluations[-1].evaluation_id: None}
    document: dict[str, Any] = dict(evaluations[-1].figures)
    document.pop("per_prompt", None)  # long, and of this one evaluation
    for name, (amount, keys) in GROUPS.items():
        measured = [e for e in evaluations if e.figures.get(name) is not None]
        # reversed, since max returns the first of equals
        best = max(reversed(measured), key=lambda e: _sample_size(e, amount), default=None)
        if best is not None:
            used[best.evaluation_id] = None
            document |= {key: best.figures.get(key) for key in keys}
    return Figures(document, tuple(used))


def faithfulness_of(metrics: Mapping[str, float], metric: str | None) -> float | None:
    """Return (m(C) - m(∅)) / (m(G) - m(∅)): 1 for the model, 0 for the empty circuit.

    None where a number is missing or the model is no better than the empty circuit. KL of the
    model to itself is 0 and is not stored. The definition is that of `evaluation.faithfulness`.

    Args:
        metrics: metrics of a run: `logit_diff`, `model_logit_diff`, `ablated_logit_diff`, ….
        metric: name of the metric; None for runs without a search.
    """
    if metric is None:
        return None
    circuit, empty = metrics.get(metric), metrics.get(f"ablated_{metric}")
    full = 0.0 if metric == "kl" else metrics.get(f"model_{metric}")
    if circuit is None or empty is None or full is None or full == empty:
        return None
    return (circuit - empty) / (full - empty) + 0.0  # 0, never -0


def faithfulness_by_metric(metrics: Mapping[str, float], first: str) -> dict[str, float]:
    """Return the faithfulness in every metric that is not a count of answers."""
    names = [
        name
        for name in metrics
        if not name.startswith(_OTHER_STATES) and name not in COUNTING_METRICS
    ]
    found = {
        name: faithfulness_of(metrics, name)
        for name in sorted(names, key=lambda name: (name != first, name != "kl"))
    }
    return {name: value for name, value in found.items() if value is not None}


def _sample_size(evaluation: StoredEvaluation, amount: str | None) -> int:
    if amount is None:
        return 0
    if amount == "drawn":
        return _part(evaluation.figures, "null", "drawn") or 0
    if amount == "ablations":
        found = evaluation.figures["ablations"]
        return sum(1 + one["forwards"] for one in found.values())
    return evaluation.settings.get(amount) or 0


def _part(document: Mapping[str, Any], name: str, key: str) -> Any:
    found = document.get(name)
    return found.get(key) if isinstance(found, dict) else None
