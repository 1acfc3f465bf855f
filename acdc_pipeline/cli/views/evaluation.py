"""What was measured of a circuit, for people: from figures as a store keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from acdc_pipeline.cli.terminal.tables import Column
from acdc_pipeline.cli.terminal.words import counted, number, percent
from acdc_pipeline.specs.names import COUNTED
from acdc_pipeline.store.figures import SUPERFLUOUS

Facts = Mapping[str, Any]

STABLE = 0.8
"""Mean pairwise Jaccard from which a circuit counts as stable."""

ROUNDING = 1e-8
"""In nats: what a divergence may be off by; of two equal distributions it is this and not 0."""

CURVE_COLUMNS = (
    Column("of the graph", "number"),
    Column("edges", "number"),
    Column("faithfulness", "number"),
    Column("KL", "number"),
)


def evaluation_facts(figures: Facts) -> dict[str, str]:
    """An evaluation for people: the circuit itself, and what else was measured.

    Args:
        figures: as in `StoredEvaluation.figures`; what is None there was not measured and has no
            line.
    """
    edges = {"edges": f"{figures['edges_kept']} of {figures['edges_total']}"}
    return edges | _itself(figures) | measured_facts(figures)


def measured_facts(figures: Facts) -> dict[str, str]:
    """What was measured beside the circuit itself, for people."""
    lines: dict[str, str] = {}
    if (null := figures.get("null")) is not None:
        lines["null"] = "\n".join(
            _null_text(name, one) for name, one in null["metrics"].items() if one["faithfulness"]
        )
    if figures.get("cpr") is not None:
        lines["CPR"] = f"{number(figures['cpr'])} (area under the curve; higher is better)"
        lines["CMD"] = f"{number(figures['cmd'])} (area between the curve and 1; lower is better)"
    lines |= _knocked_out(figures) | _searched_again(figures)
    if figures.get("auc") is not None:
        lines["AUC"] = f"{number(figures['auc'])} against the known circuit, pessimistic"
    return lines


def curve_rows(figures: Facts) -> list[dict[str, str]]:
    """The curve as rows of a table, with a dash where no circuit is that small."""
    return [
        {
            "of the graph": f"{point['fraction'] * 100:g}%",
            "edges": "–" if point["edges"] is None else str(point["edges"]),
            "faithfulness": number(point["faithfulness"]),
            "KL": number(_rounded(point["kl"])),
        }
        for point in figures.get("curve") or ()
    ]


def _rounded(kl: float | None) -> float | None:
    return 0.0 if kl is not None and abs(kl) < ROUNDING else kl


def _itself(figures: Facts) -> dict[str, str]:
    """The circuit in every metric, with the model's own value beside."""
    lines: dict[str, str] = {}
    metrics = figures["metrics"]
    first = (figures["metric"], "kl", figures["task_metric"])
    faithful = {
        name: metrics[name]["faithfulness"]
        for name in dict.fromkeys((*first, *metrics))
        if name in metrics and name not in COUNTED
    }
    lines["faithfulness"] = ", ".join(f"{number(v)} in {name}" for name, v in faithful.items())
    for name in faithful:
        one = metrics[name]
        whole = "" if name == "kl" else f"model {number(one['model'])}, "
        lines["KL" if name == "kl" else name] = (
            f"{number(one['circuit'])} ({whole}nothing {number(one['ablated'])})"
        )
    for name in COUNTED:
        one = metrics.get(name)
        lines[name.replace("_", " ")] = (
            percent(None)
            if one is None
            else f"{percent(one['circuit'])} (model {percent(one['model'])}, "
            f"nothing {percent(one['ablated'])})"
        )
    return lines


def _null_text(name: str, one: Facts) -> str:
    values = one["faithfulness"]
    circuits = counted(len(values), "random circuit")
    return (
        f"in {name} above {percent(one['percentile'])} of {circuits} of its size "
        f"(their median {number(median(values))})"
    )


def _knocked_out(figures: Facts) -> dict[str, str]:
    """What taking nodes away does."""
    lines: dict[str, str] = {}
    if knockouts := figures.get("completeness"):
        worst = max(knockouts, key=_incompleteness)
        lines["completeness"] = (
            f"circuit and model differ by {percent(fmean(map(_incompleteness, knockouts)))} on "
            "average with the same nodes removed, "
            f"at most {percent(_incompleteness(worst))} ({_named(worst['parts'])})"
        )
    if found := figures.get("worst_knockouts"):
        worst = max(found, key=_incompleteness)
        lines["worst knockout"] = (
            f"{percent(_incompleteness(worst))} ({_named(worst['parts'])}), the worst that a "
            f"greedy search finds from {counted(len(found), 'start')}"
        )
    if needs := figures.get("minimality"):
        idle = [need["part"] for need in needs if need["score"] < SUPERFLUOUS]
        lines["minimality"] = f"{len(needs) - len(idle)} of {len(needs)} nodes matter"
        if idle:
            lines["minimality"] += f"; superfluous: {_named(idle)}"
    return lines


def _searched_again(figures: Facts) -> dict[str, str]:
    """What other prompts do."""
    lines: dict[str, str] = {}
    if (scrubbed := figures.get("causal_scrubbing")) is not None:
        lines["causal scrubbing"] = (
            f"{percent(scrubbed['recovered'])} of {scrubbed['metric']} recovered "
            f"(95% interval {percent(scrubbed['low'])} to {percent(scrubbed['high'])}; "
            f"{percent(scrubbed['exchangeable'])} of prompts exchanged inside too)"
        )
    elif figures.get("not_scrubbed") is not None:
        lines["causal scrubbing"] = f"not done: {figures['not_scrubbed']}"
    if (fresh := figures.get("fresh_prompts")) is not None:
        lines["fresh prompts"] = f"faithfulness {number(fresh)} on prompts of another seed"
    if (stable := figures.get("stability")) is not None:
        word = "stable" if stable["jaccard"] >= STABLE else "not stable"
        lines["stability"] = (
            f"Jaccard {number(stable['jaccard'])} over "
            f"{counted(len(stable['sizes']), 'resample')} of the prompts: {word} (from {STABLE})"
        )
    if (moved := figures.get("transfer")) is not None:
        lines["transfer"] = (
            f"found on every second of the {moved['by']}: faithfulness {number(moved['seen'])} "
            f"there, {number(moved['unseen'])} on the others"
        )
    return lines


def _incompleteness(knockout: Facts) -> float:
    return knockout["incompleteness"]


def _named(parts: Sequence[str]) -> str:
    if not parts:
        return "nothing removed"
    more = f" and {len(parts) - 5} more" if len(parts) > 5 else ""
    return ", ".join(parts[:5]) + more
