"""Causal scrubbing: a circuit as a hypothesis about which inputs a model's answer depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.forward import embed, logits_of
from acdc_pipeline.engine.receiver_forward import ReceiverForward
from acdc_pipeline.engine.shared_outputs import needed_sources
from acdc_pipeline.evaluation.exchange import Pool, alike, of_one_length
from acdc_pipeline.evaluation.interval import ratio_interval
from acdc_pipeline.evaluation.measure import answer_scores, require_answers
from acdc_pipeline.graph import Circuit, Edge, Receiver
from acdc_pipeline.specs.names import MetricName

_COLUMNS = 128
"""Of a source's output that are summed over edges together: what all sources write there on all
prompts stays in cache, and torch sums rows of this width fastest."""


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
    itself. The published method recomputes what a receiver reads as a tree of inputs; here sources
    are run once per draw and shared between their receivers.

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
    generator = torch.Generator().manual_seed(seed)
    ours, nothing = [], []
    for _ in range(draws):
        state = generator.get_state()
        ours.append(_scores(bench, metric, circuit.edges, anyone, same, generator))
        generator.set_state(state)
        nothing.append(_scores(bench, metric, frozenset(), anyone, same, generator))
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
    topology = bench.weights.topology
    present = topology.edge_mask(edges)
    # Both are drawn for every edge, so that circuits are compared on the same draws.
    rows = []
    for receiver in topology.receivers:
        n = topology.n_sources_of(receiver)
        outside, inside = anyone.draw(n, generator), same.draw(n, generator)
        first = topology.first_edge[receiver]
        kept = torch.from_numpy(present[first : first + n])[:, None]
        rows.append(torch.where(kept, inside, outside))
    run = _Scrubbed(bench, present, torch.cat(rows))
    with torch.no_grad():
        final = run.final(embed(bench.weights, bench.prompts.clean))
        at_answers = bench.layout.at_answers(final.flatten(0, 1))
        return logits_of(bench.weights, at_answers).log_softmax(-1)


class _Scrubbed(ReceiverForward):
    """A forward in which every edge carries its source's output on a prompt of its own.

    Args:
        bench: the model at work on the prompts.
        present: the edges of the hypothesis, which carry current outputs; others carry clean ones.
        rows: for each edge and prompt, the prompt that stands in for it there.
    """

    def __init__(
        self,
        bench: Bench,
        present: Bool[np.ndarray, " edge"],
        rows: Int[Tensor, "edge batch"],
    ) -> None:
        super().__init__(bench.weights, needed_sources(bench.weights, present))
        self.present = present
        self.rows = rows
        self.clean = bench.clean.outputs
        self.current = torch.zeros_like(self.clean)

    def write(self, written: Float[Tensor, "n batch pos d_model"], sources: Sequence[int]) -> None:
        self.current[list(sources)] = written

    def read(self, receivers: Sequence[Receiver]) -> Float[Tensor, "n batch pos d_model"]:
        n, (_, batch, pos, d_model) = self.n_sources, self.clean.shape
        first = torch.tensor([self.topology.first_edge[receiver] for receiver in receivers])
        edges = first[:, None] + torch.arange(n)
        # A row of both: the clean outputs of all sources on all prompts, then the current ones.
        offset = (torch.from_numpy(self.present)[edges].long() * n + torch.arange(n)) * batch
        at = (offset[:, :, None] + self.rows[edges]).transpose(1, 2).flatten(0, 1)
        at = at.to(self.clean.device)
        both = [part[:n].flatten(0, 1).flatten(1) for part in (self.clean, self.current)]
        total = self.clean.new_empty(len(at), pos * d_model)
        for start in range(0, pos * d_model, _COLUMNS):
            columns = slice(start, start + _COLUMNS)
            some = torch.cat([part[:, columns] for part in both])
            total[:, columns] = functional.embedding_bag(at, some, mode="sum")
        stream = total.view(len(receivers), batch, pos, d_model)
        return stream if self.constant is None else stream + self.constant
