"""The smallest circuit that reaches a faithfulness, against searches at every threshold or size."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from acdc_pipeline import Metric, discover
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation import measure_scale
from acdc_pipeline.evaluation.faithfulness import measure_value
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph.cut import cut
from acdc_pipeline.models.zoo.compiled import true_circuit
from acdc_pipeline.specs import (
    RunSpec,
    ScoredMethod,
    TaskSpec,
    circuit_method,
    find_task,
    method_for,
)
from acdc_pipeline.store import RunRecord, Store, open_store
from acdc_pipeline.workflows.faithful import (
    ROUNDING,
    FaithfulRun,
    Trial,
    TrialListener,
    discover_faithful,
)
from acdc_pipeline.workflows.size_search import grid_index, grid_threshold, starting_size
from tests import checkpoints
from tests.unit.workflows.test_size_search import first_on_the_grid_then_smallest_between

TARGETS = (0.3, 0.8, 0.95)


class Setting:
    """A tiny model of random weights on three prompt pairs, in float32."""

    def __init__(self, folder: Path) -> None:
        generator = torch.Generator().manual_seed(1)
        tokens = torch.randint(checkpoints.VOCAB, (3, 2, 6), generator=generator).tolist()
        pairs = folder / "mine.jsonl"
        pairs.write_text(
            "\n".join(
                json.dumps({"clean": clean, "corrupted": other, "correct": 3, "incorrect": [4]})
                for clean, other in tokens
            )
        )
        self.task: TaskSpec = find_task(pairs)
        self.model = f"dir:{checkpoints.gpt2(folder / 'model')}"
        self.worker = Worker(device="cpu", memory=2**30)
        self.alone = cache(self._alone)

    def run(self, method: str, **parameters: Any) -> RunSpec:
        chosen = method_for(method, parameters, self.task, where="test")
        return plan_run(self.task, self.model, method=chosen, prompts=3, seed=0, dtype="float32")

    def _alone(self, threshold: float) -> RunRecord:
        """A search of its own, in a worker that shares nothing."""
        return self.worker.execute(self.run("acdc", threshold=threshold), self.task)

    def find(
        self,
        method: str,
        target: float,
        store: Store | None = None,
        worker: Callable[[], Worker] | None = None,
        listener: TrialListener | None = None,
        **parameters: Any,
    ) -> FaithfulRun:
        run = self.run(method, **starting_size(method), **parameters)
        make = worker or (lambda: self.worker)
        return discover_faithful(run, self.task, target, store, make, None, listener)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(tmp_path_factory.mktemp("faithful"))


def faithfulness(record: RunRecord) -> float:
    return record.details["faithfulness"]


def kept(record: RunRecord) -> int:
    assert record.circuit is not None
    return len(record.circuit)


@pytest.mark.parametrize("target", TARGETS)
def test_threshold_found_is_the_last_that_reaches_before_a_circuit_that_does_not(
    setting: Setting, target: float
):
    found = setting.find("acdc", target)
    method = found.record.spec.method
    assert method.name == "acdc"
    assert faithfulness(found.record) >= target - ROUNDING
    reaching = [trial for trial in found.trials if trial.faithfulness >= target - ROUNDING]
    assert kept(found.record) == min(trial.edges for trial in reaching)
    # the largest threshold that reached, and what the next other circuit of the grid gives
    last = max(trial.threshold or 0 for trial in reaching)
    circuit, index = setting.alone(last).circuit, grid_index(last)
    while (above := setting.alone(grid_threshold(index))).circuit == circuit:
        index += 1
    assert faithfulness(above) < target


@pytest.mark.parametrize("target", [0.8, 0.95])
def test_no_threshold_of_the_grid_has_a_smaller_circuit_where_faithfulness_falls(
    setting: Setting, target: float
):
    found = setting.find("acdc", target)
    scale = measure_scale(setting.worker.bench(found.record.spec, setting.task), "kl")
    grid = range(grid_index(scale.span * 5e-3), grid_index(scale.span))
    every = [setting.alone(grid_threshold(index)) for index in grid]
    reached = [faithfulness(record) >= target - ROUNDING for record in every]
    sizes = [kept(record) for record in every]
    assert (reached[0], reached[-1]) == (True, False)
    assert reached == sorted(reached, reverse=True), "the premise"
    assert sizes == sorted(sizes, reverse=True), "the premise"
    best = min(size for size, enough in zip(sizes, reached, strict=True) if enough)
    assert kept(found.record) == best


@pytest.mark.parametrize("target", TARGETS)
def test_every_threshold_tried_has_the_run_of_a_search_of_its_own(
    setting: Setting, target: float, tmp_path: Path
):
    store = open_store(tmp_path / "s", mode="write")
    found = setting.find("acdc", target, store)
    assert len(found.trials) >= 3
    for trial in found.trials:
        assert trial.threshold is not None
        alone = setting.alone(trial.threshold)
        assert trial.run_id == alone.spec.run_id()
        assert trial.run_id is not None
        stored = store.get(trial.run_id)
        assert stored.decisions == alone.decisions
        assert stored.circuit == alone.circuit
        assert stored.metrics == alone.metrics
        assert stored.details == alone.details
        assert (trial.edges, trial.faithfulness) == (kept(alone), faithfulness(alone))
    assert sorted(store.run_ids()) == sorted(trial.run_id or "" for trial in found.trials)
    assert found.record.spec.run_id() in store.run_ids()


class Counting(Worker):
    """A worker that counts its searches."""

    executed = 0

    def execute(self, *arguments: Any, **named: Any) -> RunRecord:
        self.executed += 1
        return super().execute(*arguments, **named)


class StopsAfter(TrialListener):
    """A listener that is interrupted at a trial."""

    def __init__(self, trials: int) -> None:
        self.left = trials

    def tried(self, trial: Trial) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_interrupted_search_goes_on_from_the_store(setting: Setting, tmp_path: Path):
    store = open_store(tmp_path / "s", mode="write")
    with pytest.raises(KeyboardInterrupt):
        setting.find("acdc", 0.8, store, listener=StopsAfter(3))
    assert len(store.run_ids()) == 3
    worker = Counting(device="cpu", memory=2**30)
    resumed = setting.find("acdc", 0.8, store, lambda: worker)
    whole = setting.find("acdc", 0.8)
    assert resumed.trials == whole.trials
    assert resumed.record.circuit == whole.record.circuit
    assert worker.executed == len(whole.trials) - 3

    def forbid() -> Worker:
        raise AssertionError("a stored search needs no worker")

    again = setting.find("acdc", 0.8, store, forbid)
    assert again.cached
    assert again.trials == whole.trials


@pytest.mark.parametrize(
    ("method", "target"),
    [("exact", 0.3), ("eap-ig-inputs", 0.8), ("node-exact", 0.95), ("random", 0.8)],
)
def test_cut_found_is_the_documented_one_of_all_sizes(
    setting: Setting, method: str, target: float, tmp_path: Path
):
    store = open_store(tmp_path / "s", mode="write")
    found = setting.find(method, target, store)
    circuit, chosen = found.record.circuit, found.record.spec.method
    assert circuit is not None
    assert isinstance(chosen, ScoredMethod)
    bench = setting.worker.bench(found.record.spec, setting.task)
    scale = measure_scale(bench, "kl")
    n_edges = circuit.topology.n_edges
    cuts = {
        n: cut(circuit.topology, circuit.scores, edges=n, rank=chosen.ranking)
        for n in range(1, n_edges + 1)
    }
    enough = {
        n: scale.faithfulness(measure_value(bench, "kl", part.edges)) >= target - ROUNDING
        for n, part in cuts.items()
    }
    size = first_on_the_grid_then_smallest_between(enough, n_edges)
    assert size is not None
    assert circuit.edges == cuts[size].edges
    assert faithfulness(found.record) >= target - ROUNDING
    # the run that has this size by hand, its scores included
    alone = setting.worker.execute(setting.run(method, edges=len(circuit)), setting.task)
    assert found.record.spec == alone.spec
    stored = store.get(alone.spec.run_id())
    assert stored.circuit == alone.circuit
    assert circuit.scores == (alone.circuit or circuit).scores
    assert (stored.metrics, stored.details) == (alone.metrics, alone.details)
    first = setting.run(method).run_id()
    assert sorted(store.run_ids()) == sorted({first, alone.spec.run_id()})


def test_scores_that_depend_on_the_size_are_trained_at_every_size_tried(setting: Setting):
    found = setting.find("edge-pruning", 0.8, steps=3)
    assert isinstance(found.record.spec.method, ScoredMethod)
    assert all(trial.run_id is not None for trial in found.trials)
    reaching = [trial.edges for trial in found.trials if trial.faithfulness >= 0.8]
    assert kept(found.record) == min(reaching)
    size = found.record.spec.method.edges
    assert size is not None
    alone = setting.worker.execute(setting.run("edge-pruning", steps=3, edges=size), setting.task)
    assert alone.circuit == found.record.circuit
    assert alone.spec == found.record.spec


def test_screened_search_is_bisected_too(setting: Setting):
    found = setting.find("eap-ig-acdc", 0.3, screen=0.9)
    assert found.record.spec.method.name == "eap-ig-acdc"
    assert faithfulness(found.record) >= 0.3 - ROUNDING


def test_whole_model_is_reached_by_the_cut_of_every_edge(setting: Setting):
    found = setting.find("random", 1.0)
    assert found.record.circuit is not None
    assert faithfulness(found.record) == pytest.approx(1, abs=ROUNDING)


def test_target_that_no_threshold_reaches_is_an_error_that_names_the_best(setting: Setting):
    with pytest.raises(InvalidInput, match=r"reaches a faithfulness of 0\.999 in kl") as raised:
        setting.find("eap-ig-acdc", 0.999, screen=0.3)
    assert "at threshold" in str(raised.value)
    assert "lower the target" in str(raised.value)


def test_metric_that_no_edge_changes_is_refused(setting: Setting):
    with pytest.raises(InvalidInput, match="removing every edge leaves accuracy as it is"):
        setting.find("random", 0.9, metric="accuracy")


def test_path_that_is_not_monotone_is_recognised(setting: Setting):
    record = setting.alone(0.01)
    trials = [Trial(None, edges, value, None) for edges, value in ((3, 0.5), (5, 0.9), (8, 0.95))]
    assert FaithfulRun(record, 0.9, False, tuple(trials)).is_monotone
    trials.append(Trial(None, 6, 0.89, None))
    assert not FaithfulRun(record, 0.9, False, tuple(trials)).is_monotone


def test_discover_from_python_gives_the_circuit_and_what_was_tried():
    circuit = discover("induction", "zoo:compiled-induction", faithful=0.9, prompts=8)
    assert circuit.run.details["faithfulness"] >= 0.9
    # every true edge is needed: none is worth less than all of the faithfulness
    assert circuit.edges == true_circuit("compiled-induction", "corrupted").edges
    assert circuit.run_id in {trial.run_id for trial in circuit.trials}
    assert min(t.edges for t in circuit.trials if t.faithfulness >= 0.9) == len(circuit)


def test_discover_from_python_by_a_whole_method_is_refused(setting: Setting):
    method = circuit_method(setting.run("exact").method)
    with pytest.raises(InvalidInput, match="faithful: a whole method has its parameters already"):
        discover("induction", "zoo:compiled-induction", method=method, faithful=0.9)


@pytest.mark.parametrize("method", ["acdc", "exact"])
def test_faithfulness_is_that_in_a_metric_of_ones_own(method: str, tmp_path: Path):
    def certainty(logprobs: torch.Tensor, answers: Any) -> torch.Tensor:
        return logprobs.masked_fill(~answers.correct, -torch.inf).amax(-1)

    found = discover(
        "induction",
        "zoo:compiled-induction",
        method=method,
        metric=Metric("certainty", certainty, version=1),
        faithful=0.9,
        prompts=8,
        store=tmp_path / "s",
    )
    values = [found.metrics[f"{state}certainty@1"] for state in ("ablated_", "", "model_")]
    assert (values[1] - values[0]) / (values[2] - values[0]) >= 0.9 - ROUNDING
    assert min(t.edges for t in found.trials if t.faithfulness >= 0.9 - ROUNDING) == len(found)
