"""A model on a set of prompts: clean and ablated outputs, and searches that start from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.forward import SourceOutputs, head_width, mlp_width, run_sources, unembed
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.memory_plan import MemoryPlan, ModelShape
from acdc_pipeline.engine.objectives import Objective
from acdc_pipeline.engine.search.coupled_search import CoupledSearch
from acdc_pipeline.engine.search.positional_coupled import PositionalCoupledSearch
from acdc_pipeline.engine.search.positional_search import PositionalSearch
from acdc_pipeline.engine.search.search import Search
from acdc_pipeline.engine.search.subgraph_search import SubgraphSearch
from acdc_pipeline.engine.span_rows import graph_spans
from acdc_pipeline.engine.spill import Spill
from acdc_pipeline.engine.without_edges import by_receiver, run_without
from acdc_pipeline.errors import PromptError
from acdc_pipeline.graph import Edge
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.specs.names import Ablation
from acdc_pipeline.specs.own_metric import Metric

ScoreCircuits = Callable[..., list[Any]]
"""As `evaluation.measure.score_circuits`, without its first argument."""


@dataclass(frozen=True)
class Bench:
    """A model on one set of prompts: everything that methods measure against.

    Args:
        layout: how they are flattened into rows.
        ablated: what removed edges carry.
        logprobs: the whole model's log-probabilities at the answers.
        answer_weight: the weight of each answer in objectives, 1 in total; None means equal. With
            whole answers it is the weight of each prompt.
        own_metric: the metric of one's own that may be measured here beside the built-in ones.
        spill: where outputs are that the memory budget does not hold, and what a search holds of
            receivers; None for the device's memory.
        score_elsewhere: other workers that measure circuits on these prompts; None for this
            process.
    """

    weights: TransformerWeights
    prompts: PromptSet
    layout: Layout
    clean: SourceOutputs
    ablated: Float[Tensor, "src batch pos d_model"]
    logprobs: Float[Tensor, "answer vocab"]
    answer_weight: Float[Tensor, " _"] | None = None
    own_metric: Metric | None = None
    spill: Spill | None = None
    score_elsewhere: ScoreCircuits | None = None

    @cached_property
    def logits(self) -> Float[Tensor, "answer vocab"]:
        """The whole model's logits at the answers, of which `logprobs` are the log-softmax."""
        with torch.no_grad():
            return unembed(self.weights, self.layout.at_answers(self.clean.final.flatten(0, 1)))

    @cached_property
    def without_one_span(self) -> Bench:
        """The bench of `weights.without_one_span`, whose results have the same bytes."""
        if self.weights.one_span is None:
            return self
        return replace(
            self,
            weights=self.weights.without_one_span,
            prompts=replace(self.prompts, spans=None),
            layout=replace(self.layout, span_index=None),
        )

    def search(self, objective: Objective, *, memory: int) -> Search[Any]:
        """A search that starts from the whole model, in `memory` bytes in addition to the weights.

        Outputs in a `spill` are not among them.

        Raises:
            OutOfMemoryBudget: what the search always holds exceeds `memory`.
        """
        if self.weights.one_span is not None:
            found = self.without_one_span.search(objective, memory=memory)
            found.ignored_span = self.weights.one_span
            return found
        plan = self.memory_plan()
        left = memory
        if self.spill is None:
            plan.require(memory)
            left = memory - plan.sources
        model = (self.weights, self.clean, self.ablated, self.layout, objective, left)
        if self.weights.spans is not None:
            search = PositionalCoupledSearch if self.weights.coupled else PositionalSearch
            return search(*model, self.spill)
        if self.weights.coupled:
            return CoupledSearch(*model, self.spill)
        return SubgraphSearch(*model, plan, self.spill)

    def search_without(
        self, edges: Collection[Edge], objective: Objective, *, memory: int
    ) -> Search[Any]:
        """A search from the model without `edges`, as `search` is from the whole model."""
        if self.weights.one_span is not None:
            plain = [Edge.into(e.src, replace(e.receiver, span=None)) for e in edges]
            found = self.without_one_span.search_without(plain, objective, memory=memory)
            found.ignored_span = self.weights.one_span
            return found
        plan, without = self.memory_plan(), by_receiver(edges)
        left = memory
        if self.spill is None:
            plan.require(memory)
            # The outputs without the edges are held beside those of the whole model.
            left = memory - 2 * plan.sources
        clean = run_without(
            self.weights, self.prompts, self.ablated, without, self.layout, self.spill
        )
        model = (self.weights, clean, self.ablated, self.layout, objective, left)
        if self.weights.spans is not None:
            search = PositionalCoupledSearch if self.weights.coupled else PositionalSearch
            return search(*model, self.spill, without)
        if self.weights.coupled:
            return CoupledSearch(*model, self.spill, without)
        return SubgraphSearch(*model, plan, self.spill, without)

    def memory_plan(self) -> MemoryPlan:
        """The memory that a search of this model on these prompts takes."""
        return plan_memory(self.weights, self.layout)


