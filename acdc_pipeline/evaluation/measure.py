"""Metrics of circuits, and the objectives that searches minimise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from acdc_pipeline.engine import Bench, KlObjective, LogprobObjective, Objective, run_circuit
from acdc_pipeline.engine.circuit_forward import run_circuits_to_answers
from acdc_pipeline.engine.forward import unembed
from acdc_pipeline.errors import PromptError
from acdc_pipeline.graph import Edge
from acdc_pipeline.graph.neurons import NeuronMasks
from acdc_pipeline.metrics import METRICS, MetricInputs, token_mask
from acdc_pipeline.specs.names import MetricName

Advance = Callable[[int], None]
"""Called with the number of circuits measured, or of forward passes, since the last call."""

_BATCH_BYTES = 64 * 2**20
"""Memory for the masks, and for the log-probabilities, of circuits measured together."""

_MAX_BATCH = 64
"""Number of circuits measured together, so that common parts are computed once."""


def objective_for(bench: Bench, metric: MetricName) -> Objective:
    """Return the objective that a search minimises to preserve `metric`; higher is worse.

    Raises PromptError, see `require_answers`.
    """
    if metric == "kl":
        final = bench.layout.at_answers(bench.clean.final.flatten(0, 1))
        return KlObjective(bench.weights, final, bench.logprobs, bench.answer_weight)
    return differentiable_objective_for(bench, metric)


def differentiable_objective_for(bench: Bench, metric: MetricName) -> LogprobObjective:
    """Return the objective of `objective_for` computed from log-probabilities, with gradients."""
    entry = METRICS[metric]
    require_answers(bench, metric)
    model, tokens = bench.logprobs, None
    correct, incorrect = answer_masks(bench)
    if entry.depends_on == "answers":
        # Only the answer tokens of a large vocabulary are needed.
        tokens = (correct | incorrect).any(0).nonzero().flatten()
        model, correct, incorrect = model[:, tokens], correct[:, tokens], incorrect[:, tokens]

    def score(logprobs: Float[Tensor, "state answer vocab"]) -> Float[Tensor, "state answer"]:
        return entry.score(MetricInputs(model, logprobs, correct, incorrect))

    return LogprobObjective(bench.weights, score, entry.sign, tokens, bench.answer_weight)


def circuit_logprobs(
    bench: Bench,
    edges: Iterable[Edge],
    neurons: NeuronMasks | None = None,
) -> Float[Tensor, "answer vocab"]:
    """Return log-probabilities at the answers when only `edges` carry clean information.

    Args:
        neurons: in which dimensions of each source's output they carry it; None for all.
    """
    with torch.no_grad():
        final = run_circuit(bench.weights, bench.prompts.clean, bench.ablated, edges, neurons)
        at_answers = bench.layout.at_answers(final.flatten(0, 1))
        return unembed(bench.weights, at_answers).log_softmax(-1)


def measure_circuits(
    bench: Bench,
    masks: Iterable[Bool[np.ndarray, " edge"]],
    metrics: Sequence[MetricName],
    advance: Advance = lambda _: None,
) -> list[dict[str, float]]:
    """Return `measure` of several circuits, measured in batches that fit into memory.

    Each is given as a mask over `topology.edges`. Metrics that need incorrect answers are left out
    if a prompt has none.
    """
    correct, incorrect = answer_masks(bench)
    names: list[MetricName] = [name for name in metrics if _is_defined(bench, name)]
    at_once = min(_MAX_BATCH, max(1, _BATCH_BYTES // bench.weights.topology.n_edges))
    read_at_once = max(1, _BATCH_BYTES // (4 * bench.logprobs.nbytes))
    out: list[dict[str, float]] = []
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
                logprobs = unembed(bench.weights, final).log_softmax(-1)
                inputs = MetricInputs(bench.logprobs, logprobs, correct, incorrect)
                values = {
                    name: METRICS[name].score(inputs).to(torch.float64).mean(-1).tolist()
                    for name in names
                }
                out += [{name: values[name][i] for name in names} for i in range(len(final))]
    return out


def measure(
    bench: Bench, logprobs: Float[Tensor, "answer vocab"], metrics: Sequence[MetricName]
) -> dict[str, float]:
    """Return each metric's mean over answers, in its own sign.

    Metrics that need incorrect answers are left out if a prompt has none.
    """
    correct, incorrect = answer_masks(bench)
    inputs = MetricInputs(bench.logprobs, logprobs, correct, incorrect)
    return {
        name: float(METRICS[name].score(inputs).to(torch.float64).mean())
        for name in metrics
        if _is_defined(bench, name)
    }


def score_answers(
    bench: Bench, logprobs: Float[Tensor, "answer vocab"], metric: MetricName
) -> Float[Tensor, " answer"]:
    """Return the metric of each answer, in its own sign."""
    correct, incorrect = answer_masks(bench)
    return METRICS[metric].score(MetricInputs(bench.logprobs, logprobs, correct, incorrect))


def answer_masks(
    bench: Bench,
) -> tuple[Bool[Tensor, "answer vocab"], Bool[Tensor, "answer vocab"]]:
    """Return which tokens are correct and which incorrect, for each answer."""
    prompts = bench.prompts
    return (
        token_mask(bench.logprobs, prompts.correct),
        token_mask(bench.logprobs, prompts.incorrect),
    )


def _is_defined(bench: Bench, metric: MetricName) -> bool:
    return not METRICS[metric].needs_incorrect or all(bench.prompts.incorrect)


def require_answers(bench: Bench, metric: MetricName) -> None:
    """Raise PromptError if `metric` needs incorrect answers and a prompt has none."""
    if not _is_defined(bench, metric):
        raise PromptError(
            f"metric '{metric}' compares with incorrect answers, and some prompts have none",
            allowed=", ".join(name for name in METRICS if not METRICS[name].needs_incorrect),
            fix="give incorrect answers, or choose another --metric",
        )
