"""Run a circuit: its logits on prompts, and a model of the caller that computes as it does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.arguments import as_task, dtype_name, plain_circuit
from acdc_pipeline.engine import check_parity, set_up
from acdc_pipeline.engine.patched_model import patch
from acdc_pipeline.errors import GraphError, InvalidInput, NoSpans, PromptError, UnknownName
from acdc_pipeline.evaluation import circuit_logits
from acdc_pipeline.execution.worker import Worker
from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.models.attach import attach_model
from acdc_pipeline.models.memory import resolve_model
from acdc_pipeline.models.mixtures import with_experts
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.prompts.spans import Spans, in_spans_of
from acdc_pipeline.specs import (
    ModelRef,
    PairsGenerator,
    RunSpec,
    TaskSpec,
    circuit_method,
)
from acdc_pipeline.specs.names import Ablation
from acdc_pipeline.specs.prompt_pair import PairBos
from acdc_pipeline.specs.run import MAX_PROMPTS
from acdc_pipeline.workflows.discovery import run_of_circuit, worker_factory

if TYPE_CHECKING:
    from acdc_pipeline.graph.files.circuit_file import CircuitFile
    from acdc_pipeline.models.memory import MemoryModel

Prompts = PromptSet | TaskSpec | Path | str | Iterable[Any]
"""Aligned prompts; a task, its name, folder or `.jsonl`; or pairs `(clean, corrupted)`."""

Model = TypeVar("Model")

_PROMPTS = 64

_ANYWHERE = "take the circuit without positions, circuit.collapse()"


def compute_logits(
    circuit: Circuit | CircuitFile,
    prompts: Prompts,
    model: ModelRef | MemoryModel | str,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    ablation: str = "corrupted",
    count: int | None = None,
    bos: PairBos = False,
    seed: int = 0,
    dtype: str | torch.dtype = "float32",
    device: str = "auto",
) -> Float[Tensor, "answer vocab"]:
    """Return the logits of a circuit at the answers: [prompt, vocabulary].

        part = Circuit.of(load_model("zoo:attn-2l").topology, ["input->a0.h0<v>", "a0.h0->logits"])
        compute_logits(part, "induction", "zoo:attn-2l")

    A prompt with several answers has a row for each. A circuit that `discover` returned has a
    method `logits`, which uses the model and the settings of its run.

    Args:
        circuit: a circuit of the graph of `model`, or what `load_circuit` read, without neuron
            masks.
        prompts: a task, its name, folder or `.jsonl` of pairs; a PromptSet; or pairs
            `(clean, corrupted)` of texts or of token ids, whose logits are those at the last token;
            or a table of pairs, which needs a column `correct`.
        ablation: what a removed edge carries: corrupted, zero or mean; the mean is that of the
            counterfactuals among `prompts`.
        count: number of prompts; None for all pairs, and 64 prompts of another task.
        bos: as for `TaskSpec.from_pairs`.
        model, tokenizer, seed, dtype, device: as for `discover`.

    Raises:
        GraphError: the circuit is of another graph than the model, or has neuron masks.
        InvalidInput: an argument is not valid, or the model cannot process the prompts.
    """
    circuit = plain_circuit(circuit, "compute_logits")
    source = resolve_model(model, tokenizer)
    make_worker = worker_factory(device, model=source)
    made = isinstance(prompts, PromptSet)
    task = task_of([([0], [0])] if made else prompts, bos=bos, where="compute_logits")
    if count is None:
        count = MAX_PROMPTS if isinstance(task.generator, PairsGenerator) else _PROMPTS
    run = run_of_circuit(
        circuit,
        task,
        source,
        metric="kl",
        ablation=ablation,
        prompts=count,
        seed=seed,
        dtype=dtype_name(dtype),
    )
    return logits_of_run(make_worker(), run, task, circuit, prompts if made else None)


def logits_of_run(
    worker: Worker, run: RunSpec, task: TaskSpec, circuit: Circuit, prompts: Prompts | None
) -> Float[Tensor, "answer vocab"]:
    """Return the logits of `circuit` at the answers, with the model and the ablation of `run`.

    Args:
        prompts: None for those of the run. Pairs are all used, and of another task as many prompts
            as the run has.

    Raises:
        GraphError: the circuit is of another graph than the model.
        InvalidInput, PromptError, ParityError, ExecutionFailed: as `Worker.execute`.
    """
    model = worker.model(run)
    require_graph(circuit, model.topology)
    if not isinstance(prompts, PromptSet):
        bos = task.generator.bos
        chosen = task if prompts is None else task_of(prompts, bos=bos, where="logits")
        given = prompts is not None and isinstance(chosen.generator, PairsGenerator)
        count = chosen.prompts_for(MAX_PROMPTS if given else run.prompts)
        some = run.model_copy(update={"prompts": count})
        try:
            prompts = worker.prompts(some, chosen, seed=run.seed, alike=1)
        except PromptError as error:
            if isinstance(error, NoSpans) or error.field == "positions":
                raise _without_positions(error) from None
            raise
    check_parity(model, prompts.clean, prompts.lengths)
    prompts = _in_spans_of_circuit(prompts, circuit)
    bench = set_up(model.weights, prompts, circuit_method(run.method).ablation)
    require_graph(circuit, bench.weights.topology)
    return circuit_logits(bench, circuit.edges)


@contextmanager
def patch_model(
    circuit: Circuit | CircuitFile,
    model: Model,
    corrupted: Any = None,
    *,
    ablation: str = "corrupted",
) -> Iterator[Model]:
    """Make the logits of `model` those of `circuit` inside the context.

        with patch_model(circuit, model, corrupted_ids) as patched:
            patched(ids).logits

    The stream that the model's final norm reads is exchanged for that of the circuit. The layers
    before it still run, and what hooks see of them is the whole model. No gradient leads back
    through the circuit. The weights are read once, when the context is entered; when it is left,
    also by an error, the model is as before.

    Args:
        circuit: a circuit of the graph of `model`, or what `load_circuit` read, without neuron
            masks.
        model: a TransformerBridge, or a causal language model of transformers or peft.
        corrupted: token ids of the counterfactuals [prompt, position], as a tensor or lists, of the
            shape of the tokens that the model is called on; under ablation by the mean,
            counterfactuals without padding, of their length. Not needed under ablation by zero.
        ablation: what a removed edge carries: corrupted, zero or mean.

    Raises, when the context is entered:
        GraphError: the circuit is of another graph than the model, or has neuron masks.
        UnsupportedModel, ParityError: the engine does not reproduce the model.
        InvalidInput: the model has hooks, or `corrupted` is missing or no batch.
        PromptError: the model is called inside on tokens of another shape, with padding in front,
            a cache or embeddings.
    """
    circuit = plain_circuit(circuit, "patch_model")
    if ablation not in get_args(Ablation):
        raise UnknownName.among(
            "ablation", ablation, get_args(Ablation), where="patch_model", field="ablation"
        )
    attached = attach_model(model)
    if circuit.topology.experts:
        attached = replace(attached, copy=with_experts(attached.copy, "nodes"))
    if circuit.topology.spans:
        raise GraphError(
            "the tokens of a call have no spans",
            where="patch_model",
            fix="circuit.collapse() is the circuit without positions",
        )
    require_graph(circuit, attached.copy.topology)
    tokens = None if corrupted is None else _token_ids(corrupted)
    with patch(attached, circuit.edges, tokens, cast("Ablation", ablation)):
        yield model


def require_graph(circuit: Circuit, topology: Topology) -> None:
    """Raise GraphError unless `circuit` is of the graph `topology`.

    A graph without spans stands for that of any spans, which prompts decide.
    """
    own = circuit.topology if topology.spans else circuit.topology.collapsed
    if own != topology:
        raise GraphError(
            f"the circuit is of a graph of {circuit.topology}, and the model has {topology}",
            allowed="a circuit of the graph of this model",
        )


def _in_spans_of_circuit(prompts: PromptSet, circuit: Circuit) -> PromptSet:
    """Return prompts with the spans of `circuit`, which need not all be in them.

    Raises:
        GraphError: prompts have other spans, or none for a circuit that has some.
    """
    own = circuit.topology.spans
    if not own:
        return replace(prompts, spans=None)
    if prompts.spans is None:
        raise _without_positions(NoSpans("the prompts have no spans"))
    if not set(prompts.spans.names) <= set(own):
        raise _other_spans(own, prompts.spans.names)
    spans = in_spans_of(prompts.spans, _spans_of(circuit.topology))
    for name in own:
        visible = circuit.topology.visible[name]
        if unseen := [seen for seen in spans.seen_by(name) if seen not in visible]:
            raise GraphError(
                f"in the prompts the span {name} sees the {_name_spans(unseen)}, "
                "and not in the graph of the circuit",
                fix=_ANYWHERE,
            )
    if answers := [name for name in spans.answers if name not in circuit.topology.answer_spans]:
        raise GraphError(
            f"the prompts have answers in the {_name_spans(answers)}, where the circuit has none",
            fix=_ANYWHERE,
        )
    return replace(prompts, spans=spans)


def require_spans(circuit: Circuit, topology: Topology) -> None:
    """Raise GraphError if edges of `circuit` are in spans that the graph of prompts lacks."""
    if any(edge.span not in topology.spans for edge in circuit.edges if edge.span is not None):
        raise _other_spans(circuit.topology.spans, topology.spans)


def _other_spans(own: Sequence[str], theirs: Sequence[str]) -> GraphError:
    """The refusal of prompts whose spans are `theirs`, for a circuit in its `own`."""
    extra = [name for name in theirs if name not in own]
    lacking = [name for name in own if name not in theirs]
    differ = [f"have the {_name_spans(extra)} that the circuit lacks"] if extra else []
    differ += [f"lack the circuit's {_name_spans(lacking)}"] if lacking else []
    return GraphError(
        f"the prompts {' and '.join(differ)}",
        fix=f"name the positions of the prompts as the circuit does, or {_ANYWHERE}",
    )


def _name_spans(names: Sequence[str]) -> str:
    return f"{'span' if len(names) == 1 else 'spans'} {', '.join(names)}"


def _without_positions(error: PromptError) -> PromptError:
    """Return an error of prompts that have not the positions of a circuit, with what helps."""
    unnamed = isinstance(error, NoSpans)
    ours = "name the positions of the prompts as the circuit does"
    return type(error)(
        f"{error.problem}, and the circuit has positions",
        where=error.where,
        field=error.field if unnamed else None,
        allowed=error.allowed if unnamed else None,
        fix=f"{ours if unnamed else 'give prompts of one length'}, or take the circuit without "
        "positions: compute_logits(circuit.collapse(), prompts, model)",
    )


def _spans_of(topology: Topology) -> Spans:
    """Return the spans of a graph, without prompts."""
    sees = tuple(tuple(seen.split(" ")) for seen in topology.sees)
    return Spans(topology.spans, torch.zeros(0, 0).long(), topology.answer_spans, sees)


def task_of(
    prompts: TaskSpec | Path | str | Iterable[Any], *, bos: PairBos, where: str
) -> TaskSpec:
    """Return `prompts` as a task.

    Args:
        prompts: a task, its name, folder or `.jsonl`; or pairs as for `TaskSpec.from_pairs`, whose
            answers may be left out, but for a table, which needs a column `correct`.
        bos: as for `TaskSpec.from_pairs`.
        where: name of the function in messages.

    Raises:
        UnknownName, SpecError, InvalidInput: as `as_task`.
    """
    if isinstance(prompts, TaskSpec | str | Path):
        return as_task(prompts, where)
    listed = isinstance(prompts, Sequence | Iterator)
    pairs = map(_with_answer, prompts) if listed else prompts
    return TaskSpec.from_pairs(pairs, bos=bos)


def _with_answer(pair: Any) -> Any:
    """Return a pair with an answer. Logits need none, so that any token stands for it."""
    if isinstance(pair, Mapping):
        return {"correct": 0, **pair}
    if isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2:
        clean, corrupted = (side.tolist() if isinstance(side, Tensor) else side for side in pair)
        return clean, corrupted, 0
    return pair


def _token_ids(corrupted: Any) -> Tensor:
    try:
        tokens = torch.as_tensor(corrupted)
    except (TypeError, ValueError, RuntimeError):
        tokens = None
    if tokens is None or tokens.dim() != 2 or tokens.is_floating_point() or not tokens.numel():
        found = (
            type(corrupted).__name__ if tokens is None else f"{list(tokens.shape)} {tokens.dtype}"
        )
        raise InvalidInput(
            f"{found} is not a batch of token ids",
            field="corrupted",
            allowed="whole numbers [prompt, position], such as tokenizer(texts).input_ids",
        )
    return tokens.long()