def plan_memory(weights: TransformerWeights, layout: Layout) -> MemoryPlan:
    """Return the memory that a search of a model on prompts of some layout takes."""
    shape = ModelShape(
        topology=weights.topology,
        d_model=weights.d_model,
        d_head=head_width(weights),
        d_mlp=mlp_width(weights),
        vocab=weights.w_u.shape[1],
    )
    return MemoryPlan(
        shape,
        prompts=layout.batch,
        tokens=layout.pos,
        answers=len(layout.answer_row),
        itemsize=weights.dtype.itemsize,
    )


def set_up(
    weights: TransformerWeights,
    prompts: PromptSet,
    ablation: Ablation,
    own_metric: Metric | None = None,
    memory: int | None = None,
) -> Bench:
    """Run the model on clean and corrupted prompts, and store what every method needs.

    Args:
        memory: outputs of sources that take more bytes are kept in a `Spill`; None never does.

    Raises:
        PromptError: the model cannot process the prompts.
    """
    check_attention(weights, prompts)
    prompts = prompts.to(weights.device)
    weights = with_spans(weights, prompts)
    layout = layout_of(prompts)
    large = memory is not None and plan_memory(weights, layout).sources > memory
    spill = Spill() if large else None
    with torch.no_grad():
        clean = run_sources(weights, prompts.clean, spill)
        ablated = ablated_outputs(
            weights, prompts.corrupted, prompts.lengths, ablation, prompts.counterpart, spill
        )
        final = layout.at_answers(clean.final.flatten(0, 1))
        logprobs = unembed(weights, final).log_softmax(-1)
    return Bench(
        weights, prompts, layout, clean, ablated, logprobs, own_metric=own_metric, spill=spill
    )


def layout_of(prompts: PromptSet) -> Layout:
    """Return how prompts are flattened into rows."""
    return Layout(
        batch=len(prompts),
        pos=prompts.clean.shape[1],
        answer_row=prompts.answer_row,
        answer_pos=prompts.answer_pos,
        span_index=None if prompts.spans is None else prompts.spans.index,
    )


def with_spans(weights: TransformerWeights, prompts: PromptSet) -> TransformerWeights:
    """Return the model with the spans of prompts, if they have any."""
    if prompts.spans is None:
        return weights
    return replace(weights, spans=graph_spans(prompts.spans, weights.bidirectional))


def check_attention(weights: TransformerWeights, prompts: PromptSet) -> None:
    """Raise PromptError if attention to later tokens would see padding or answers."""
    if not weights.bidirectional:
        return
    if prompts.whole is not None:
        raise PromptError(
            "whole answers are predicted token by token, and bidirectional attention sees them",
            fix="use answers of one token with this model",
        )
    if len(set(prompts.lengths.tolist())) > 1 or prompts.counterpart is not None:
        raise PromptError(
            "prompts differ in length, and bidirectional attention would see the padding",
            fix="use prompts of one length with this model",
        )


