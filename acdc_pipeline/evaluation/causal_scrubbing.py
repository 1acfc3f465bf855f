"""Causal scrubbing: a circuit as a hypothesis about which inputs a model's answer depends on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine import Bench, run_carrying
from acdc_pipeline.engine.forward import logits_of
from acdc_pipeline.evaluation.exchange import Pool, alike, of_one_length
from acdc_pipeline.evaluation.interval import ratio_interval
from acdc_pipeline.evaluation.measure import answer_scores, require_answers
from acdc_pipeline.graph import Circuit, Edge, Receiver
from acdc_pipeline.specs.names import MetricName


@dataclass(frozen=True)
class Recovery:
    """How much of a metric is left when everything the hypothesis allows is exchanged.

    Args:
        metric: what is measured, in its own sign.
        recovered: share of the metric between the fully scrubbed model (0) and the model (1).
            Higher is better; it may leave that range.
        low, high: 95 % bootstrap interval of it, over groups of prompts that agree.
        model: the metric of the whole model.
        hypothesis: the metric under the hypothesis, mean over draws.
        scrubbed: the metric with every edge exchanged, mean over draws.
        prompts: how many prompts.
        exchangeable: the share of them that agree with another in roles and template, so that
            something is exchanged inside the circuit too.
    """

    metric: MetricName
    recovered: float
    low: float
    high: float
    model: float
    hypothesis: float
    scrubbed: float
    prompts: int
    exchangeable: float


def causal_scrubbing(
    bench: Bench, metric: MetricName, circuit: Circuit, *, draws: int, seed: int
) -> Recovery:
    """The share of `metric` that survives resampling by the hypothesis `circuit`.

    Chan et al. 2022, "Causal scrubbing" (Alignment Forum). Every edge outside the circuit carries
    its source's clean activation on a prompt of the same token length, drawn for each edge on its
    own. Every edge of the circuit carries its source's current output on a prompt that agrees in
    template, token length and roles, drawn likewise; where prompts declare no roles, on the prompt
    itself. The published method recomputes what a receiver reads as a tree of inputs; here sources
    are run once per draw and shared between their receivers.

    Args:
        bench: the model at work on prompts each of which has another of its length
            (see `exchange.with_partners`). Its ablation plays no part.
        metric: what is measured.
        circuit: the hypothesis.
        draws: how many times everything is drawn anew, at least 1.
        seed: of all draws and of the bootstrap. The draws of an edge do not depend on the circuit.

    Raises:
        PromptError: the metric compares with incorrect answers, and a prompt has none.
    """
    require_answers(bench, metric)
    anyone, same = of_one_length(bench.prompts), alike(bench.prompts)
    generator = torch.Generator().manual_seed(seed)
    ours, nothing = [], []
    for _ in range(draws):
        state = generator.get_state()
        ours.append(_scores(bench, metric, circuit.edges, anyone, same, generator))
        generator.set_state(state)
        nothing.append(_scores(bench, metric, frozenset(), anyone, same, generator))
    model = answer_scores(bench, bench.logprobs, metric).double()
    hypothesis, scrubbed = torch.stack(ours).mean(0), torch.stack(nothing).mean(0)
    groups = same.groups.to(bench.prompts.answer_row.device)[bench.prompts.answer_row]
    share, low, high = ratio_interval(
        hypothesis - scrubbed, model - scrubbed, groups.tolist(), seed=seed
    )
    return Recovery(
        metric=metric,
        recovered=share,
        low=low,
        high=high,
        model=float(model.mean()),
        hypothesis=float(hypothesis.mean()),
        scrubbed=float(scrubbed.mean()),
        prompts=len(bench.prompts),
        exchangeable=float((same.count > 1).double().mean()),
    )


def _scores(
    bench: Bench,
    metric: MetricName,
    edges: frozenset[Edge],
    anyone: Pool,
    same: Pool,
    generator: torch.Generator,
) -> Float[Tensor, " answer"]:
    logprobs = scrubbed_logprobs(bench, edges, anyone, same, generator)
    return answer_scores(bench, logprobs, metric).double()


def scrubbed_logprobs(
    bench: Bench,
    edges: frozenset[Edge],
    anyone: Pool,
    same: Pool,
    generator: torch.Generator,
) -> Float[Tensor, "answer vocab"]:
    """Log-probabilities at the answers, with sources exchanged edge by edge.

    Args:
        bench: the model at work on the prompts.
        edges: the hypothesis; every other edge is exchanged with `anyone`.
        anyone: which prompts may stand in on edges outside.
        same: which may on edges inside.
        generator: what draws them.
    """
    clean, topology = bench.clean.outputs, bench.weights.topology

    def carried(
        receiver: Receiver, written: Float[Tensor, "src batch pos d_model"]
    ) -> Float[Tensor, "batch pos d_model"]:
        n = len(written)
        # Both are drawn for every edge, so that circuits are compared on the same draws.
        outside, inside = anyone.draw(n, generator), same.draw(n, generator)
        present = torch.tensor(
            [Edge.into(source, receiver) in edges for source in topology.sources_of(receiver)]
        )
        kept = _exchanged(written, present, inside)
        return kept + _exchanged(clean[:n], ~present, outside)

    with torch.no_grad():
        final = run_carrying(bench.weights, bench.prompts.clean, carried)
        at_answers = bench.layout.at_answers(final.flatten(0, 1))
        return logits_of(bench.weights, at_answers).log_softmax(-1)


def _exchanged(
    outputs: Float[Tensor, "src batch pos d_model"],
    which: Bool[Tensor, " src"],
    rows: Int[Tensor, "src batch"],
) -> Float[Tensor, "batch pos d_model"]:
    """What the sources in `which` write, in sum, each on the rows drawn for it."""
    sources = which.nonzero()
    return outputs[sources, rows[which]].sum(0)
