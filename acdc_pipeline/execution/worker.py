"""The worker: executes runs in this process, and keeps what the next run shares with the last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from acdc_pipeline.engine import Bench, check_parity, set_up
from acdc_pipeline.errors import ExecutionFailed, PromptError
from acdc_pipeline.evaluation import circuit_logits
from acdc_pipeline.evaluation.faithfulness import measure_values
from acdc_pipeline.execution.checkpoint import BoundCheckpoint, Checkpoint, NoCheckpoint
from acdc_pipeline.execution.circuit_record import RunFacts, circuit_record
from acdc_pipeline.execution.environment import default_budget, environment
from acdc_pipeline.execution.methods import PreparedRun, SharedWork
from acdc_pipeline.execution.own_metric import named_metric, require_function
from acdc_pipeline.execution.problem import BenchProblem
from acdc_pipeline.execution.profile_run import Profiler
from acdc_pipeline.execution.progress import Progress, Silent
from acdc_pipeline.execution.read_progress import with_reads
from acdc_pipeline.execution.report import reference_for
from acdc_pipeline.execution.result_warnings import profile_warnings, prompt_warnings
from acdc_pipeline.heads.batches import require_row
from acdc_pipeline.models import LoadedModel
from acdc_pipeline.models.device import free_memory, resolve_devices
from acdc_pipeline.models.load import load_reference
from acdc_pipeline.models.memory.held import HeldModel
from acdc_pipeline.models.mixtures import with_experts
from acdc_pipeline.prompts import PromptSet, align_ids, make_prompts
from acdc_pipeline.specs import ModelRef, ProfileMethod, RunSpec, TaskSpec, circuit_method
from acdc_pipeline.specs.names import MetricKey, Positions
from acdc_pipeline.specs.own_metric import Metric
from acdc_pipeline.store import RunRecord

if TYPE_CHECKING:
    from acdc_pipeline.execution.shards.circuit_jobs import RunJobs
    from acdc_pipeline.execution.shards.head_jobs import HeadJobs
    from acdc_pipeline.execution.shards.jobs import JobPool


@dataclass(frozen=True)
class Prepared:
    """Intermediate results that runs share if they differ only in threshold, metric or order."""

    prompts: PromptSet
    warnings: list[str]
    parity: float
    bench: Bench
    empty_logits: Float[Tensor, "answer vocab"]


class Worker:
    """Executes runs one after the other, with the model and prompts of the last run kept loaded.

    Args:
        device: device by name; with several, layers are laid over them, and the first computes.
        memory: byte budget of a search; None for half of the free memory. A model with more bytes
            of weights is read layer by layer, and layers in memory take half of the budget.
        own_metric: the metric of one's own that runs may name.
        held: a model in memory, for the runs of its revision; all others are loaded by reference.
        pool: other workers that compute independent parts of evaluations and head profiles.
        shares: whether other workers of this machine load the same models: they then share one copy
            of the weights on the CPU.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        memory: int | None = None,
        own_metric: Metric | None = None,
        held: HeldModel | None = None,
        pool: JobPool | None = None,
        shares: bool = False,
    ) -> None:
        self.device, *others = resolve_devices(device)
        self._devices = device if others else str(self.device)
        self.memory = memory
        self.own_metric = own_metric
        self.pool = pool
        self._held = held
        self._shares = shares
        self._model: LoadedModel | None = None
        self._key: tuple[str, str, str, str] | None = None
        self._prepared: Prepared | None = None
        self._prepared_for: tuple[object, ...] | None = None
        self._profiler = Profiler()
        self._halvings = 0

    @property
    def budget(self) -> int:
        """Byte budget of a search beside the weights."""
        if self.memory is None:
            return default_budget(self.device) >> self._halvings
        layered = self._model is not None and self._model.is_layered
        return (self.memory // 2 if layered else self.memory) >> self._halvings

    @property
    def halvings(self) -> int:
        """How many times the budget is halved, because memory ran out."""
        return self._halvings

    @property
    def losses(self) -> Sequence[str]:
        """What was reported of workers of the pool that died during the last run."""
        return () if self.pool is None else tuple(self.pool.losses)

    def reduce_memory(self, halvings: int) -> int:
        """Halve the full budget so many times, release what is prepared; returns the budget."""
        self._halvings = halvings
        self._prepared = self._prepared_for = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self.budget

    @property
    def held_outputs(self) -> int:
        """The most bytes of the outputs of sources that are in memory; more are spilled."""
        if self.memory is None:
            return int(free_memory(self.device) * 0.75) >> self._halvings
        return self.budget

    def bench(self, run: RunSpec, task: TaskSpec) -> Bench:
        """Return the bench of `run`: its model on its prompts. Raises like `execute`."""
        return self._prepare(self.model(run), run, task).bench

    def empty_logits(self, run: RunSpec, task: TaskSpec) -> Float[Tensor, "answer vocab"]:
        """Return the logits with every edge removed. Raises like `execute`."""
        return self._prepare(self.model(run), run, task).empty_logits

    def measure_cuts(
        self,
        run: RunSpec,
        task: TaskSpec,
        metric: MetricKey,
        masks: Sequence[Bool[np.ndarray, " edge"]],
    ) -> list[float]:
        """Return the metric of circuits, given as masks over the edges. Raises like `execute`."""
        return measure_values(self.bench(run, task), metric, masks)

    def environment_of(self, run: RunSpec) -> dict[str, str]:
        """Return the environment in records of `run`."""
        return environment(self.device, run.dtype)

    def jobs(self, run: RunSpec, task: TaskSpec) -> RunJobs | None:
        """Return the jobs of other workers on `run`; None if there are none.

        A metric of one's own, and a model in memory, stay in this process.
        """
        is_held = self._held is not None and self._held.revision == run.model_revision
        if self.pool is None or is_held or named_metric(run) is not None:
            return None
        from acdc_pipeline.execution.shards.circuit_jobs import RunJobs

        memory = self.budget if self.memory is None else self.memory
        return RunJobs(self.pool, run, task, memory)

    def prompts(self, run: RunSpec, task: TaskSpec, *, seed: int, alike: int) -> PromptSet:
        """Return as many prompts as `run` has, of another seed or in groups of `alike` roles.

        Pair files have the same prompts for every seed. Raises like `execute`.
        """
        return prompts_for(
            self.model(run),
            task,
            n=run.prompts,
            seed=seed,
            alike=alike,
            positions=run.positions,
        )

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
        shared: SharedWork | None = None,
    ) -> RunRecord:
        """Return the result of `run`, whose prompts come from `task`.

        Args:
            checkpoint: decisions of an interrupted attempt, and the place for those of this one;
                the result of a resumed search is the same to the bit.
            shared: work of runs that differ from this one in the size of the circuit alone.

        Raises:
            ExecutionFailed: the files of the model changed since the run was planned, or the
                search and its recheck disagree.
            PromptError: the prompts do not fit the tokenizer of the model, or no corrupted prompt
                differs from its clean one.
            GraphError: the published circuit of the task names edges that the model lacks.
            ParityError: the engine does not reproduce the model.
            OutOfMemoryBudget: the budget does not hold one prompt.
            InvalidInput: the run names a metric of one's own that this worker does not have, or
                whose values cannot be used.
        """
        require_function(run, self.own_metric)
        if self.pool is not None:
            self.pool.losses.clear()
        model = self.model(run)
        listener = with_reads(progress or Silent(), model.read_per_pass)
        # After loading, which other runs share.
        started = time.perf_counter()
        if isinstance(run.method, ProfileMethod):
            return self._profile(model, run, run.method, task, listener, started)
        ready = self._prepare(model, run, task)
        reference = reference_for(run, task, ready.bench.weights.topology)
        memory = self.budget
        where = environment(self.device, run.dtype)
        kept = BoundCheckpoint(checkpoint or NoCheckpoint(), {**where, "memory": str(memory)})
        problem = BenchProblem(ready.bench, memory, ready.empty_logits)
        jobs = self.jobs(run, task) if getattr(run.method, "consensus", 0) else None
        elsewhere = None if jobs is None else jobs.submit_searches
        prepared = PreparedRun(run, problem, memory, listener, kept, shared, elsewhere)
        facts = RunFacts(
            ready.prompts, ready.warnings, ready.parity, model.weights.d_model, where, started
        )
        try:
            return circuit_record(prepared, task, facts, reference, self.own_metric)
        finally:
            if jobs is not None:
                jobs.pool.close()

    def _head_jobs(self, run: RunSpec, task: TaskSpec) -> HeadJobs | None:
        if (jobs := self.jobs(run, task)) is None:
            return None
        from acdc_pipeline.execution.shards.head_jobs import HeadJobs

        return HeadJobs(jobs)

    def _profile(
        self,
        model: LoadedModel,
        run: RunSpec,
        method: ProfileMethod,
        task: TaskSpec,
        progress: Progress,
        started: float,
    ) -> RunRecord:
        try:
            prompts = prompts_for(model, task, n=run.prompts, seed=run.seed, positions="spans")
        except PromptError:  # no spans, or none under this tokenizer: heads are profiled without
            prompts = prompts_for(model, task, n=run.prompts, seed=run.seed)
        parity = check_parity(model, prompts.clean, prompts.lengths)
        profile, metrics = self._profiler.profile(
            model, run, method, task, prompts, self.budget, progress, self._head_jobs(run, task)
        )
        return RunRecord(
            spec=run,
            circuit=None,
            decisions=(),
            metrics=metrics,
            details={
                "warnings": profile_warnings(prompts, metrics) + profile.document["warnings"],
                "n_layers": model.topology.n_layers,
                "n_heads": model.topology.n_heads,
                **({"layers": list(layers)} if (layers := model.topology.layers) else {}),
                "d_model": model.weights.d_model,
                "prompts_clean": list(prompts.clean_text[:4]),
                "prompts_corrupted": list(prompts.corrupted_text[:4]),
            },
            wall_seconds=time.perf_counter() - started,
            environment=environment(self.device, run.dtype),
            parity_error=parity,
            heads=profile.scores,
            profile=dict(profile.document),
        )

    def _prepare(self, model: LoadedModel, run: RunSpec, task: TaskSpec) -> Prepared:
        ablation = circuit_method(run.method).ablation
        key = (self._key, run.task_hash, run.prompts, run.seed, ablation)
        key = (*key, run.positions, run.spans_hash)
        if self._prepared is None or self._prepared_for != key:
            self._prepared = self._prepared_for = None
            prompts = prompts_for(
                model, task, n=run.prompts, seed=run.seed, positions=run.positions
            )
            require_row(model.weights, prompts.clean.shape[1], self.budget)
            warnings = prompt_warnings(run, prompts)
            parity = check_parity(model, prompts.clean, prompts.lengths)
            bench = set_up(model.weights, prompts, ablation, self.own_metric, self.held_outputs)
            empty = circuit_logits(bench, ())
            self._prepared = Prepared(prompts, warnings, parity, bench, empty)
            self._prepared_for = key
        return self._prepared

    def model(self, run: RunSpec) -> LoadedModel:
        """Load the model of `run`. Raises like `execute`."""
        key = (run.model, run.model_revision, run.dtype, run.experts)
        if self._model is None or self._key != key:
            self._model = self._key = self._prepared = None
            held = self._held
            if held is not None and held.revision == run.model_revision:
                model = held.load(run.dtype, self._devices)
            else:
                memory = free_memory(self.device) if self.memory is None else self.memory
                ref, device = ModelRef.parse(run.model), self._devices
                model = load_reference(ref, run.dtype, device, memory, shares=self._shares)
            if model.revision != run.model_revision:
                raise ExecutionFailed(
                    f"the files of {run.model} changed since this run was planned",
                    fix="run the command again",
                )
            self._model, self._key = with_experts(model, run.experts), key
        return self._model


def prompts_for(
    model: LoadedModel,
    task: TaskSpec,
    *,
    n: int,
    seed: int,
    alike: int = 1,
    positions: Positions = "none",
) -> PromptSet:
    """Return `n` prompts of `task`; those of token ids also for a model without a tokenizer.

    Arguments and errors are those of `make_prompts`.
    """
    if model.tokenizer is None:
        vocab, vocab_out = model.weights.w_e.shape[0], model.weights.w_u.shape[1]
        return align_ids(
            task,
            vocab=vocab,
            vocab_out=vocab_out,
            n=n,
            model=str(model.ref),
            positions=positions,
        )
    return make_prompts(task, model.tokenizer, n=n, seed=seed, alike=alike, positions=positions)