def ablated_outputs(
    weights: TransformerWeights,
    corrupted: Int[Tensor, "batch corrupted_pos"],
    lengths: Int[Tensor, " batch"],
    ablation: Ablation,
    counterpart: Int[Tensor, "batch pos"] | None = None,
    spill: Spill | None = None,
) -> Float[Tensor, "src batch pos d_model"]:
    """What a removed edge carries in place of each source's output.

    `corrupted`: its output on the same row's counterfactual (resample ablation). `zero`: nothing.
    `mean`: at each position, its mean output over the counterfactuals that reach it. Biases of the
    attention output belong to no head, so no ablation removes them; an MLP's output bias is part
    of its node.

    Args:
        lengths: number of tokens of each clean prompt.
        counterpart: the position of the counterfactual whose output counts at each clean position;
            None where the sides correspond token by token. The mean is then one of the outputs
            that counterfactuals have there.
        spill: where they are kept; None for the device's memory.
    """
    outputs = _outputs_at_clean_positions(weights, corrupted, counterpart, spill)
    if ablation == "corrupted":
        return outputs
    return outputs.zero_() if ablation == "zero" else mean_over_prompts(outputs, lengths, spill)


def mean_over_prompts(
    outputs: Float[Tensor, "src batch pos d_model"],
    lengths: Int[Tensor, " batch"],
    spill: Spill | None = None,
) -> Float[Tensor, "src batch pos d_model"]:
    """At each position the mean output over the prompts that reach it, for every prompt.

    Args:
        spill: where `outputs` are; None for the device's memory.
    """
    if spill is not None:  # one by one, for the product takes as much memory as the outputs
        sums = [_sum_over_prompts(output[None], lengths) for output in outputs]
        return (torch.cat([s for s, _ in sums]) / sums[0][1].clamp(min=1)).expand_as(outputs)
    total, count = _sum_over_prompts(outputs, lengths)
    return (total / count.clamp(min=1)).expand_as(outputs)


def mean_outputs(
    weights: TransformerWeights, parts: Sequence[PromptSet]
) -> Float[Tensor, "src 1 pos d_model"]:
    """What removed edges carry under mean ablation, summed over `parts` one after the other.

    Args:
        parts: the prompts, in groups of one length.
    """
    sums = [
        _sum_over_prompts(
            _outputs_at_clean_positions(weights, part.corrupted, part.counterpart), part.lengths
        )
        for part in (part.to(weights.device) for part in parts)
    ]
    total, count = (reduce(torch.add, terms) for terms in zip(*sums, strict=True))
    return total / count.clamp(min=1)


def _outputs_at_clean_positions(
    weights: TransformerWeights,
    corrupted: Int[Tensor, "batch corrupted_pos"],
    counterpart: Int[Tensor, "batch pos"] | None,
    spill: Spill | None = None,
) -> Float[Tensor, "src batch pos d_model"]:
    outputs = run_sources(weights, corrupted, spill).outputs
    if counterpart is None:
        return outputs
    rows = torch.arange(len(corrupted), device=corrupted.device)[:, None]
    if spill is None:
        return outputs[:, rows, counterpart]
    chosen = spill.empty((len(outputs), *counterpart.shape, outputs.shape[3]), outputs)
    for output, place in zip(outputs, chosen, strict=True):
        place.copy_(output[rows, counterpart])
    return chosen


def _sum_over_prompts(
    outputs: Float[Tensor, "src batch pos d_model"], lengths: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, "src 1 pos d_model"], Float[Tensor, "1 1 pos 1"]]:
    """The sum over the prompts that reach a position, and their number."""
    positions = torch.arange(outputs.shape[2], device=lengths.device)
    real = (positions[None] < lengths[:, None]).to(outputs.dtype)[None, :, :, None]
    return (outputs * real).sum(1, keepdim=True), real.sum(1, keepdim=True)
