"""Evaluations that were interrupted, and ones that share parts with others of the same run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.specs import find_task
from acdc_pipeline.store import RunRecord, Store, open_store
from acdc_pipeline.workflows import stored_evaluation
from acdc_pipeline.workflows.discovery import discover_into
from acdc_pipeline.workflows.evaluation_plan import EvaluationPlan, evaluation_plan
from acdc_pipeline.workflows.kept_evaluation import stored_figures
from acdc_pipeline.workflows.stored_evaluation import Answer, evaluation_figures
from tests import records

TASK = find_task("compiled_or")
SMALL = evaluation_plan("full", null=3, draws=1, restarts=1, resamples=2)


@dataclass
class Listener:
    """Remembers the parts that are measured; stops the evaluation at one of them."""

    stop_at: str = ""
    parts: list[str] = field(default_factory=list)

    def part(self, name: str, number: int, of: int) -> None:
        if name == self.stop_at:
            raise KeyboardInterrupt
        self.parts.append(name)

    def share(self, done: float) -> None:
        pass


@pytest.fixture(scope="module")
def worker() -> Worker:
    return Worker(device="cpu")


def store_with_run(folder: Path, worker: Worker) -> tuple[Store, RunRecord]:
    store = open_store(folder, mode="write")
    run = plan_run(
        TASK,
        "zoo:compiled-or",
        method=records.spec().method.model_copy(update={"threshold": 0.1}),
        prompts=16,
        seed=0,
        dtype="float32",
    )
    return store, discover_into(store, run, TASK, lambda: worker)[0]


def evaluated(
    store: Store, record: RunRecord, worker: Worker, effort: EvaluationPlan, listener: Listener
) -> Answer:
    assert record.circuit is not None
    return stored_evaluation.evaluate_into(
        store, lambda: worker, record.spec, TASK, record.circuit, effort, listener
    )


def test_interrupted_evaluation_goes_on_after_the_parts_that_were_done(
    tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stored_evaluation, "KEPT_EVERY", 0.0)
    store, record = store_with_run(tmp_path / "interrupted", worker)
    first, second = Listener(stop_at="minimality"), Listener()
    with pytest.raises(KeyboardInterrupt):
        evaluated(store, record, worker, SMALL, first)
    cheap = ["faithfulness", "curve", "null", "ablations"]
    assert first.parts == [*cheap, "completeness", "worst knockouts"]
    resumed = evaluated(store, record, worker, SMALL, second)
    assert second.parts == [
        "faithfulness",
        "minimality",
        "causal scrubbing",
        "fresh prompts",
        "stability",
        "transfer",
    ]
    fresh, same = store_with_run(tmp_path / "fresh", worker)
    whole = evaluated(fresh, same, worker, SMALL, Listener())
    assert evaluation_figures(resumed.evaluation) == evaluation_figures(whole.evaluation)
    assert evaluated(store, record, worker, SMALL, Listener()).cached
    assert record.circuit is not None
    kept = stored_figures(store, record.spec, record.circuit, SMALL)
    again = evaluated(store, record, worker, SMALL, Listener())
    # in the same order too: `--json` prints the same text
    assert json.dumps(kept) == json.dumps(evaluation_figures(again.evaluation))


def test_parts_of_another_evaluation_are_taken_where_seed_and_amount_agree(
    tmp_path: Path, worker: Worker
):
    store, record = store_with_run(tmp_path / "store", worker)
    evaluated(store, record, worker, evaluation_plan("basic", null=3), Listener())
    more = Listener()
    evaluated(store, record, worker, evaluation_plan("basic", null=3, restarts=1), more)
    assert more.parts == ["faithfulness", "worst knockouts"]
    other_amount, other_seed = Listener(), Listener()
    evaluated(store, record, worker, evaluation_plan("basic", null=4), other_amount)
    assert other_amount.parts == ["faithfulness", "null"]
    effort = replace(evaluation_plan("basic", null=3), seed=1)
    evaluated(store, record, worker, effort, other_seed)
    assert other_seed.parts == ["faithfulness", "curve", "null", "ablations"]


def test_stored_evaluation_is_read_without_a_worker(tmp_path: Path, worker: Worker):
    def no_worker() -> Worker:
        raise AssertionError("nothing is measured")

    store, record = store_with_run(tmp_path, worker)
    plan = evaluation_plan("basic", null=1)
    measured = evaluated(store, record, worker, plan, Listener())
    assert record.circuit is not None
    again = stored_evaluation.evaluate_into(
        store, no_worker, record.spec, TASK, record.circuit, plan
    )
    assert (measured.cached, again.cached) == (False, True)
    assert evaluation_figures(again.evaluation) == evaluation_figures(measured.evaluation)


@pytest.mark.parametrize("name", ["metric", "task_metric", "metrics", "curve", "edges_kept"])
def test_evaluation_without_a_figure_of_every_evaluation_counts_as_absent_and_is_replaced(
    tmp_path: Path, worker: Worker, name: str
):
    """Such as of another program, which writes the right hash."""
    store, record = store_with_run(tmp_path, worker)
    plan = evaluation_plan("basic", null=1, ablations=["none"])
    evaluated(store, record, worker, plan, Listener())
    run_id = record.spec.run_id()
    (kept,) = store.evaluations([run_id]).by_run[run_id]
    figures = {key: value for key, value in kept.figures.items() if key != name}
    store.add_evaluation(replace(kept, figures={**figures, "of_another_program": 1}))
    assert not evaluated(store, record, worker, plan, Listener()).cached
    store.add_evaluation(replace(kept, figures={**kept.figures, "of_another_program": 1}))
    assert record.circuit is not None
    found = stored_figures(store, record.spec, record.circuit, plan)
    assert found is not None
    assert list(found)[-1] == "of_another_program"
