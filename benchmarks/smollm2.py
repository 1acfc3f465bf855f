"""What a real pretrained model shows: writes docs/smollm2.md.

    python -m benchmarks.smollm2 docs/smollm2.md

Every number of the page comes from runs that this command makes, or finds in its store of an
earlier call: an interrupted one goes on where it stopped. The sentences of the page are here, and
fill their numbers in from the runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from acdc_pipeline.engine import check_parity, set_up
from acdc_pipeline.evaluation import measure
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import Method, TaskSpec, find_task, method_for
from acdc_pipeline.specs.names import MetricName
from acdc_pipeline.store import RunRecord, Store, open_store
from acdc_pipeline.workflows.discovery import discover_into
from acdc_pipeline.workflows.evaluation import Evaluation
from acdc_pipeline.workflows.evaluation_plan import EvaluationPlan, evaluation_plan
from acdc_pipeline.workflows.stored_evaluation import evaluate_into
from benchmarks.real_model import fetch_model
from benchmarks.smollm2_page import (
    LEAST_FORCED_CHOICE,
    PROMPTS,
    RESAMPLES,
    SHARE,
    THRESHOLDS,
    Behaviour,
    Row,
    page,
    replace_heads,
)

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
COMPARED = (
    "eap",
    "eap-ig-inputs",
    "clean-corrupted",
    "hisp",
    "node-attribution",
    "edge-pruning",
    "subnetwork-probing",
    "random",
)
SETTINGS: dict[str, dict[str, int | float]] = {
    "edge-pruning": {"steps": 20, "learning_rate": 0.5},
    "subnetwork-probing": {"steps": 20, "learning_rate": 0.5},
}


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
        return discover_into(self.store, run, task, lambda: self.worker)[0]

    def evaluated(self, task: TaskSpec, record: RunRecord, effort: EvaluationPlan) -> Evaluation:
        """What a run's circuit is worth."""
        assert record.circuit is not None
        return evaluate_into(
            self.store, lambda: self.worker, record.spec, task, record.circuit, effort
        ).evaluation

    def resampled(self, task: TaskSpec, record: RunRecord) -> float:
        """Mean pairwise Jaccard of the search on bootstrap resamples of its prompts."""
        effort = EvaluationPlan(frozenset({"stability"}), 0, 0, 0, RESAMPLES, 0)
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
        prompts = make_prompts(task, model.tokenizer, n=4 * PROMPTS, seed=0)
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
        metrics: list[MetricName] = ["kl", task.metrics.own]
        for metric in dict.fromkeys(metrics):
            for name, size in (
                ("acdc", {"threshold": THRESHOLDS[metric]}),
                ("eap-ig-inputs", {"share": SHARE}),
            ):
                method = method_for(name, {"metric": metric, **size}, task, where="smollm2")
                bench.say(f"{task.name}: {name} by {metric}")
                record = bench.run(task, method)
                found = bench.evaluated(task, record, evaluation_plan("basic", null=10))
                again = name == "eap-ig-inputs" and metric == task.metrics.own
                jaccard = bench.resampled(task, record) if again else None
                rows.append(Row(behaviour, record, found, jaccard))
    return rows


def areas(bench: Bench, task: TaskSpec) -> list[tuple[str, RunRecord, Evaluation]]:
    """Every method on IOI by the logit difference, for CMD and CPR."""
    out = []
    for name in COMPARED:
        values = {"metric": "logit_diff", "share": SHARE, **SETTINGS.get(name, {})}
        bench.say(f"{task.name}: {name}")
        record = bench.run(task, method_for(name, values, task, where="smollm2"))
        out.append((name, record, bench.evaluated(task, record, evaluation_plan("basic", null=10))))
    return out


def profile(bench: Bench, task: TaskSpec) -> RunRecord:
    """Every head's scores on `task`, and the roles that follow from them."""
    from acdc_pipeline.specs import ProfileMethod

    bench.say(f"{task.name}: head profile")
    method = ProfileMethod.with_defaults()
    run = plan_run(
        task, bench.reference, method=method, prompts=4 * PROMPTS, seed=0, dtype="float32"
    )
    return discover_into(bench.store, run, task, lambda: bench.worker)[0]


def main() -> None:
    """Make the runs that are not in the store, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path)
    parser.add_argument("--store", default=".bench/smollm2", help="where runs are kept")
    sections = parser.add_mutually_exclusive_group()
    sections.add_argument("--without-heads", action="store_true", help="leave out the head profile")
    sections.add_argument(
        "--only-heads", action="store_true", help="write the section about heads anew, no other"
    )
    parser.add_argument("--model", help="a model reference; default: the model of `make real`")
    options = parser.parse_args()
    reference = options.model or f"gguf:{fetch_model()}"
    bench = Bench(reference, open_store(options.store, mode="write"))
    if options.only_heads:
        written = options.page.read_text(encoding="utf-8")
        profiled = [profile(bench, find_task("ioi"))]
        options.page.write_text(replace_heads(written, profiled), encoding="utf-8")
        bench.say(f"wrote {options.page}")
        return
    found, parity = behaviours(reference)
    shown = [b for b in found if b.forced_choice >= LEAST_FORCED_CHOICE]
    rows = circuits(bench, shown)
    ioi = find_task("ioi")
    compared = areas(bench, ioi)
    heads = [] if options.without_heads else [profile(bench, ioi)]
    options.page.write_text(
        page(found, parity, rows, compared, heads, " --without-heads" * options.without_heads),
        encoding="utf-8",
    )
    bench.say(f"wrote {options.page}")


if __name__ == "__main__":
    main()
