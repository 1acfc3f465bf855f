"""What the evaluations of a run say together: of each quantity the most complete, newest figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from acdc_pipeline.store.evaluation import StoredEvaluation

GROUPS: Mapping[str, tuple[str | None, tuple[str, ...]]] = {
    "null": ("drawn", ("null",)),
    "curve": (None, ("curve", "cpr", "cmd")),
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
"""Figures that are measured together, and the setting that says how much of them was drawn."""

SUPERFLUOUS = 0.01
"""Of what losing everything costs: a node that matters less is superfluous (Wang et al. 2022)."""


@dataclass(frozen=True)
class Figures:
    """What was measured of the circuit of a run; None is what was not.

    Args:
        document: the figures by name, as JSON data, as in a `StoredEvaluation`; empty where nothing
            was measured.
        evaluations: the ids of the evaluations they are from.
    """

    document: Mapping[str, Any] = field(default_factory=dict)
    evaluations: tuple[str, ...] = ()

    def faithfulness(self, metric: str | None) -> float | None:
        """1 does what the model does, 0 as little as nothing."""
        measured = (self.document.get("metrics") or {}).get(metric) or {}
        return measured.get("faithfulness")

    @property
    def percentile(self) -> float | None:
        """The share of random circuits that are less faithful, in the metric of the search."""
        return _part(self.document, "null", "percentile")

    @property
    def null_drawn(self) -> int | None:
        """How many random circuits there were."""
        return _part(self.document, "null", "drawn")

    @property
    def cpr(self) -> float | None:
        """Area under the faithfulness curve; higher is better."""
        return self.document.get("cpr")

    @property
    def cmd(self) -> float | None:
        """Area between the faithfulness curve and 1; lower is better."""
        return self.document.get("cmd")

    @property
    def incompleteness(self) -> float | None:
        """How far circuit and model are apart with the same nodes removed, on average."""
        found = self.document.get("completeness")
        return fmean(knockout["incompleteness"] for knockout in found) if found else None

    @property
    def worst_knockout(self) -> float | None:
        """The same, at the worst nodes that a greedy search found."""
        found = self.document.get("worst_knockouts")
        return max(knockout["incompleteness"] for knockout in found) if found else None

    @property
    def needed(self) -> tuple[int, int] | None:
        """How many nodes of the circuit matter, and how many there are."""
        found = self.document.get("minimality")
        if not found:
            return None
        return sum(need["score"] >= SUPERFLUOUS for need in found), len(found)

    @property
    def scrubbed(self) -> float | None:
        """The share of the metric that causal scrubbing leaves."""
        return _part(self.document, "causal_scrubbing", "recovered")

    @property
    def fresh(self) -> float | None:
        """Faithfulness on prompts of another seed."""
        return self.document.get("fresh_prompts")

    @property
    def jaccard(self) -> float | None:
        """How alike the circuits are that the search finds on resampled prompts."""
        return _part(self.document, "stability", "jaccard")

    @property
    def transfer(self) -> float | None:
        """Faithfulness on prompts that the search did not see."""
        return _part(self.document, "transfer", "unseen")


def figures_of(evaluations: Sequence[StoredEvaluation]) -> Figures:
    """The figures of a run, from all its evaluations.

    Of each quantity the one of which most was drawn, and of several such the newest; what every
    evaluation measures is taken from the newest.

    Args:
        evaluations: of one run, the newest last.
    """
    if not evaluations:
        return Figures()
    used = {evaluations[-1].evaluation_id: None}
    document: dict[str, Any] = dict(evaluations[-1].figures)
    for name, (amount, keys) in GROUPS.items():
        measured = [e for e in evaluations if e.figures.get(name) is not None]
        # max gives the first of equals, and the newest is wanted
        best = max(reversed(measured), key=lambda e: _drawn(e, amount), default=None)
        if best is not None:
            used[best.evaluation_id] = None
            document |= {key: best.figures.get(key) for key in keys}
    return Figures(document, tuple(used))


def _drawn(evaluation: StoredEvaluation, amount: str | None) -> int:
    if amount is None:
        return 0
    if amount == "drawn":
        return _part(evaluation.figures, "null", "drawn") or 0
    return evaluation.settings.get(amount) or 0


def _part(document: Mapping[str, Any], name: str, key: str) -> Any:
    found = document.get(name)
    return found.get(key) if isinstance(found, dict) else None
