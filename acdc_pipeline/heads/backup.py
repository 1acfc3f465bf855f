"""Who takes over: what heads do differently once the main heads of a kind write nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from acdc_pipeline.engine.forward import embed
from acdc_pipeline.graph import Node, Topology
from acdc_pipeline.heads.answer_logit import answer_logit, frozen_scale, unscaled_gradient
from acdc_pipeline.heads.answer_places import rows_of
from acdc_pipeline.heads.attention_scores import one_attention_score
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.heads.edits import Edits, silenced
from acdc_pipeline.heads.layer_run import LayerRun, Places, run_layers, run_tokens
from acdc_pipeline.heads.random_token_scores import NextToken
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet

Measure = Callable[[Edits], Float64[np.ndarray, "sample layer head"]]
"""What every head does under some edits, sample by sample."""

OTHER_HEADS = 8
"""How often as many other heads are silenced, in the null."""

ON_TOKENS = {
    "induction": "copy_attribution",
    "previous_token": "previous_token",
    "duplicate_token": "duplicate_token",
}
"""The kinds that are searched for on random tokens, and the score whose change counts: the direct
effect on the next token where the kind has one, else the attention that makes the kind."""


@dataclass(frozen=True)
class Backup:
    """How much more each head does of a kind's work.

    Args:
        gained: the change of its score when the main heads write nothing; NaN for those.
        others: the same of later heads when as many other heads write nothing, all together.
    """

    gained: Float64[np.ndarray, "sample layer head"]
    others: Float64[np.ndarray, " value"]


def backup(
    measure: Measure, mains: Sequence[Node], topology: Topology, like: Tensor, *, seed: int
) -> Backup:
    """The search for backups of `mains` (Wang et al. 2022, arXiv 2211.00593, section 3.4).

    Args:
        measure: the score of the kind.
        mains: the main heads of the kind, at least one.
        topology: of the model.
        like: a tensor of the model, for device and type.
        seed: of the draws of other heads.
    """
    before = measure(Edits())
    gained = measure(silenced(mains, like)) - before
    for node in mains:
        gained[:, node.layer, node.head] = np.nan
    others = []
    for drawn in other_heads(mains, topology, seed):
        change = (measure(silenced(drawn, like)) - before).mean(0)
        first = min(node.layer for node in drawn if node.layer is not None)
        for node in (*drawn, *mains):
            change[node.layer, node.head] = np.nan
        # nothing can have changed before it
        others.append(change[first + 1 :].ravel())
    values = np.concatenate(others) if others else np.empty(0)
    return Backup(gained, values[np.isfinite(values)])


def other_heads(mains: Sequence[Node], topology: Topology, seed: int) -> list[list[Node]]:
    """Up to `OTHER_HEADS` different sets of other heads, one for each main head in its layer.

    Where a layer has fewer others than main heads, all of them are in every set; a set of none is
    left out.
    """
    rng = random.Random(seed)
    layers = sorted({node.layer for node in mains if node.layer is not None})
    sets: dict[frozenset[Node], list[Node]] = {}
    for _ in range(4 * OTHER_HEADS):
        drawn: list[Node] = []
        for layer in layers:
            free = [node for node in topology.heads(layer) if node not in mains]
            wanted = sum(node.layer == layer for node in mains)
            drawn += rng.sample(free, min(wanted, len(free)))
        if drawn:
            sets.setdefault(frozenset(drawn), drawn)
        if len(sets) == OTHER_HEADS:
            break
    return list(sets.values())


def on_random_tokens(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    period: int,
    kind: str,
    memory: int,
) -> Measure:
    """The score of `kind` on random tokens said twice, norm scales as in the unedited model.

    Raises KeyError for a kind that is not one of `ON_TOKENS`.
    """
    score = ON_TOKENS[kind]
    size = rows_at_once(weights, tokens.shape[1], memory)
    parts = [tokens[rows] for rows in chunks(len(tokens), size)]
    if score == "copy_attribution":
        places = [NextToken.of(weights, part, period) for part in parts]
        readers = [_direct_effects(at.gradient, at.places) for at in places]
        passes = [
            _Pass(weights, part, reader, partial(at.scale, norm=weights.norm_final))
            for part, reader, at in zip(parts, readers, places, strict=True)
        ]
    else:
        read = partial(one_attention_score, name=score, period=period)
        passes = [_Pass(weights, part, lambda run: read(run)[..., None], None) for part in parts]
    return _measured(passes)


def on_task(weights: TransformerWeights, prompts: PromptSet, memory: int) -> Measure:
    """Direct effects on the answer logit of a task, norm scales as in the unedited model."""
    size = rows_at_once(weights, prompts.clean.shape[1], memory)
    answers = answer_logit(weights, prompts.correct, prompts.incorrect)
    passes = []
    for rows in chunks(len(prompts), size):
        part, which = rows_of(prompts, rows)
        places = part.answer_row[:, None], part.answer_pos[:, None]
        gradient = unscaled_gradient(weights.norm_final, answers.direction[which, None])

        def scale(final: Tensor, places: Places = places) -> Tensor:
            return frozen_scale(final[places], weights.norm_final)

        passes.append(_Pass(weights, part.clean, _direct_effects(gradient, places), scale))
    return _measured(passes)


def _direct_effects(gradient: Tensor, places: Places) -> Callable[[LayerRun], Tensor]:
    return lambda run: run.effects(gradient, places)


def _measured(passes: Sequence[_Pass]) -> Measure:
    def measure(edits: Edits) -> np.ndarray:
        with torch.no_grad():
            found = torch.cat([one.measure(edits) for one in passes], dim=-1)
        return found.permute(2, 0, 1).cpu().to(torch.float64).numpy()

    return measure


class _Pass:
    """Measures one score of some rows again and again, from the first edited layer on.

    What the unedited model does is kept: its scores, its final norm's scale, and its residual
    stream before the layers that edits begin at.

    Args:
        weights: the model.
        tokens: the rows.
        read: the score of every head of a layer at each place of each sample.
        scale: a factor for each place from the final stream; None for none.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        tokens: Int[Tensor, "batch pos"],
        read: Callable[[LayerRun], Float[Tensor, "head sample place"]],
        scale: Callable[[Float[Tensor, "batch pos d_model"]], Float[Tensor, "sample place"]] | None,
    ) -> None:
        self.weights = weights
        self.tokens = tokens
        self.read = read
        self.scale = scale
        self.unedited: Float[Tensor, "layer head sample place"] | None = None
        self.factor: Float[Tensor, "sample place"] | None = None
        self.streams: dict[int, Float[Tensor, "batch pos d_model"]] = {}

    def measure(self, edits: Edits) -> Float[Tensor, "layer head sample"]:
        """The score of every head under `edits`, mean over places."""
        if self.unedited is None:
            self._run_unedited()
        assert self.unedited is not None, "it was just run"
        found = self.unedited
        first = edits.first_layer
        if first is not None:
            layers = list(found[:first])
            run_layers(
                self.weights,
                self._stream(first),
                first=first,
                edits=edits,
                visit=lambda run: layers.append(self.read(run)),
            )
            found = torch.stack(layers)
        return (found if self.factor is None else found * self.factor).mean(-1)

    def _run_unedited(self) -> None:
        layers: list[Tensor] = []
        final = run_tokens(
            self.weights, self.tokens, visit=lambda run: layers.append(self.read(run))
        )
        self.unedited = torch.stack(layers)
        self.factor = None if self.scale is None else self.scale(final)

    def _stream(self, layer: int) -> Float[Tensor, "batch pos d_model"]:
        """The unedited residual stream before `layer`; sets of heads begin at few layers."""
        if layer not in self.streams:
            start = embed(self.weights, self.tokens)
            self.streams[layer] = run_layers(self.weights, start, stop=layer)
        return self.streams[layer]
