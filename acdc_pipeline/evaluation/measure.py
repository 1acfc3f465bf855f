"""Metrics of circuits, and the objectives that searches minimise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine import Bench, KlObjective, LogprobObjective, Objective, run_circuit
from acdc_pipeline.engine.answer_batches import OutputsOfPrompts
from acdc_pipeline.engine.circuit_forward import run_circuits_to_answers
from acdc_pipeline.engine.forward import embed, unembed
from acdc_pipeline.engine.span_circuits import run_span_circuits
from acdc_pipeline.errors import PromptError
from acdc_pipeline.evaluation.own_metric import built_in_form
from acdc_pipeline.evaluation.whole_answers import WholeAnswerScores
from acdc_pipeline.graph import Edge
from acdc_pipeline.graph.neurons import NeuronMasks
from acdc_pipeline.metrics import METRICS, Metric, MetricInputs, token_mask
from acdc_pipeline.specs.names import MetricKey
from acdc_pipeline.specs.own_metric import Outputs, missing_function

Advance = Callable[[int], None]
"""Called with the number of circuits measured, or of forward passes, since the last call."""

_BATCH_BYTES = 64 * 2**20
"""Memory for the masks, and for the log-probabilities, of circuits measured together."""

_MAX_BATCH = 64
"""Number of circuits measured together, so that common parts are computed once."""


@dataclass(frozen=True)
class CircuitScores:
    """The metrics of one circuit, in their own sign.

    Args:
        mean: over answers (over prompts with whole answers).
        by_prompt: the sum over the answers of each prompt, of which `mean` is made.
    """

    mean: dict[MetricKey, float]
    by_prompt: dict[MetricKey, Float[np.ndarray, " prompt"]]


def metric_of(bench: Bench, name: MetricKey) -> Metric:
    """Return the metric called `name`: a built-in one, or the bench's own.

    Raises InvalidInput for a metric of one's own that the bench does not have.
    """
    if name in METRICS:
        return METRICS[name]
    if bench.prompts.whole is not None:
        raise PromptError(
            f"metric '{name}' reads single tokens, and the answers of these prompts have several",
            allowed=", ".join(METRICS),
        )
    own = bench.own_metric
    if own is None or own.key != name:
        raise missing_function(name)
    return built_in_form(own)


def objective_for(bench: Bench, metric: MetricKey) -> Objective:
    """Return the objective that a search minimises to preserve `metric`; higher is worse.

    Raises PromptError, see `require_answers`.
    """
    if metric == "kl":
        final = bench.layout.at_answers(bench.clean.final.flatten(0, 1))
        whole = _whole_answers(bench)
        weight = bench.answer_weight if whole is None else whole.kl_weight()
        return KlObjective(bench.weights, final, bench.logprobs, weight)
    return differentiable_objective_for(bench, metric)


def differentiable_objective_for(bench: Bench, metric: MetricKey) -> LogprobObjective:
    """Return the objective of `objective_for` computed from log-probabilities, with gradients."""
    entry = metric_of(bench, metric)
    require_answers(bench, metric)
    if (whole := _whole_answers(bench)) is not None:
        score_prompts = partial(whole.score, metric)
        return LogprobObjective(
            bench.weights, score_prompts, entry.sign, answer_weight=bench.answer_weight
        )
    model, tokens = bench.logits if entry.reads == "logits" else bench.logprobs, None
    correct, incorrect = answer_masks(bench)
    if entry.depends_on == "answers":
        # Only the answer tokens of a large vocabulary are needed.
        tokens = (correct | incorrect).any(0).nonzero().flatten()
        model, correct, incorrect = model[:, tokens], correct[:, tokens], incorrect[:, tokens]

    def score(outputs: Float[Tensor, "state answer vocab"]) -> Float[Tensor, "state answer"]:
        return entry.score(MetricInputs(model, outputs, correct, incorrect))

    return LogprobObjective(
        bench.weights, score, entry.sign, tokens, bench.answer_weight, entry.reads
    )


def circuit_logprobs(
    bench: Bench, edges: Iterable[Edge], neurons: NeuronMasks | None = None
) -> Float[Tensor, "answer vocab"]:
    """Return the log-softmax of `circuit_logits`."""
    return circuit_logits(bench, edges, neurons).log_softmax(-1)


def circuit_logits(
    bench: Bench,
    edges: Iterable[Edge],
    neurons: NeuronMasks | None = None,
) -> Float[Tensor, "answer vocab"]:
    """Return logits at the answers when only `edges` carry clean information.

    Args:
        neurons: in which dimensions of each source's output they carry it; None for all.
    """
    with torch.no_grad():
        if bench.weights.without_one_span.spans is not None:
            mask = bench.weights.topology.edge_mask(edges)[None]
            embedded = embed(bench.weights, bench.prompts.clean)
            ablated = OutputsOfPrompts(bench.ablated)
            final = run_span_circuits(
                bench.weights, embedded, ablated, mask, bench.layout, neurons
            )[0]
        else:
            final = run_circuit(bench.weights, bench.prompts.clean, bench.ablated, edges, neurons)
        at_answers = bench.layout.at_answers(final.flatten(0, 1))
        return unembed(bench.weights, at_answers)


def score_circuits(
    bench: Bench,
    masks: Iterable[Bool[np.ndarray, " edge"]],
    metrics: Sequence[MetricKey],
    advance: Advance = lambda _: None,
) -> list[CircuitScores]:
    """Return `score` of several circuits, measured in batches that fit into memory.

    Each is given as a mask over `topology.edges`. Metrics that need incorrect answers are left out
    if a prompt has none.
    """
    if bench.score_elsewhere is not None:
        return bench.score_elsewhere(masks, metrics, advance)
    chosen = _defined(bench, metrics)
    scorer = _scorer(bench, chosen)
    at_once = min(_MAX_BATCH, max(1, _BATCH_BYTES // bench.weights.topology.n_edges))
    read_at_once = max(1, _BATCH_BYTES // (4 * bench.logprobs.nbytes))
    out: list[CircuitScores] = []
    left = iter(masks)
    while batch := list(islice(left, at_once)):
        reported = 0

        def run(share: float, n: int = len(batch)) -> None:
            nonlocal reported
            advance(int(share * n) - reported)
            reported = int(share * n)

        with torch.no_grad():
            finals = run_circuits_to_answers(
                bench.weights,
                bench.prompts.clean,
                bench.ablated,
                np.stack(batch),
                bench.layout,
                run,
            )
            for final in finals.split(read_at_once):
                scores = scorer(unembed(bench.weights, final))
                values = {name: each.to(torch.float64) for name, each in scores.items()}
                means = {name: each.mean(-1).tolist() for name, each in values.items()}
                sums = {name: _by_prompt(bench, each) for name, each in values.items()}
                out += [
                    CircuitScores(
                        {name: means[name][i] for name in chosen},
                        {name: sums[name][i] for name in chosen},
                    )
                    for i in range(len(final))
                ]
    return out


def measure_circuits(
    bench: Bench,
    masks: Iterable[Bool[np.ndarray, " edge"]],
    metrics: Sequence[MetricKey],
    advance: Advance = lambda _: None,
) -> list[dict[str, float]]:
    """Return the means of `score_circuits`: `measure` of several circuits."""
    return [found.mean for found in score_circuits(bench, masks, metrics, advance)]


def measure(
    bench: Bench, logits: Float[Tensor, "answer vocab"], metrics: Sequence[MetricKey]
) -> dict[str, float]:
    """Return each metric's mean over answers (over prompts with whole answers), in its own sign.

    Metrics that need incorrect answers are left out if a prompt has none.

    Args:
        logits: at the answers. Log-probabilities serve as well for metrics that read these.
    """
    return score(bench, logits, metrics).mean


def score(
    bench: Bench, logits: Float[Tensor, "answer vocab"], metrics: Sequence[MetricKey]
) -> CircuitScores:
    """Return what `measure` returns, and the metrics of each prompt. Arguments are the same."""
    scores = _scorer(bench, _defined(bench, metrics))(logits)
    values = {name: each.to(torch.float64) for name, each in scores.items()}
    return CircuitScores(
        {name: float(each.mean()) for name, each in values.items()},
        {name: _by_prompt(bench, each) for name, each in values.items()},
    )


def measure_sums(
    bench: Bench, logits: Float[Tensor, "answer vocab"], metrics: Sequence[MetricKey]
) -> dict[str, float]:
    """Return the sums whose means are those of `measure`, for means over several benches."""
    scores = _scorer(bench, _defined(bench, metrics))(logits)
    return {name: float(each.to(torch.float64).sum()) for name, each in scores.items()}


def score_answers(
    bench: Bench, logits: Float[Tensor, "answer vocab"], metric: MetricKey
) -> Float[Tensor, " answer"]:
    """Return the metric of each answer, in its own sign."""
    return _scorer(bench, {metric: metric_of(bench, metric)})(logits)[metric]


def answer_masks(
    bench: Bench,
) -> tuple[Bool[Tensor, "answer vocab"], Bool[Tensor, "answer vocab"]]:
    """Return which tokens are correct and which incorrect, for each answer."""
    prompts = bench.prompts
    return (
        token_mask(bench.logprobs, prompts.correct),
        token_mask(bench.logprobs, prompts.incorrect),
    )


def _by_prompt(
    bench: Bench, values: Float[Tensor, "*state answer"]
) -> Float[np.ndarray, "*state prompt"]:
    """Sum values of answers over those of each prompt; with whole answers they are of prompts."""
    if bench.prompts.whole is not None:
        return values.numpy(force=True)
    sums = values.new_zeros(*values.shape[:-1], len(bench.prompts))
    return sums.index_add_(-1, bench.prompts.answer_row, values).numpy(force=True)


def _scorer(
    bench: Bench, metrics: Mapping[MetricKey, Metric]
) -> Callable[[Float[Tensor, "*state answer vocab"]], dict[MetricKey, Tensor]]:
    """Return the function from logits to the metrics of each answer, in their own sign.

    With whole answers the metrics are those of each prompt. What depends on the answers alone is
    computed once, for all calls of the function.
    """
    if (whole := _whole_answers(bench)) is not None:

        def score_whole(logits: Float[Tensor, "*state answer vocab"]) -> dict[MetricKey, Tensor]:
            logprobs = logits.log_softmax(-1)
            return {name: whole.score(name, logprobs) for name in metrics}

        return score_whole
    masks = answer_masks(bench)
    reads_logits = any(metric.reads == "logits" for metric in metrics.values())
    tokens = _few_tokens(bench)

    def score(logits: Float[Tensor, "*state answer vocab"]) -> dict[MetricKey, Tensor]:
        inputs: dict[Outputs, MetricInputs] = {
            "logprobs": MetricInputs(bench.logprobs, logits.log_softmax(-1), *masks)
        }
        if reads_logits:
            inputs["logits"] = MetricInputs(bench.logits, logits, *masks)
        found = {}
        for name, metric in metrics.items():
            chosen = inputs[metric.reads]
            if tokens is not None and metric.depends_on == "answers":
                chosen = chosen.of_tokens(tokens)
            found[name] = metric.score(chosen)
        return found

    return score


def _few_tokens(bench: Bench) -> Int[Tensor, " token"] | None:
    """The tokens that are correct or incorrect for some answer.

    None if an answer has more than two of a kind: a sum over these alone could round otherwise than
    one over the vocabulary.
    """
    answers = [set(ids) for ids in (*bench.prompts.correct, *bench.prompts.incorrect)]
    if any(len(tokens) > 2 for tokens in answers):
        return None
    return torch.tensor(sorted(set().union(*answers)), device=bench.logprobs.device)


def _whole_answers(bench: Bench) -> WholeAnswerScores | None:
    whole = bench.prompts.whole
    return None if whole is None else WholeAnswerScores(bench, whole)


def _defined(bench: Bench, names: Iterable[MetricKey]) -> dict[MetricKey, Metric]:
    """Return the metrics that are defined on the prompts, by name."""
    return {name: metric_of(bench, name) for name in names if _is_defined(bench, name)}


def _is_defined(bench: Bench, metric: MetricKey) -> bool:
    if not metric_of(bench, metric).needs_incorrect:
        return True
    whole = bench.prompts.whole
    if whole is None:
        return all(bench.prompts.incorrect)
    rows = zip(whole.question, whole.correct, strict=True)
    return len({question for question, correct in rows if not correct}) == len(whole)


def require_answers(bench: Bench, metric: MetricKey) -> None:
    """Raise PromptError if `metric` needs incorrect answers and a prompt has none."""
    if not _is_defined(bench, metric):
        raise PromptError(
            f"metric '{metric}' compares with incorrect answers, and some prompts have none",
            allowed=", ".join(name for name in METRICS if not METRICS[name].needs_incorrect),
            fix="give incorrect answers, or choose another metric",
        )
