"""What `acdc evaluate` measured of a circuit, for pages and data: None for what it did not."""

from __future__ import annotations

from typing import Any

from acdc_pipeline.store import Figures
from acdc_pipeline.store.faithfulness import faithfulness_by_metric
from acdc_pipeline.wiki.run import Run


def measured_facts(figures: Figures) -> dict[str, Any] | None:
    """The figures by name; None where nothing was measured."""
    if not figures.evaluations:
        return None
    needed, nodes = figures.needed or (None, None)
    return {
        "above_null": figures.percentile,
        "null_circuits": figures.null_drawn,
        "cpr": figures.cpr,
        "cmd": figures.cmd,
        "incompleteness": figures.incompleteness,
        "worst_knockout": figures.worst_knockout,
        "nodes_needed": needed,
        "nodes": nodes,
        "scrubbed": figures.scrubbed,
        "fresh_prompts": figures.fresh,
        "stability": figures.jaccard,
        "transfer": figures.transfer,
    }


def other_faithfulness(run: Run) -> tuple[str, float] | None:
    """Faithfulness in another metric than the run was searched by, and which; None without one.

    That is the task's own metric for a search by KL, and KL for any other.
    """
    searched_by = run.spec.method.plain().get("metric", "kl")
    found = faithfulness_by_metric(run.metrics, searched_by)
    return next((item for item in found.items() if item[0] != searched_by), None)
