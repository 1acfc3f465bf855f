"""Causal scrubbing: a circuit as a hypothesis about the inputs that a model's answer depends on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.answer_batches import OutputsOfPrompts
from acdc_pipeline.engine.forward import embed, unembed
from acdc_pipeline.engine.receiver_forward import Outputs, ReceiverForward
from acdc_pipeline.engine.shared_outputs import needed_sources
from acdc_pipeline.evaluation.exchange import Exchange, Pool, pool_by_length, pool_by_roles
from acdc_pipeline.evaluation.exchanged_sums import ExchangedSums, Room
from acdc_pipeline.evaluation.intervals import LEVEL, RESAMPLES
from acdc_pipeline.evaluation.measure import Advance, require_answers, score_answers
from acdc_pipeline.evaluation.span_scrubbing import scrub_in_spans
from acdc_pipeline.graph import Circuit, Edge, Receiver
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.specs.names import MetricKey

_PROMPTS = 10
"""Least number of prompts that are run together: products with few rows wait for the weights."""

_LAYERS = 4
"""Layers whose inputs from clean outputs are summed together, to fetch the outputs once."""

_FEW = 32
"""If fewer than one edge of this many is in a circuit, its edges are summed one by one."""

ScoredDraw = tuple[Float[Tensor, " answer"], Float[Tensor, " answer"]]
"""The metric of each answer under the hypothesis, and with every edge exchanged."""


@dataclass(frozen=True)
class Recovery:
    """The part of a metric that survives the exchanges which the hypothesis allows.

    Args:
        recovered: position of `hypothesis` between the fully scrubbed model (0) and the model (1).
            Higher is better; values outside that range are possible.
        low, high: 95 % bootstrap interval of `recovered`, over groups of prompts with equal roles,
            given the draws: their own noise is not in it.
        model: the metric of the whole model.
        hypothesis: the metric under the hypothesis, mean over draws.
        scrubbed: the metric with every edge exchanged, mean over draws.
        exchangeable: share of the prompts that agree with another in roles and template, so that
            edges of the circuit are exchanged too.
    """

    metric: MetricKey
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
    metric: MetricKey,
    circuit: Circuit,
    *,
    draws: int,
    seed: int,
    advance: Advance = lambda _: None,
    scored: Iterable[ScoredDraw] | None = None,
) -> Recovery:
    """Return the share of `metric` that survives resampling by the hypothesis `circuit`.

    Chan et al. 2022, "Causal scrubbing" (Alignment Forum). Every edge outside the circuit carries
    its source's clean activation on a prompt of the same token length, drawn independently for each
    edge. Every edge of the circuit carries its source's current output on a prompt of the same
    template, token length and roles, drawn likewise; if prompts declare no roles, on the prompt
    itself. In a graph with spans an edge carries what it does at the positions of its span, and the
    prompt that an edge of the circuit reads also has the same spans there. A draw puts each group
    of such prompts in random order and shifts it cyclically, by a number of its own for every edge
    (see `Pool`), so that a prompt is replaced by any of its group with equal probability. The
    published method recomputes the inputs of each receiver as a tree; here sources are run once per
    draw and shared between receivers.

    Args:
        bench: the model on prompts each of which shares its length with another
            (see `exchange.select_exchangeable`). Its ablation is not used.
        draws: number of independent draws, at least 1.
        seed: of the draws and the bootstrap. The draws of an edge do not depend on the circuit.
        scored: what `score_draw` returns for each draw, where others compute it.

    Raises PromptError, see `require_answers`. There are two forward passes per draw.
    """
    require_answers(bench, metric)
    by_roles = pool_by_roles(bench.prompts)
    if scored is None:
        exchanges = islice(_draw_exchanges(bench, seed), draws)
        scored = (_score(bench, metric, circuit, *exchange) for exchange in exchanges)
    in_circuit, in_nothing = [], []
    for of_circuit, of_nothing in scored:
        in_circuit.append(of_circuit)
        in_nothing.append(of_nothing)
        advance(2)
    model = score_answers(bench, bench.logits, metric).double()
    hypothesis, scrubbed = torch.stack(in_circuit).mean(0), torch.stack(in_nothing).mean(0)
    groups = by_roles.groups.to(bench.prompts.answer_row.device)[bench.prompts.answer_row]
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
        exchangeable=float((by_roles.count > 1).double().mean()),
    )


def score_draw(
    bench: Bench, metric: MetricKey, circuit: Circuit, *, draw: int, seed: int
) -> ScoredDraw:
    """Return the metric of each answer in one draw of `causal_scrubbing`, counted from 0.

    The first is that under the hypothesis, the second that with every edge exchanged.
    """
    exchange = next(islice(_draw_exchanges(bench, seed), draw, None))
    return _score(bench, metric, circuit, *exchange)


def _draw_exchanges(bench: Bench, seed: int) -> Iterator[tuple[Exchange, Exchange]]:
    """Draw the exchanges outside and inside of the circuit, again and again."""
    by_length, by_roles = pool_by_length(bench.prompts), pool_by_roles(bench.prompts)
    n_edges = bench.weights.topology.n_edges
    generator = torch.Generator().manual_seed(seed)
    while True:
        outside, inside = (
            Exchange(pool.shuffled(generator), pool.draw(n_edges, generator))
            for pool in (by_length, by_roles)
        )
        yield outside, inside


def _score(
    bench: Bench, metric: MetricKey, circuit: Circuit, outside: Exchange, inside: Exchange
) -> ScoredDraw:
    logits = scrubbed_logits(bench, [circuit.edges, frozenset()], outside, inside)
    of_circuit, of_nothing = (score_answers(bench, some, metric).double() for some in logits)
    return of_circuit, of_nothing


def scrubbed_logits(
    bench: Bench, circuits: Sequence[frozenset[Edge]], outside: Exchange, inside: Exchange
) -> Float[Tensor, "circuit answer vocab"]:
    """Return logits at the answers, with sources exchanged edge by edge.

    Args:
        circuits: the edges of each hypothesis.
        outside: prompts whose clean outputs the other edges read. Prompts of a group have the same
            token length.
        inside: prompts whose current outputs the edges of the hypothesis read. Each group is part
            of a group of `outside`.
    """
    present = [bench.weights.topology.edge_mask(edges) for edges in circuits]
    bench = bench.without_one_span
    if bench.weights.spans is not None:
        with torch.no_grad():
            finals = scrub_in_spans(bench, present, outside, inside)
            return unembed(bench.weights, bench.layout.at_answers(finals.flatten(1, 2)))
    outputs, final = bench.clean.outputs, bench.clean.final
    finals = final.new_zeros(len(circuits), *final.shape)
    batches = list(_batches(bench.prompts.lengths.tolist(), outside.pool, inside.pool))
    most_rows = max(len(rows) * length for rows, length in batches)
    rooms = [Room(most_rows * outputs[:, 0, 0].numel()) for _ in range(2)]
    of_sums = Room()
    with torch.no_grad():
        for rows, length in batches:
            clean = ExchangedSums(
                outside.restricted_to(rows), len(outputs), room=rooms[0], room_of_sums=of_sums
            )
            some = OutputsOfPrompts(outputs[:, :, :length], rows)
            for source in range(len(outputs)):
                clean.write(some.of(source)[None], [source])
            embedded = embed(bench.weights, bench.prompts.clean[rows, :length])
            for mask, to in zip(present, finals, strict=True):
                few = bool(mask.mean() * _FEW < 1)
                current = ExchangedSums(
                    inside.restricted_to(rows), len(outputs), few=few, room=rooms[1]
                )
                to[rows, :length] = _Scrubbed(bench.weights, mask, clean, current).final(embedded)
        at_answers = bench.layout.at_answers(finals.flatten(1, 2))
        return unembed(bench.weights, at_answers)


def ratio_interval(
    above: Float[Tensor, " answer"],
    below: Float[Tensor, " answer"],
    groups: Sequence[int],
    *,
    seed: int,
) -> tuple[float, float, float]:
    """Return mean(above) / mean(below) and its bootstrap percentile interval (Efron 1979).

    Whole groups are resampled, since the answers of a group depend on each other. If mean(below) is
    0, the ratio is 1 if mean(above) is 0 too (there was nothing to lose), else 0.

    Args:
        above, below: numerator and denominator, for each answer.
        groups: group of each answer, numbered from 0.
    """
    at = torch.tensor(groups)
    n = int(at.max()) + 1
    sums = torch.zeros(2, n, dtype=torch.float64)
    sums.index_add_(1, at, torch.stack([above, below]).double().cpu())
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(n, (RESAMPLES, n), generator=generator)
    ratios = _ratio(sums[0][drawn].sum(1), sums[1][drawn].sum(1))
    tail = (1 - LEVEL) / 2
    low, high = ratios.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return float(_ratio(*sums.sum(1, keepdim=True))), low, high


def _ratio(above: Float[Tensor, " n"], below: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    nothing = below == 0
    plain = above / below.where(~nothing, torch.ones_like(below))
    return plain.where(~nothing, (above == 0).double())


class _Scrubbed(ReceiverForward):
    """A forward pass in which every edge carries its source's output on a prompt of its own.

    Edges of the hypothesis (`present`) read outputs of this pass (`current`), others `clean` ones.
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
        self.clean_sums: dict[Receiver, Outputs] = {}

    def enter(self, layer: int) -> None:
        if layer % _LAYERS == 0:
            self._sum_clean(range(layer, min(layer + _LAYERS, self.topology.n_layers)))

    def _sum_clean(self, layers: range) -> None:
        """Sum the clean outputs for all receivers of `layers`, which fetches them once."""
        blocks = [block for layer in layers for block in self.receivers(layer)]
        receivers = [receiver for block in blocks for receiver in block]
        if not receivers:
            return
        counts = torch.tensor([self.topology.n_sources_of(receiver) for receiver in receivers])
        first = torch.tensor([self.topology.first_edge[receiver] for receiver in receivers])
        source = torch.arange(int(counts.max()))
        exists = source < counts[:, None]
        edges = first[:, None] + source.where(exists, 0)
        sums = self.clean.read(edges, ~self.present[edges] & exists)
        for block, of_block in zip(
            blocks, sums.split([len(block) for block in blocks]), strict=True
        ):
            self.clean_sums[block[0]] = of_block

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        if self.present.any():
            self.current.write(written, sources)

    def read(self, receivers: Sequence[Receiver]) -> Outputs:
        first = torch.tensor([self.topology.first_edge[receiver] for receiver in receivers])
        edges = first[:, None] + torch.arange(self.n_sources)
        present = self.present[edges]
        stream = self.clean_sums.pop(receivers[0], None)
        if stream is None:
            stream = self.clean.read(edges, ~present)
        if present.any():
            self.current.add_to(stream, edges, present)
        if self.constant is not None:
            stream += self.constant
        return stream


def _batches(
    lengths: Sequence[int], outside: Pool, inside: Pool
) -> Iterator[tuple[list[int], int]]:
    """Yield prompts that are run together, and the length that is run.

    They are whole groups of `outside`, the shortest first, with prompts of a group of `inside` side
    by side.
    """
    rows: list[int] = []
    for group in sorted(outside.members, key=lambda group: max(lengths[row] for row in group)):
        rows += sorted(group, key=lambda row: (int(inside.groups[row]), row))
        if len(rows) >= _PROMPTS:
            yield rows, max(lengths[row] for row in rows)
            rows = []
    if rows:
        yield rows, max(lengths[row] for row in rows)
