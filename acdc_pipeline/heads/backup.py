"""Who takes over: what heads do differently once the main heads of a kind write nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from acdc_pipeline.engine.forward import embed
from acdc_pipeline.graph import Node, Topology
from acdc_pipeline.heads.answers import answer_logit, frozen_scale, rows_of, unscaled_gradient
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.heads.layer_run import (
    Edits,
    LayerRun,
    Places,
    attend,
    run_layers,
    run_tokens,
    silenced,
)
from acdc_pipeline.heads.random_tokens import NextToken, one_attention_score
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
    measure: Measure,
    mains: Sequence[Node],
    topology: Topology,
    like: Tensor,
    *,
    seed: int,
    measured: Callable[[int, int], None] = lambda done, total: None,
) -> Backup:
    """The search for backups of `mains` (Wang et al. 2022, arXiv 2211.00593, section 3.4).

    Args:
        measure: the score of the kind.
        mains: the main heads of the kind, at least one.
        topology: of the model.
        like: a tensor of the model, for device and type.
        seed: of the draws of other heads.
        measured: called after each measurement with the number done and their total.
    """
    sets = other_heads(mains, topology, seed)
    total = len(sets) + 2
    before = measure(Edits())
    measured(1, total)
    gained = measure(silenced(mains, like)) - before
    measured(2, total)
    for node in mains:
        gained[:, node.layer, node.head] = np.nan
    others = []
    for done, drawn in enumerate(sets, start=3):
        change = (measure(silenced(drawn, like)) - before).mean(0)
        measured(done, total)
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
    mains: Mapping[str, Sequence[Node]],
    memory: int,
) -> dict[str, Measure]:
    """The score of each kind on a sequence of random tokens and its repetition.

    Norms keep the scales that they have in the unedited model, which runs once for all kinds.

    Args:
        weights: the model.
        tokens: rows of `1 + 2 * period` tokens.
        period: n of the rows.
        mains: kinds, of `ON_TOKENS`, with the heads that are going to be silenced, at least one
            each.
        memory: bytes for activations.

    Raises:
        KeyError: a kind that is not one of `ON_TOKENS`.
        OutOfMemoryBudget: `memory` does not hold a single row.
    """
    size = rows_at_once(weights, tokens.shape[1], memory)
    starts = {min(node.layer or 0 for node in nodes) for nodes in mains.values()}
    passes = [
        _Pass(
            weights,
            tokens[rows],
            {kind: _on_tokens(weights, tokens[rows], period, ON_TOKENS[kind]) for kind in mains},
            starts,
        )
        for rows in chunks(len(tokens), size)
    ]
    return {kind: _measured(passes, kind) for kind in mains}


def _on_tokens(
    weights: TransformerWeights, tokens: Int[Tensor, "batch pos"], period: int, score: str
) -> _Reader:
    if score == "copy_attribution":
        at = NextToken.of(weights, tokens, period)
        return _Reader(
            _direct_effects(at.gradient, at.places), partial(at.scale, norm=weights.norm_final)
        )
    read = partial(one_attention_score, name=score, period=period)
    return _Reader(lambda run: read(run)[..., None], None)


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

        reader = _Reader(_direct_effects(gradient, places), scale)
        passes.append(_Pass(weights, part.clean, {"mover": reader}, ()))
    return _measured(passes, "mover")


def _direct_effects(gradient: Tensor, places: Places) -> Callable[[LayerRun], Tensor]:
    return lambda run: run.effects(gradient, places)


def _measured(passes: Sequence[_Pass], kind: str) -> Measure:
    def measure(edits: Edits) -> np.ndarray:
        with torch.no_grad():
            found = torch.cat([one.measure(kind, edits) for one in passes], dim=-1)
        return found.permute(2, 0, 1).cpu().to(torch.float64).numpy()

    return measure


@dataclass(frozen=True)
class _Reader:
    """How a score is read.

    Args:
        read: the score of every head of a layer at each place of each sample.
        scale: a factor for each place from the unedited final stream; None for none.
    """

    read: Callable[[LayerRun], Float[Tensor, "head sample place"]]
    scale: Callable[[Float[Tensor, "batch pos d_model"]], Float[Tensor, "sample place"]] | None


@dataclass(frozen=True)
class _Unedited:
    """A score of the unedited model, and the factor of its places."""

    found: Float[Tensor, "layer head sample place"]
    factor: Float[Tensor, "sample place"] | None


class _Pass:
    """Measures scores of some rows again and again, from the first edited layer on.

    What the unedited model does is kept: its scores, its final norm's scale, and its residual
    stream before the layers that edits begin at.

    Args:
        weights: the model.
        tokens: the rows.
        readers: the scores, by kind.
        starts: layers that edits are going to begin at; other ones take a run up to them.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        tokens: Int[Tensor, "batch pos"],
        readers: Mapping[str, _Reader],
        starts: Collection[int],
    ) -> None:
        self.weights = weights
        self.tokens = tokens
        self.readers = readers
        self.starts = starts
        self.unedited: dict[str, _Unedited] = {}
        self.streams: dict[int, Float[Tensor, "batch pos d_model"]] = {}

    def measure(self, kind: str, edits: Edits) -> Float[Tensor, "layer head sample"]:
        """The score of every head under `edits`, mean over places."""
        if not self.unedited:
            self._run_unedited()
        unedited, read = self.unedited[kind], self.readers[kind].read
        found = unedited.found
        first = edits.first_layer
        if first is not None:
            layers = list(found[:first])
            # what follows the last layer's attention is not read
            last = len(self.weights.blocks) - 1
            stream = run_layers(
                self.weights,
                self._stream(first),
                first=first,
                stop=last,
                edits=edits,
                visit=lambda run: layers.append(read(run)),
            )
            layers.append(read(attend(self.weights, last, stream, edits)))
            found = torch.stack(layers)
        return (found if unedited.factor is None else found * unedited.factor).mean(-1)

    def _run_unedited(self) -> None:
        layers: dict[str, list[Tensor]] = {kind: [] for kind in self.readers}

        def visit(run: LayerRun) -> None:
            for kind, reader in self.readers.items():
                layers[kind].append(reader.read(run))
            if run.layer in self.starts:
                self.streams[run.layer] = run.stream

        final = run_tokens(self.weights, self.tokens, visit=visit)
        for kind, reader in self.readers.items():
            factor = None if reader.scale is None else reader.scale(final)
            self.unedited[kind] = _Unedited(torch.stack(layers[kind]), factor)

    def _stream(self, layer: int) -> Float[Tensor, "batch pos d_model"]:
        """The unedited residual stream before `layer`; sets of heads begin at few layers."""
        if layer not in self.streams:
            start = embed(self.weights, self.tokens)
            self.streams[layer] = run_layers(self.weights, start, stop=layer)
        return self.streams[layer]
