"""Runs executed in this process, with the model kept loaded from one run to the next."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms import AcdcResult, acdc
from acdc_pipeline.engine import Bench, check_parity, set_up
from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.evaluation import circuit_logprobs, measure, objective_for
from acdc_pipeline.execution.doubts import doubts_about_prompts, doubts_about_result
from acdc_pipeline.execution.environment import environment
from acdc_pipeline.execution.memory import default_budget
from acdc_pipeline.execution.progress import Progress, Silent
from acdc_pipeline.execution.reference import agreement, reference_for
from acdc_pipeline.graph import Decision, Receiver, Topology
from acdc_pipeline.graph.order import HeadOrder, receivers_backwards
from acdc_pipeline.metrics import METRICS
from acdc_pipeline.models import LoadedModel, load_model, resolve_device
from acdc_pipeline.prompts import PromptSet, id_prompts, make_prompts
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.specs.names import MetricName
from acdc_pipeline.store import RunRecord

# The search's last value and a forward over the whole circuit must agree to this, in units of
# the metric: float32 sums in another order differ by about 1e-6.
RECHECK_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Prepared:
    """What runs share that differ in threshold, metric or order alone.

    Args:
        prompts: the task's, under the model's tokenizer.
        doubts: what there is to say against them.
        parity: relative error of the engine's clean logits.
        bench: the clean and the ablated run.
        nothing: log-probabilities at the answers with every edge removed.
    """

    prompts: PromptSet
    doubts: list[str]
    parity: float
    bench: Bench
    nothing: Float[Tensor, "answer vocab"]


class Worker:
    """Executes runs one after the other; what the next run shares with the last is kept.

    Args:
        device: auto, cpu, cuda[:i] or mps.
        memory: byte budget of a search; None takes half of what is free.
    """

    def __init__(self, *, device: str = "auto", memory: int | None = None) -> None:
        self.device = resolve_device(device)
        self.memory = memory
        self._model: LoadedModel | None = None
        self._key: tuple[str, str, str] | None = None
        self._prepared: Prepared | None = None
        self._prepared_for: tuple[object, ...] | None = None

    def execute(self, run: RunSpec, task: TaskSpec, progress: Progress | None = None) -> RunRecord:
        """The result of `run`, whose prompts come from `task`.

        Raises:
            ExecutionFailed: the model's files changed since the run was planned, or the search
                and its recheck disagree.
            PromptError: the task's prompts do not fit the model's tokenizer, or no corrupted side
                differs from its clean one.
            GraphError: the task's published circuit names edges that the model does not have.
            ParityError: the engine does not reproduce the model.
        """
        started = time.perf_counter()
        listener = progress or Silent()
        model = self._load(run)
        reference = reference_for(run, task, model.topology)
        ready = self._prepare(model, run, task)
        prompts = ready.prompts
        result = self._search(run, ready.bench, listener)
        metrics, recheck = _report(run, task, ready, result)
        circuit = result.circuit
        return RunRecord(
            spec=run,
            circuit=circuit,
            decisions=result.decisions,
            metrics=metrics,
            details={
                "edges_tested": len(result.decisions),
                "edges_on_a_path": len(circuit.live_edges),
                "smallest_margin": result.smallest_margin,
                "recheck_error": recheck,
                "warnings": ready.doubts + doubts_about_result(run, circuit, metrics),
                "reference": None if reference is None else agreement(circuit, reference),
                "d_model": model.weights.w_e.shape[1],
                "prompts_clean": list(prompts.clean_text[:4]),
                "prompts_corrupted": list(prompts.corrupted_text[:4]),
            },
            wall_seconds=time.perf_counter() - started,
            environment=environment(self.device, run.dtype),
            parity_error=ready.parity,
        )

    def _prepare(self, model: LoadedModel, run: RunSpec, task: TaskSpec) -> Prepared:
        key = (self._key, run.task_hash, run.prompts, run.seed, run.method.ablation)
        if self._prepared is None or self._prepared_for != key:
            self._prepared = self._prepared_for = None
            prompts = _prompts(model, run, task)
            doubts = doubts_about_prompts(run, prompts)
            parity = check_parity(model, prompts.clean, prompts.lengths)
            bench = set_up(model.weights, prompts, run.method.ablation)
            nothing = circuit_logprobs(bench, ())
            self._prepared = Prepared(prompts, doubts, parity, bench, nothing)
            self._prepared_for = key
        return self._prepared

    def _load(self, run: RunSpec) -> LoadedModel:
        key = (run.model, run.model_revision, run.dtype)
        if self._model is None or self._key != key:
            self._model = self._key = self._prepared = None
            model = load_model(run.model, dtype=run.dtype, device=str(self.device))
            if model.revision != run.model_revision:
                raise ExecutionFailed(
                    f"the files of {run.model} changed since this run was planned",
                    fix="run the command again",
                )
            self._model, self._key = model, key
        return self._model

    def _search(self, run: RunSpec, bench: Bench, progress: Progress) -> AcdcResult:
        topology = bench.weights.topology
        memory = self.memory if self.memory is not None else default_budget(self.device)
        counter = _Counter(progress, topology, run.method.order)
        progress.start(topology.n_edges, f"{run.task} on {run.model}")
        try:
            with torch.no_grad():
                return acdc(
                    bench.search(objective_for(bench, run.method.metric), memory=memory),
                    topology,
                    threshold=run.method.threshold,
                    order=run.method.order,
                    difference=run.method.difference,
                    on_decision=counter,
                )
        finally:
            progress.finish()


def _prompts(model: LoadedModel, run: RunSpec, task: TaskSpec) -> PromptSet:
    if model.tokenizer is None:
        vocab = model.weights.w_e.shape[0]
        return id_prompts(task, vocab=vocab, n=run.prompts, model=str(model.ref))
    return make_prompts(task, model.tokenizer, n=run.prompts, seed=run.seed)


class _Counter:
    """Turns decisions into progress. Edges of dead nodes are never tested, so `left` is a bound."""

    def __init__(self, progress: Progress, topology: Topology, order: HeadOrder) -> None:
        self.progress = progress
        self.tested = 0
        self.kept = 0
        self.left_from: dict[Receiver, int] = {}
        left = topology.n_edges
        for receiver in receivers_backwards(topology, order):
            self.left_from[receiver] = left
            left -= topology.n_sources_of(receiver)
        self.receiver: Receiver | None = None
        self.left = 0

    def __call__(self, decision: Decision) -> None:
        if decision.edge.receiver != self.receiver:
            self.receiver = decision.edge.receiver
            self.left = self.left_from[self.receiver]
        self.tested += 1
        self.left -= 1
        self.kept += not decision.removed
        self.progress.advance(self.tested, self.kept, self.left)


def _report(
    run: RunSpec, task: TaskSpec, ready: Prepared, result: AcdcResult
) -> tuple[dict[str, float], float]:
    names: list[MetricName] = list(
        dict.fromkeys(["kl", "accuracy", run.method.metric, *task.metrics.report])
    )
    # A dead node keeps the edges into it that were never tested. Nothing reads it; but where a
    # norm couples the heads of a layer, it still counts.
    removed = {decision.edge for decision in result.decisions if decision.removed}
    bench = ready.bench
    ours = circuit_logprobs(bench, bench.weights.topology.edge_set - removed)
    metrics = measure(bench, ours, names)
    whole = measure(bench, bench.logprobs, names)
    nothing = measure(bench, ready.nothing, names)
    metrics |= {f"model_{name}": value for name, value in whole.items() if name != "kl"}
    metrics |= {f"ablated_{name}": value for name, value in nothing.items()}
    return metrics, _recheck(run.method.metric, result, metrics[run.method.metric])


def _recheck(metric: MetricName, result: AcdcResult, fresh: float) -> float:
    """How far the search's last value is from a fresh forward over the whole circuit."""
    last = result.decisions[-1]
    oriented = last.metric_after if last.removed else last.metric_before
    error = abs(oriented - METRICS[metric].sign * fresh)
    if not error <= RECHECK_TOLERANCE * max(1.0, abs(fresh)):
        raise ExecutionFailed(
            f"the search ended {error:.1e} away from the {metric} of {fresh:.6g} that a fresh "
            "forward of its circuit gives",
            fix="run again with --dtype float64, and report the model",
        )
    return error
