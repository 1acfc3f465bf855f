"""The public functions over a task and a model: what the commands of `acdc` do, from Python.

Each raises InvalidInput for an argument that is not valid; see `errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from acdc_pipeline.execution.progress import Progress
    from acdc_pipeline.found_circuit import FoundCircuit
    from acdc_pipeline.graph import Circuit
    from acdc_pipeline.graph.files.circuit_file import CircuitFile
    from acdc_pipeline.models.memory import MemoryModel
    from acdc_pipeline.specs import CircuitMethod, ModelRef, TaskSpec
    from acdc_pipeline.specs.own_metric import GivenMetric
    from acdc_pipeline.store import RunRecord, Store
    from acdc_pipeline.workflows.evaluation import Evaluation


def discover(
    task: TaskSpec | Path | str | Any,
    model: ModelRef | MemoryModel | str,
    method: CircuitMethod | str = "acdc",
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    metric: GivenMetric = None,
    prompts: int = 64,
    seed: int = 0,
    dtype: str | torch.dtype = "float32",
    device: str = "auto",
    memory: int | None = None,
    store: Store | Path | str | None = None,
    progress: Progress | Literal["auto"] | None = "auto",
    faithful: float | None = None,
    shards: int | None = None,
    experts: Literal["layer", "nodes"] = "layer",
    positions: Literal["none", "spans", "tokens"] = "none",
    **parameters: float | int | str | None,
) -> FoundCircuit:
    """Find the circuit of `task` in `model`.

        discover("ioi", "zoo:gpt2-4l-s0", threshold=0.01)
        discover("ioi", "zoo:gpt2-4l-s0", method="eap-ig-inputs", edges=60)
        discover("ioi", "zoo:gpt2-4l-s0", faithful=0.9)

    Args:
        task: a task, its name, a task folder, or a `.jsonl` of prompt pairs; or pairs or a table,
            as `Task.from_pairs` takes them without other arguments.
        model: `zoo:NAME`, `hf:ORG/NAME[@REVISION]`, `dir:PATH` or `gguf:FILE`; or a model in
            memory, which is not changed: a `TransformerBridge`, a `PreTrainedModel` of
            transformers, or what `load_model` returned.
        tokenizer: tokenizer of a model in memory; None for that of a bridge, else none. Without
            one, only prompts of token ids can be read.
        method: name of the method, or a method with all its parameters.
        metric: name of a metric, a `Metric`, or a function as in `Metric` (higher is better); None
            for the task's. A function without a version cannot go with a store.
        prompts: number of prompt pairs; fewer where a file of pairs holds fewer.
        seed: seed of all random draws.
        dtype: float32, float64, bfloat16 or float16, by name or as a type of torch.
        device: auto, cpu, cuda[:i] or mps.
        memory: byte budget; None for half of the free memory.
        store: where the run is looked up and stored: a store, a folder or a URL. None stores
            nothing.
        progress: listener to the search; `auto` shows a progress bar in a notebook and on a
            terminal, None shows nothing.
        faithful: look for the smallest circuit of this faithfulness, up to 1, in place of
            `threshold`, `share` or `edges`; the result has `trials`, the circuits tried.
        shards: number of processes that the prompts are spread over, as `--shards`; None for all
            prompts together in this process.
        experts: what a mixture of experts is in the graph: `layer`, one node as any MLP; `nodes`, a
            node for each expert, with an input of its own for the router.
        positions: where in the prompt edges are: nowhere in particular (`none`), in the `spans` of
            the task, or at each of the absolute `tokens` of prompts of one length.
        parameters: parameters of the method, as in the options of `acdc discover`. Those that are
            left out or None have their defaults.

    Returns:
        the circuit, which draws, exports and evaluates itself. `run` is its whole record;
        `warnings` lists what limits the result, and `run.details["reference"]` compares it with
        the published circuit of the task.

    Raises:
        InvalidInput: an argument is not valid, or the model or the prompts cannot be used.
        ExecutionFailed: the run did not finish.
    """
    from acdc_pipeline.arguments import as_task, choose_method, dtype_name
    from acdc_pipeline.errors import InvalidInput
    from acdc_pipeline.execution.own_metric import require_same_metric
    from acdc_pipeline.execution.plan import plan_run
    from acdc_pipeline.found_circuit import bar_where_seen, found_circuit
    from acdc_pipeline.models.memory import resolve_model
    from acdc_pipeline.specs import ModelRef
    from acdc_pipeline.specs.own_metric import check_storable, metric_name, own_metric
    from acdc_pipeline.store import as_store
    from acdc_pipeline.workflows.discovery import discover_into, execute_alone, worker_factory
    from acdc_pipeline.workflows.faithful import discover_faithful
    from acdc_pipeline.workflows.shards import spread
    from acdc_pipeline.workflows.size_search import check_target, starting_size

    if store is not None:
        check_storable(metric_name(metric), "discover")
    spec, own = as_task(task, "discover"), own_metric(metric)
    source = resolve_model(model, tokenizer)
    make_worker = worker_factory(device, memory, model=source, own_metric=own)
    parameters |= {} if metric is None else {"metric": metric_name(metric)}
    if faithful is not None:
        check_target(faithful, parameters)
    if isinstance(method, str):
        given = {name: value for name, value in parameters.items() if value is not None}
        given |= {} if faithful is None else starting_size(method)
        chosen = choose_method(method, given, spec)
    elif parameters or faithful is not None:
        field = min(parameters, default="faithful")
        raise InvalidInput(
            "a whole method has its parameters already", where="discover", field=field
        )
    else:
        chosen = method
    listener = bar_where_seen() if progress == "auto" else progress
    run = plan_run(
        spec,
        source,
        method=chosen,
        prompts=prompts,
        seed=seed,
        dtype=dtype_name(dtype),
        experts=experts,
        positions=positions,
    )
    given = None if isinstance(source, ModelRef) else (model, tokenizer)
    results, trials = None if store is None else as_store(store), ()
    same_metric = partial(require_same_metric, given=own)
    make = spread(
        make_worker, shards, device=device, memory=memory, model=source, method=run.method
    )
    if faithful is not None:
        found = discover_faithful(run, spec, faithful, results, make, listener, check=same_metric)
        record, trials = found.record, found.trials
    elif results is None:
        record = execute_alone(make(), run, spec, listener)
    else:
        record, _ = discover_into(results, run, spec, make, listener, check=same_metric)
    return found_circuit(record, spec, results, own, given, trials)


def evaluate(
    circuit: Circuit | CircuitFile,
    task: TaskSpec | Path | str | Any,
    model: ModelRef | MemoryModel | str,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    metric: GivenMetric = None,
    ablation: str = "corrupted",
    prompts: int = 64,
    seed: int = 0,
    dtype: str | torch.dtype = "float32",
    scope: Literal["basic", "full"] = "basic",
    null: int | None = None,
    draws: int | None = None,
    restarts: int | None = None,
    ablations: Sequence[str] | None = None,
    adversarial: int | None = None,
    device: str = "auto",
    memory: int | None = None,
    shards: int | None = None,
) -> Evaluation:
    """Evaluate a circuit that no search of this package found; see `FoundCircuit.evaluate`.

        part = Circuit.of(load_model("zoo:attn-2l").topology, ["input->a0.h0<v>", "a0.h0->logits"])
        evaluate(part, "induction", "zoo:attn-2l").faithfulness

    Args:
        circuit: a circuit of the graph of `model`, or what `load_circuit` read. With neuron masks
            only the circuit's own metrics can be measured.
        metric: metric of faithfulness, as for `discover`; None for the task's.
        ablation: what a removed edge carries: corrupted, zero or mean.
        scope, null, draws, restarts, ablations, adversarial, shards: as for
            `FoundCircuit.evaluate`.
        task, model, tokenizer, prompts, seed, dtype, device, memory: as for `discover`.
    """
    import warnings

    from acdc_pipeline.arguments import as_task, check_circuit, dtype_name
    from acdc_pipeline.graph.files.circuit_file import CircuitFile
    from acdc_pipeline.models.memory import resolve_model
    from acdc_pipeline.specs.own_metric import metric_name, own_metric
    from acdc_pipeline.workflows import evaluate as workflow
    from acdc_pipeline.workflows.circuit_files import check_measurable, notes_on
    from acdc_pipeline.workflows.discovery import run_of_circuit, worker_factory
    from acdc_pipeline.workflows.evaluation_plan import evaluation_plan

    given = check_circuit(circuit, "evaluate")
    file = given if isinstance(given, CircuitFile) else CircuitFile("edge list", given)
    source = resolve_model(model, tokenizer)
    make_worker = worker_factory(
        device, memory, model=source, own_metric=own_metric(metric), shards=shards
    )
    plan = evaluation_plan(
        scope,
        null=null,
        draws=draws,
        restarts=restarts,
        ablations=ablations,
        forwards=adversarial,
        seed=seed,
    )
    more = {"scope": scope == "full", "null": null, "draws": draws, "restarts": restarts}
    more |= {"ablations": ablations, "adversarial": adversarial}
    check_measurable(file, more)
    spec = as_task(task, "evaluate")
    run = run_of_circuit(
        file.circuit,
        spec,
        source,
        metric=metric_name(metric),
        ablation=ablation,
        prompts=prompts,
        seed=seed,
        dtype=dtype_name(dtype),
    )
    worker = make_worker()
    centred = "neuron_basis='centred' to load_circuit"
    for note in notes_on(file, run, worker.model(run).weights, centred):
        warnings.warn(note, stacklevel=2)
    return workflow.evaluate_given(worker, run, spec, file, plan)


def profile_heads(
    model: ModelRef | MemoryModel | str,
    tasks: Sequence[TaskSpec | Path | str] | TaskSpec | Path | str | Any | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    text: str | None = None,
    prompts: int = 64,
    seed: int = 0,
    dtype: str | torch.dtype = "float32",
    device: str = "auto",
    memory: int | None = None,
    store: Store | Path | str | None = None,
    progress: Progress | None = None,
    shards: int | None = None,
) -> list[RunRecord]:
    """Score every attention head of `model` on each of `tasks`, as `acdc heads` does.

        (record,) = profile_heads("zoo:attn-2l", ["induction"])
        [score.value for score in record.heads if score.metric == "induction"]

    Args:
        tasks: tasks, names, folders or `.jsonl` files, or one of them, or prompt pairs as for
            `discover`; None for the tasks that a zoo model was trained on, and `induction` for any
            other model.
        text: a text in which each head's strongest examples are looked for.
        prompts: number of prompt pairs of each task, at least 2.
        progress: listener to each run.
        shards: number of other processes that measure parts, as `--shards` of `acdc heads`; None
            for none. Every number gives the same records.
        model, tokenizer, seed, dtype, device, memory, store: as for `discover`.

    Returns:
        one record per task, with `heads` (the scores) and `profile` (roles and examples).

    Raises:
        InvalidInput: an argument is not valid, or the model or the prompts cannot be used.
        ExecutionFailed: a run did not finish.
    """
    from acdc_pipeline.arguments import as_task, dtype_name
    from acdc_pipeline.errors import InvalidInput, check_whole
    from acdc_pipeline.execution.plan import plan_run
    from acdc_pipeline.models.memory import resolve_model
    from acdc_pipeline.specs import ProfileMethod, TaskSpec
    from acdc_pipeline.store import as_store
    from acdc_pipeline.workflows.discovery import (
        discover_into,
        execute_alone,
        profile_tasks,
        worker_factory,
    )

    check_whole(prompts, "prompts", 2, where="profile_heads")
    source = resolve_model(model, tokenizer)
    make_worker = worker_factory(device, memory, model=source, shards=shards)
    if tasks is None:
        tasks = profile_tasks(str(source))
    several = isinstance(tasks, list | tuple) and all(
        isinstance(task, TaskSpec | Path | str) for task in tasks
    )
    listed = list(cast("Sequence[object]", tasks)) if several else [tasks]
    specs = [as_task(task, "profile_heads") for task in listed]
    if not specs:
        raise InvalidInput(
            "names no task", where="profile_heads", field="tasks", fix="None takes the model's own"
        )
    method = ProfileMethod.with_defaults(text)
    runs = [
        plan_run(spec, source, method=method, prompts=prompts, seed=seed, dtype=dtype_name(dtype))
        for spec in specs
    ]
    planned = zip(runs, specs, strict=True)
    if store is None:
        return [execute_alone(make_worker(), run, spec, progress) for run, spec in planned]
    results = as_store(store)
    return [discover_into(results, run, spec, make_worker, progress)[0] for run, spec in planned]


def export(run: FoundCircuit | RunRecord, path: Path | str, *, format: str | None = None) -> Path:
    """Write the circuit of a run for other tools, as `acdc runs export` does.

        export(discover("ioi", "zoo:gpt2-4l-s0", threshold=0.01), "ioi.graphml")

    Args:
        run: a circuit that `discover` returned, or a record of a store.
        path: the file; it is replaced as a whole if it exists.
        format: node-link, graphml, dot, mib-json, eap-ig-pt, auto-circuit, parquet or svg; None
            for that of the suffix.

    Raises:
        UnknownName: there is no such format.
        InvalidInput: the suffix implies another format, or none; the file cannot be written; or
            the run has no circuit that the format can express.
    """
    from acdc_pipeline.files import check_writable, write_bytes
    from acdc_pipeline.store import RunRecord
    from acdc_pipeline.workflows.export import export_bytes, export_format

    path = Path(path)
    form = export_format(format, path)
    check_writable(path)
    record = run if isinstance(run, RunRecord) else run.run
    write_bytes(path, export_bytes(record, form))
    return path


def load_task(name: str) -> TaskSpec:
    """Find a task by its name, as a task folder, or as a `.jsonl` of prompt pairs.

    Raises:
        UnknownName: there is no such task.
        SpecError: the task is not valid.
    """
    from acdc_pipeline.specs import find_task

    return find_task(name)
