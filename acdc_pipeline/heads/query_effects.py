"""Path patching from heads into the queries of movers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from acdc_pipeline.engine.components import Stream
from acdc_pipeline.engine.forward import embed
from acdc_pipeline.graph import Node
from acdc_pipeline.heads.answers import AnswerLogit, answer_logit, select_prompts
from acdc_pipeline.heads.batches import chunks, length_groups, rows_at_once, rows_in_cache
from acdc_pipeline.heads.layer_run import Edits, after_mlp, attend, final_at, run_layers
from acdc_pipeline.heads.task_scores import prompts_together
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet

QueriesElsewhere = Callable[[int, int], Tensor]
"""Takes a part of the prompts and a layer; returns the effects of the heads of that layer."""


def query_effects(
    weights: TransformerWeights,
    prompts: PromptSet,
    movers: Sequence[Node],
    *,
    memory: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    elsewhere: QueriesElsewhere | None = None,
) -> Float64[np.ndarray, "sample layer head"]:
    """The answer logit lost when only the movers' queries see a head's counterfactual output.

    Path patching (Wang et al. 2022, arXiv 2211.00593, section 3.2): the edges from the head to
    the queries of all later `movers` carry its output on the counterfactual prompt, and what
    depends on them is recomputed; everything else is as in the clean run. NaN for heads with no
    later mover.

    Args:
        progress: called after each layer of each part of the prompts with the number of layers
            done and their total.
        elsewhere: returns what `QueryPatcher.effects` does, where others compute it.
    """
    patcher = QueryPatcher(weights, prompts, movers, memory)
    effects = patcher.effects if elsewhere is None else elsewhere
    layers, n_layers = patcher.layers, len(weights.blocks)
    parts = []
    for part in range(len(patcher.parts)):
        found = []
        for layer in layers:
            found.append(effects(part, layer).cpu())
            progress(part * len(layers) + layer + 1, len(patcher.parts) * len(layers))
        n_answers = len(select_prompts(prompts, patcher.parts[part])[1])
        shape = weights.topology.n_heads, n_answers
        missing = torch.full(shape, torch.nan, dtype=weights.dtype)
        parts.append(torch.stack(found + [missing] * (n_layers - len(layers))))
    return torch.cat(parts, dim=-1).permute(2, 0, 1).to(torch.float64).numpy()


class QueryPatcher:
    """Patches paths layer by layer on some of the prompts after others, as many as memory holds.

    The next layer of the same prompts goes on where the last one ended.

    Attributes:
        parts: the prompts that are run together.
        layers: those before the last mover.
    """

    def __init__(
        self, weights: TransformerWeights, prompts: PromptSet, movers: Sequence[Node], memory: int
    ) -> None:
        self.weights, self.prompts, self.movers, self.memory = weights, prompts, movers, memory
        self.parts = prompts_together(weights, prompts, memory)
        self.layers = layers_before(movers)
        self._pass: tuple[int, _Pass] | None = None

    @torch.no_grad()
    def effects(self, part: int, layer: int) -> Float[Tensor, "head answer"]:
        """Return the effects of the heads of one layer on one part; NaN if it has none."""
        if self._pass is None or self._pass[0] != part or self._pass[1].layer > layer:
            self._pass = None
            prompts, which = select_prompts(self.prompts, self.parts[part])
            answers = answer_logit(self.weights, self.prompts.correct, self.prompts.incorrect)
            own = answers.select(which)
            self._pass = part, _Pass(self.weights, prompts, own, self.movers, self.memory)
        running = self._pass[1]
        while running.layer < layer:
            running.skip()
        return running.patch()


def layers_before(movers: Sequence[Node]) -> range:
    """Return the layers before the last mover."""
    return range(max((node.layer or 0 for node in movers), default=0))


class _Pass:
    """A pass over some prompts, which is before `layer`; of the clean run, the streams are held."""

    def __init__(
        self,
        weights: TransformerWeights,
        prompts: PromptSet,
        answers: AnswerLogit,
        movers: Sequence[Node],
        memory: int,
    ) -> None:
        self.weights, self.answers, self.layer = weights, answers, 0
        self.movers = [node for node in movers if node.layer is not None]
        last = len(layers_before(movers))
        self.streams: list[Stream] = [embed(weights, prompts.clean)]
        for layer in range(last):
            self.streams.append(
                run_layers(weights, self.streams[layer], first=layer, stop=layer + 1)
            )
        at = (prompts.answer_row, prompts.answer_pos)
        self.clean = answers.of(final_at(weights, self.streams[last], at, first=last))
        self.held = rows_at_once(weights, prompts.clean.shape[1], memory) // 2
        self.groups = length_groups(weights, prompts, weights.topology.n_heads)
        self.corrupted: Stream = embed(weights, prompts.corrupted)

    def skip(self) -> None:
        """Run the next layer."""
        layer = self.layer
        self.corrupted = run_layers(self.weights, self.corrupted, first=layer, stop=layer + 1)
        self.layer += 1

    def patch(self) -> Float[Tensor, "head answer"]:
        """Run the next layer, and return the effects of its heads."""
        weights, layer, clean = self.weights, self.layer, self.clean
        n_heads = weights.topology.n_heads
        if weights.shapes[layer].attn is None:
            self.skip()
            return clean.new_full((n_heads, len(clean)), torch.nan)
        run, other = (attend(weights, layer, x) for x in (self.streams[layer], self.corrupted))
        self.corrupted = after_mlp(weights, layer, self.corrupted, other.attended)
        self.layer += 1
        later = [node for node in self.movers if (node.layer or 0) > layer]
        first = min(node.layer or 0 for node in later)
        final = clean.new_empty(n_heads, len(clean), weights.d_model)
        for group in self.groups:
            at_once = min(self.held, rows_in_cache(weights, group.width)) // len(group.rows)
            change = group.select(other.written) - group.select(run.written)
            for heads in chunks(n_heads, at_once):
                states = change[heads]
                edits = Edits(query_shift=dict.fromkeys(later, states.flatten(0, 1)))
                stream = group.select(self.streams[first]).repeat(len(states), 1, 1)
                places = group.places_in(len(states))
                final[heads, group.answers] = final_at(
                    weights, stream, places, first=first, edits=edits
                )
        return clean - self.answers.of(final)
