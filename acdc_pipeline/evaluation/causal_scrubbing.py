"""Causal scrubbing: a circuit as a hypothesis about which inputs a model's answer depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.forward import embed, unembed
from acdc_pipeline.engine.receiver_forward import ReceiverForward
from acdc_pipeline.engine.shared_outputs import needed_sources
from acdc_pipeline.evaluation.exchange import alike, of_one_length
from acdc_pipeline.evaluation.exchanged_sums import Exchange, ExchangedSums
from acdc_pipeline.evaluation.interval import ratio_interval
from acdc_pipeline.evaluation.measure import answer_scores, require_answers
from acdc_pipeline.graph import Circuit, Edge, Receiver
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.specs.names import MetricName

_SOURCES = 32
"""Whose clean outputs are copied and transformed together."""


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
    bench: Bench,
    metric: MetricName,
    circuit: Circuit,
    *,
    draws: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Recovery:
    """The share of `metric` that survives resampling by the hypothesis `circuit`.

    Chan et al. 2022, "Causal scrubbing" (Alignment Forum). Every edge outside the circuit carries
    its source's clean activation on a prompt of the same token length, drawn for each edge on its
    own. Every edge of the circuit carries its source's current output on a prompt that agrees in
    template, token length and roles, drawn likewise; where prompts declare no roles, on the prompt
    itself. A draw shifts the prompts that may stand in for one another in a circle (see `Pool`), so
    that each prompt meets any of them with the same chance, on every edge anew. The published
    method recomputes what a receiver reads as a tree of inputs; here sources are run once per draw
    and shared between their receivers.

    Args:
        bench: the model at work on prompts each of which has another of its length
            (see `exchange.with_partners`). Its ablation plays no part.
        metric: what is measured.
        circuit: the hypothesis.
        draws: how many times everything is drawn anew, at least 1.
        seed: of all draws and of the bootstrap. The draws of an edge do not depend on the circuit.
        advance: called with the number of forwards done since the last call, two a draw.

    Raises:
        PromptError: the metric compares with incorrect answers, and a prompt has none.
    """
    require_answers(bench, metric)
    anyone, same = of_one_length(bench.prompts), alike(bench.prompts)
    n_edges = bench.weights.topology.n_edges
    generator = torch.Generator().manual_seed(seed)
    ours, nothing = [], []
    for _ in range(draws):
        outside = Exchange(anyone, anyone.draw(n_edges, generator))
        inside = Exchange(same, same.draw(n_edges, generator))
        logprobs = scrubbed_logprobs(bench, [circuit.edges, frozenset()], outside, inside)
        for scores, some in zip((ours, nothing), logprobs, strict=True):
            scores.append(answer_scores(bench, some, metric).double())
        advance(2)
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


def scrubbed_logprobs(
    bench: Bench, circuits: Sequence[frozenset[Edge]], outside: Exchange, inside: Exchange
) -> Float[Tensor, "circuit answer vocab"]:
    """Log-probabilities at the answers, with sources exchanged edge by edge.

    Args:
        bench: the model at work on the prompts.
        circuits: the edges of each hypothesis.
        outside: what every other edge reads of the clean outputs. Prompts of a group have the
            same token length.
        inside: what the edges of the hypothesis read of the current outputs. Each of its groups
            is part of one of `outside`.
    """
    present = [bench.weights.topology.edge_mask(edges) for edges in circuits]
    outputs, final = bench.clean.outputs, bench.clean.final
    finals = final.new_zeros(len(circuits), *final.shape)
    with torch.no_grad():
        for members in outside.pool.members:
            rows, length = list(members), int(bench.prompts.lengths[list(members)].max())
            clean = ExchangedSums(outside.restricted_to(rows), len(outputs))
            for first in range(0, len(outputs), _SOURCES):
                some = outputs[first : first + _SOURCES, :, :length][:, rows]
                clean.write(some, range(first, first + len(some)))
            embedded = embed(bench.weights, bench.prompts.clean[rows, :length])
            for mask, to in zip(present, finals, strict=True):
                current = ExchangedSums(inside.restricted_to(rows), len(outputs))
                to[rows, :length] = _Scrubbed(bench.weights, mask, clean, current).final(embedded)
        at_answers = bench.layout.at_answers(finals.flatten(1, 2))
        return unembed(bench.weights, at_answers).log_softmax(-1)


class _Scrubbed(ReceiverForward):
    """A forward in which every edge carries its source's output on a prompt of its own.

    Args:
        weights: the model.
        present: the edges of the hypothesis.
        clean: what each source writes in the clean run, for the edges that are not present.
        current: takes what each source writes here, for those that are.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        present: Bool[np.ndarray, " edge"],
        clean: ExchangedSums,
        current: ExchangedSums,
    ) -> None:
        super().__init__(weights, needed_sources(weights, present))
        self.present = torch.from_numpy(present)
        self.clean, self.current = clean, current

    def write(self, written: Float[Tensor, "n batch pos d_model"], sources: Sequence[int]) -> None:
        self.current.write(written, sources)

    def read(self, receivers: Sequence[Receiver]) -> Float[Tensor, "n batch pos d_model"]:
        first = torch.tensor([self.topology.first_edge[receiver] for receiver in receivers])
        edges = first[:, None] + torch.arange(self.n_sources)
        stream = self.clean.over(edges, ~self.present[edges])
        if self.present[edges].any():
            stream = stream + self.current.over(edges, self.present[edges])
        return stream if self.constant is None else stream + self.constant
