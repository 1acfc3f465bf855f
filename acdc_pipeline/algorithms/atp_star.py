"""AtP* on edges: attention patterns computed again, and gradients without one layer each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.algorithms.edge_attribution import max_prompts_at_once
from acdc_pipeline.algorithms.scoring import EdgeScores, ScoringProblem
from acdc_pipeline.engine.components import Stream
from acdc_pipeline.engine.forward import Streams, streams_from_outputs
from acdc_pipeline.engine.gradients.patterns import MixedValues
from acdc_pipeline.engine.gradients.receiver_gradients import (
    GRADIENTS,
    Propagation,
    ReceiverGradients,
    final_gradient,
    receiver_gradients,
)
from acdc_pipeline.engine.receiver_forward import Outputs
from acdc_pipeline.engine.span_rows import masks_by_span
from acdc_pipeline.graph import Receiver
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.specs.methods.estimates import AtpStarMethod


def atp_star(problem: ScoringProblem, method: AtpStarMethod) -> EdgeScores:
    """EAP with two corrections of Kramár et al. 2024 (arXiv 2403.00745), on edges.

        I(u → v) = (ablated_u - clean_u) · ∂M/∂input_v               v an MLP, a value, the logits
        I(u → v) = Σ (pattern without u → v - pattern) · ∂M/∂pattern  v a query or a key

    QK correction (section 3.1.1): the pattern of a head whose query, or key, reads ablated_u in
    place of clean_u is computed exactly, and what follows is linear in it. The paper changes the
    query or key of one position at a time; an edge is removed at all of its positions at once.

    GradDrop (section 3.1.2): an estimate is made with each layer's contribution to the stream
    held constant in turn, so that effects that cancel through one layer are seen without it:

        score(u → v) = mean over layers l other than v's of Σ over prompts |I with l held constant|

    The paper divides the sum over all layers by their number less one, v's own giving 0; edges into
    `logits` have the plain estimate here. With one layer nothing is held constant. Magnitudes are
    taken on each prompt, whose share of the answers weighs it.

    With `grad_drop: none` the score is Σ over prompts of I, with its sign.

    Costs two forward passes, one backward pass and L / 2 more for GradDrop, in L layers; and for
    each layer and source before it, the queries, the keys and two patterns of every head: for each
    span. KL divergence cannot be the metric, as for EAP. Higher means more needed, in units of the
    metric.
    """
    bench = problem.bench
    streams = streams_from_outputs(bench.weights, bench.clean)
    at_final = final_gradient(problem.differentiable, bench.layout, streams.final)
    scores = {
        receiver: torch.zeros(problem.topology.n_sources_of(receiver), dtype=torch.float64)
        for receiver in problem.topology.receivers
    }
    at_once = max_prompts_at_once(bench, problem.memory)
    for start in range(0, bench.layout.batch, at_once):
        chosen = slice(start, start + at_once)
        some = _Prompts(problem, method, streams.of_prompts(chosen), at_final[chosen], chosen)
        for receiver, effects in some.effects():
            scores[receiver] += effects.cpu().double()
        problem.advance(min(1.0, (start + at_once) / bench.layout.batch))
    by_edge = torch.cat([scores[receiver] for receiver in problem.topology.receivers])
    return dict(zip(problem.topology.edges, by_edge.tolist(), strict=True))


@dataclass(frozen=True)
class _Prompts:
    """Some prompts: their streams, and the gradient by the final one."""

    problem: ScoringProblem
    method: AtpStarMethod
    streams: Streams
    at_final: Stream
    chosen: slice

    def effects(self) -> Iterator[tuple[Receiver, Float[Tensor, " src"]]]:
        """Yield parts of the scores of the edges into receivers, to be added up."""
        bench, topology = self.problem.bench, self.problem.topology
        steps = bench.ablated[:, self.chosen] - bench.clean.outputs[:, self.chosen]
        spans = masks_by_span(bench.layout, topology.spans, self.chosen)
        into_heads: dict[int, list[tuple[float, Stream]]] = {}
        for weight, group, at_heads in self._gradients():
            receivers, gradient = group.receivers, group.gradient
            layer = receivers[0].node.layer
            if at_heads is not None and layer is not None:
                into_heads.setdefault(layer, []).append((weight, at_heads))
                # Queries and keys follow below.
                values = [i for i, receiver in enumerate(receivers) if receiver.slot == "v"]
                receivers = [receivers[i] for i in values]
                gradient = gradient[values]
            seen = steps[: topology.n_sources_of(receivers[0])]
            for span, mask in spans:
                at_step = seen if mask is None else seen * mask
                products = torch.einsum("sbpd,nbpd->nsb", at_step, gradient)
                yield from self._summed(receivers, span, [weight], products[None])
        for layer, points in into_heads.items():
            mixing = MixedValues(
                bench.weights.blocks[layer], self.streams.heads[layer], self.problem.memory
            )
            weights = [weight for weight, _ in points]
            at_mixed = torch.stack([mixing.gradient(at_heads) for _, at_heads in points])
            for slot in ("q", "k"):
                receivers = [Receiver(node, slot) for node in topology.heads(layer)]
                seen = steps[: topology.n_sources_of(receivers[0])]
                for span, mask in spans:
                    at_step = seen if mask is None else seen * mask
                    effects = mixing.effects(slot, at_step, at_mixed)
                    yield from self._summed(receivers, span, weights, effects)

    def _summed(
        self,
        receivers: Sequence[Receiver],
        span: str | None,
        weights: Sequence[float],
        effects: Float[Tensor, "point n src batch"],
    ) -> Iterator[tuple[Receiver, Float[Tensor, " src"]]]:
        """Sum effects, or their magnitudes, over prompts and weighted points."""
        by_prompt = effects if self.method.grad_drop == "none" else effects.abs()
        total = torch.einsum("p,pnsb->ns", effects.new_tensor(weights), by_prompt)
        for receiver, row in zip(receivers, total, strict=True):
            here = replace(receiver, span=span)
            if here in self.problem.topology.first_edge:  # `logits` is read in some spans alone
                yield here, row

    def _gradients(self) -> Iterator[tuple[float, ReceiverGradients, Stream | None]]:
        """Yield gradients with their weights; with those of heads, that by what the heads write.

        First those of the whole model, then, for each layer that is held constant, those of the
        layers before it: all others are as in the whole model.
        """
        weights = self.problem.bench.weights
        n_others = len(weights.blocks) - 1
        dropping = self.method.grad_drop == "layers" and n_others > 0
        at_heads: list[Stream] = []

        def through_heads(
            weights: TransformerWeights, layer: int, stream: Stream, at_output: Stream
        ) -> Outputs:
            at_heads.append(at_output)
            return GRADIENTS.heads(weights, layer, stream, at_output)

        recording: Propagation = replace(GRADIENTS, heads=through_heads)

        def groups(streams: Streams, at_final: Stream) -> Iterator[ReceiverGradients]:
            return receiver_gradients(weights, streams, at_final, recording)

        after: dict[int, Stream] = {}
        gradient = self.at_final
        for group in groups(self.streams, self.at_final):
            layer = group.receivers[0].node.layer
            if layer is None:
                yield 1.0, group, None
                continue
            after.setdefault(layer, gradient)
            gradient = gradient + group.gradient.sum(0)
            # Layers before this one make no difference to its gradients.
            weight = layer / n_others if dropping else 1.0
            yield weight, group, at_heads.pop() if at_heads else None
        if not dropping:
            return
        for dropped, at_output in after.items():
            backwards = groups(_before(self.streams, dropped), at_output)
            next(backwards)  # the logits
            for group in backwards:
                yield 1 / n_others, group, at_heads.pop() if at_heads else None


def _before(streams: Streams, layer: int) -> Streams:
    """The streams of the layers before `layer`."""
    heads, mixers, mlps = (
        {at: stream for at, stream in of_kind.items() if at < layer}
        for of_kind in (streams.heads, streams.mixers, streams.mlps)
    )
    return Streams(heads, mixers, mlps, streams.final)
