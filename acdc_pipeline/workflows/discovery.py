"""Execute one run in this process, unless the store has it; and runs for circuits of one's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.checkpoint import Checkpoint, StoreCheckpoint
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.graph.spans import positions_of
from acdc_pipeline.models.memory.held import HeldModel
from acdc_pipeline.specs import ModelRef, RunSpec, TaskSpec, find_profile, list_tasks, method_for
from acdc_pipeline.specs.names import check_device
from acdc_pipeline.specs.own_metric import Metric
from acdc_pipeline.workflows.executors import check_resources
from acdc_pipeline.workflows.shards import check_pool, make_pool

if TYPE_CHECKING:
    from acdc_pipeline.execution.methods import SharedWork
    from acdc_pipeline.execution.progress import Progress
    from acdc_pipeline.execution.shards.worker import ShardedWorker
    from acdc_pipeline.execution.worker import Worker
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.store import RunRecord, Store

CHECKPOINT_EVERY = 60.0
"""Seconds between two checkpoints of a single run."""


def discover_into(
    store: Store,
    run: RunSpec,
    task: TaskSpec,
    make_worker: Callable[[], Worker | ShardedWorker],
    progress: Progress | None = None,
    shared: SharedWork | None = None,
    check: Callable[[RunRecord], None] = lambda record: None,
    report: Callable[[str], None] = lambda message: None,
) -> tuple[RunRecord, bool]:
    """Return the record of `run`, and whether it was in the store already.

    Readers see nothing in the store before the run is complete. A long run keeps checkpoints
    there, and resumes from them after an interruption.

    Args:
        make_worker: makes the worker, only if the store does not have the run and can be written: a
            worker needs libraries that take seconds to import.
        shared: work of runs that differ from this one in the size of the circuit alone.
        check: raises an error if a stored record cannot be taken.
        report: receives a message before another attempt of a run whose memory ran out.

    Raises:
        StoreError: the store cannot be read or written.
        AcdcError: as `execute_alone`.
    """
    run_id = run.run_id()
    if store.has(run_id):
        record = store.get(run_id)
        check(record)
        return record, True
    store.check_writable()
    worker = make_worker()
    checkpoint = StoreCheckpoint(store, run_id, CHECKPOINT_EVERY)
    record = execute_alone(worker, run, task, progress, checkpoint, shared, report)
    store.commit(record)
    return record, False


def execute_alone(
    worker: Worker | ShardedWorker,
    run: RunSpec,
    task: TaskSpec,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    shared: SharedWork | None = None,
    report: Callable[[str], None] = lambda message: None,
) -> RunRecord:
    """Execute one run as sweeps do: with less memory where it runs out, and lost workers noted.

    Args:
        report: receives a message before another attempt.

    Raises:
        OutOfMemoryBudget: memory ran out with the least budget too.
        AcdcError: as `Worker.execute`.
    """
    from acdc_pipeline.execution.out_of_memory import try_in_memory

    def attempt() -> RunRecord:
        return worker.execute(run, task, progress, checkpoint, shared)

    def again(message: str) -> None:
        if shared is not None:
            shared.decisions = None  # they take memory, of the budget that was too large
        report(message)

    return try_in_memory(worker, run, attempt, again)


def worker_factory(
    device: str = "auto",
    memory: int | None = None,
    threads: int | None = None,
    model: ModelRef | HeldModel | None = None,
    own_metric: Metric | None = None,
    shards: int | None = None,
    report: Callable[[str], None] = lambda message: None,
    profile: str | None = None,
) -> Callable[[], Worker]:
    """Return a function that makes a worker at its first call, and returns the same one after.

    Args:
        memory: byte budget of a search; None for half of the free memory.
        threads: CPU threads of torch; None for torch's own choice.
        model: a model in memory, which the worker uses for the runs of its revision.
        own_metric: the metric of one's own that runs may name.
        shards: the number of other processes that compute parts of evaluations and head profiles;
            None for none, or for the shards of `profile`.
        report: receives a message when one of them was lost.
        profile: name or path of the worker profile of these others, which may be Ray actors.

    Raises:
        UnknownName, SpecError: there is no such profile, or it is not valid.
        InvalidInput: the name of the device is unknown, an amount is not valid, or the profile has
            no shards. Whether this machine has the device is known once the worker is made.
    """
    place = None if profile is None else find_profile(profile)
    if place is not None:
        shards = place.shards if shards is None else shards
        memory = place.memory if memory is None else memory
        if shards is None:
            raise InvalidInput(
                "is for one worker: it has no shards",
                where=f"worker profile {profile}",
                fix="write shards: N in it, or give a number of them (--shards N)",
            )
    check_device(device)
    check_resources(memory, threads)
    check_pool(shards, model)

    @cache
    def make() -> Worker:
        import torch

        from acdc_pipeline.execution.worker import Worker

        pool = make_pool(shards, device, threads, report, place)
        if threads is not None:
            torch.set_num_threads(threads)
        held = model if isinstance(model, HeldModel) else None
        return Worker(device=device, memory=memory, own_metric=own_metric, held=held, pool=pool)

    return make


def profile_tasks(model: str) -> list[str]:
    """Return the tasks on which heads of `model` are profiled by default.

    These are the tasks that a zoo model was trained on, and `induction` for any other model.
    """
    if model.startswith("zoo:"):
        from acdc_pipeline.models.zoo import claimed_tasks

        known = list_tasks()
        if claimed := [t for t in claimed_tasks(model.removeprefix("zoo:")) if t in known]:
            return claimed
    return ["induction"]


def run_of_circuit(
    circuit: Circuit,
    task: TaskSpec,
    model: ModelRef | HeldModel | str,
    *,
    metric: str | None,
    ablation: str | None,
    prompts: int,
    seed: int,
    dtype: str,
    written: Callable[[str], str] = str,
) -> RunSpec:
    """Return the run under which a circuit that no search found is measured.

    Args:
        ablation: what a removed edge carries; None for `corrupted`.
        written: how errors write the name of a parameter.

    Raises:
        SpecError: a value is not valid.
        UnsupportedModel, UnknownName, InvalidInput: as `plan_run`.
    """
    given = {"metric": metric, "ablation": ablation, "edges": max(1, len(circuit))}
    values = {name: value for name, value in given.items() if value is not None}
    method = method_for("exact", values, task, where="evaluate", written=written)
    return plan_run(
        task,
        model,
        method=method,
        prompts=prompts,
        seed=seed,
        dtype=dtype,
        experts="nodes" if circuit.topology.experts else "layer",
        positions=positions_of(circuit.topology.spans),
    )
