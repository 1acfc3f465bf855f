"""The Python front door: what `acdc discover` and `acdc evaluate` do, as functions."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.found_circuit import FoundCircuit, found_circuit
from acdc_pipeline.graph import Circuit
from acdc_pipeline.search_bar import bar_where_seen
from acdc_pipeline.specs import CircuitMethod, ModelRef, TaskSpec, find_task, method_for
from acdc_pipeline.store import Store, open_store
from acdc_pipeline.workflows.discovery import discover_into, run_of_circuit
from acdc_pipeline.workflows.evaluate import evaluate as measured
from acdc_pipeline.workflows.evaluation import Evaluation, evaluation_plan


def discover(
    task: TaskSpec | str,
    model: ModelRef | str,
    *,
    method: CircuitMethod | str = "acdc",
    prompts: int = 64,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "auto",
    memory: int | None = None,
    store: Store | Path | str | None = None,
    progress: Progress | Literal["auto"] | None = "auto",
    **parameters: float | int | str | None,
) -> FoundCircuit:
    """Find the circuit of `task` in `model`.

        discover("ioi", "zoo:gpt2-4l-s0", threshold=0.01)
        discover("ioi", "zoo:gpt2-4l-s0", method="eap-ig-inputs", edges=60)

    Args:
        task: a task, its name, a task folder, or a `.jsonl` of prompt pairs.
        model: `zoo:NAME`, `hf:ORG/NAME[@REVISION]`, `dir:PATH` or `gguf:FILE`.
        method: its name, or a whole method.
        prompts: how many prompt pairs; fewer where a file of pairs holds fewer.
        seed: of everything that is drawn.
        dtype: float32 or float64.
        device: auto, cpu, cuda[:i] or mps.
        memory: byte budget of the search; None takes half of what is free.
        store: where to look the run up and to keep it, opened or as a folder or URL; None keeps
            nothing.
        progress: told how far the search is; `auto` shows a bar in a notebook and on a terminal,
            None shows nothing.
        parameters: of the method, for which the command line has options; those left out or None
            have their usual values, such as `metric`, which the task knows.

    Returns:
        the circuit, which draws, exports and evaluates itself. Its `run` has the decisions, the
        metrics and the environment; `warnings` says what makes it mean little, and
        `run.details["reference"]` how much of the task's published circuit was found.

    Raises:
        InvalidInput: something asked for does not exist or does not fit, see `errors`.
        ExecutionFailed: the run did not finish.
    """
    if memory is not None and (not isinstance(memory, int) or memory < 1):
        raise InvalidInput(
            f"{memory!r} is not an amount of memory",
            where="discover",
            field="memory",
            allowed="a whole number of bytes, at least 1",
        )
    spec = find_task(task) if isinstance(task, str) else task
    if isinstance(method, str):
        given = {name: value for name, value in parameters.items() if value is not None}
        chosen = method_for(method, given, spec, where="discover")
    elif parameters:
        raise InvalidInput(
            "a whole method has its parameters already", where="discover", field=min(parameters)
        )
    else:
        chosen = method
    listener = bar_where_seen() if progress == "auto" else progress
    run = plan_run(spec, model, method=chosen, prompts=prompts, seed=seed, dtype=dtype)
    results = open_store(store, mode="write") if isinstance(store, str | Path) else store
    make_worker = worker_factory(device, memory)
    if results is None:
        return found_circuit(make_worker().execute(run, spec, listener), spec, None)
    record, _ = discover_into(results, run, spec, make_worker, listener)
    return found_circuit(record, spec, results)


def evaluate(
    circuit: Circuit,
    task: TaskSpec | str,
    model: ModelRef | str,
    *,
    metric: str | None = None,
    ablation: str = "corrupted",
    prompts: int = 64,
    seed: int = 0,
    dtype: str = "float32",
    scope: Literal["basic", "full"] = "basic",
    null: int | None = None,
    draws: int | None = None,
    restarts: int | None = None,
    device: str = "auto",
    memory: int | None = None,
) -> Evaluation:
    """What a circuit that no search of this package found is worth: see `FoundCircuit.evaluate`.

        part = Circuit.of(load_model("zoo:attn-2l").topology, ["input->a0.h0<v>", "a0.h0->logits"])
        evaluate(part, "induction", "zoo:attn-2l").faithfulness

    Args:
        circuit: of the graph of `model`.
        task: a task, its name, a task folder, or a `.jsonl` of prompt pairs.
        model: `zoo:NAME`, `hf:ORG/NAME[@REVISION]`, `dir:PATH` or `gguf:FILE`.
        metric: what is measured; None takes the task's.
        ablation: what a removed edge carries: corrupted, zero or mean.
        prompts: how many prompt pairs.
        seed: of everything that is drawn.
        dtype: precision of the weights.
        scope, null, draws, restarts: as for `FoundCircuit.evaluate`.
        device: auto, cpu, cuda[:i] or mps.
        memory: byte budget; None takes half of what is free.

    Raises:
        InvalidInput: something asked for does not exist or does not fit, see `errors`.
    """
    spec = find_task(task) if isinstance(task, str) else task
    run = run_of_circuit(
        circuit,
        spec,
        model,
        metric=metric,
        ablation=ablation,
        prompts=prompts,
        seed=seed,
        dtype=dtype,
    )
    effort = evaluation_plan(scope, null=null, draws=draws, restarts=restarts, seed=seed)
    return measured(Worker(device=device, memory=memory), run, spec, circuit, [], effort)
