"""Backup heads: heads that do more of a role's work when its main heads are ablated."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from acdc_pipeline.engine.components import Stream
from acdc_pipeline.engine.forward import embed
from acdc_pipeline.graph import Node, Topology
from acdc_pipeline.heads.answers import AnswerLogit, answer_logit, frozen_scale, select_prompts
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.heads.criteria import Null, nulls_of
from acdc_pipeline.heads.folded import fold_norm
from acdc_pipeline.heads.layer_run import (
    Edits,
    LayerRun,
    attend,
    run_layers,
    run_tokens,
    zero_heads,
)
from acdc_pipeline.heads.random_tokens import NextToken, one_key_score
from acdc_pipeline.heads.values import HeadValues, on_every_layer
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet

Measure = Callable[[Edits], Float64[np.ndarray, "sample layer head"]]
"""A score of every head under some edits, sample by sample."""

MeasureWithout = Callable[[Sequence[Sequence[Node]]], Iterable[np.ndarray]]
"""What a `Measure` gives when the heads of each set are ablated, set after set."""

OTHER_HEADS = 8
"""The number of draws of other heads for the null."""

TOKEN_ROLES = {
    "induction": "copy_attribution",
    "previous_token": "previous_token",
    "duplicate_token": "duplicate_token",
}
"""Roles whose backups are searched for on random tokens, and the score whose change counts: the
direct effect on the next token if the role has one, otherwise the attention that defines it."""


@dataclass(frozen=True)
class Backup:
    """By how much the score of each head changes when other heads are ablated.

    Args:
        gained: the change when the main heads of a role are ablated; NaN for those.
        others: the changes of later heads when equally many other heads are ablated, pooled.
    """

    gained: Float64[np.ndarray, "sample layer head"]
    others: Float64[np.ndarray, " value"]

    def values(self, role: str, task: str | None = None) -> tuple[HeadValues, list[Null]]:
        """The score `backup_ROLE` and its null."""
        values = HeadValues.of_samples(f"backup_{role}", self.gained, task)
        return values, nulls_of(values.key, "other heads", self.others)


def find_backups(
    measure: Measure,
    mains: Sequence[Node],
    weights: TransformerWeights,
    *,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    elsewhere: MeasureWithout | None = None,
) -> Backup:
    """Search for backups of `mains` (Wang et al. 2022, arXiv 2211.00593, section 3.4).

    Args:
        mains: the main heads of the role, at least one.
        progress: called after each measurement with the number done and their total.
        elsewhere: measures without sets of heads in place of `measure`, where others do.
    """
    sets = draw_other_heads(mains, weights.topology, seed)
    ablated, total = [(), mains, *sets], len(sets) + 2
    if elsewhere is not None:
        measured = iter(elsewhere(ablated))
    else:
        measured = (measure_without(measure, nodes, weights) for nodes in ablated)
    before = next(measured)
    progress(1, total)
    gained = next(measured) - before
    progress(2, total)
    for node in mains:
        gained[:, node.layer, node.head] = np.nan
    others = []
    for done, drawn in enumerate(sets, start=3):
        change = (next(measured) - before).mean(0)
        progress(done, total)
        first = min(node.layer for node in drawn if node.layer is not None)
        for node in (*drawn, *mains):
            change[node.layer, node.head] = np.nan
        # Earlier layers cannot have changed.
        others.append(change[first + 1 :].ravel())
    values = np.concatenate(others) if others else np.empty(0)
    return Backup(gained, values[np.isfinite(values)])


def measure_without(
    measure: Measure, nodes: Sequence[Node], weights: TransformerWeights
) -> Float64[np.ndarray, "sample layer head"]:
    """Measure with some heads ablated, or none."""
    return measure(zero_heads(nodes, weights.w_e) if nodes else Edits())


def draw_other_heads(mains: Sequence[Node], topology: Topology, seed: int) -> list[list[Node]]:
    """Draw up to `OTHER_HEADS` different sets of other heads, one per main head in its layer.

    If a layer has fewer others than main heads, all of them are in every set. Empty sets are left
    out.
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


def random_token_measures(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    period: int,
    mains: Mapping[str, Sequence[Node]],
    memory: int,
) -> dict[str, Measure]:
    """The score of each role on repeated random tokens.

    Norms keep the scales that they have in the unedited model, which runs once for all roles.

    Args:
        tokens: rows of `1 + 2 * period` tokens.
        mains: roles, of `TOKEN_ROLES`, with the heads that will be ablated, at least one each.

    Raises:
        KeyError: a role that is not one of `TOKEN_ROLES`.
    """
    size = rows_at_once(weights, tokens.shape[1], memory)
    starts = {min(node.layer or 0 for node in nodes) for nodes in mains.values()}
    passes = []
    for rows in chunks(len(tokens), size):
        part = tokens[rows]
        readers = {role: _token_reader(weights, part, period, TOKEN_ROLES[role]) for role in mains}
        passes.append(_Pass(weights, part, readers, starts))
    return {role: _measure(passes, role) for role in mains}


def _token_reader(
    weights: TransformerWeights, tokens: Int[Tensor, "batch pos"], period: int, score: str
) -> _Reader:
    if score == "copy_attribution":
        at = NextToken.of(weights, tokens, period)
        return _Reader(
            lambda run: run.effects(at.gradient, at.places),
            lambda final: frozen_scale(final[at.places], weights.norm_final),
        )
    return _Reader(lambda run: one_key_score(run, score, period)[..., None], None)


def task_measure(weights: TransformerWeights, prompts: PromptSet, memory: int) -> Measure:
    """Direct effects on the answer logit of a task, with norm scales as in the unedited model."""
    size = rows_at_once(weights, prompts.clean.shape[1], memory)
    answers = answer_logit(weights, prompts.correct, prompts.incorrect)
    passes = []
    for rows in chunks(len(prompts), size):
        part, which = select_prompts(prompts, rows)
        reader = _answer_reader(part, answers.select(which))
        passes.append(_Pass(weights, part.clean, {"mover": reader}, ()))
    return _measure(passes, "mover")


def _answer_reader(prompts: PromptSet, answers: AnswerLogit) -> _Reader:
    places = prompts.answer_row[:, None], prompts.answer_pos[:, None]
    gradient = fold_norm(answers.direction[:, None], answers.norm, dim=-1)
    return _Reader(
        lambda run: run.effects(gradient, places),
        lambda final: frozen_scale(final[places], answers.norm),
    )


def _measure(passes: Sequence[_Pass], role: str) -> Measure:
    def measure(edits: Edits) -> np.ndarray:
        with torch.no_grad():
            found = torch.cat([one.measure(role, edits) for one in passes], dim=-1)
        values = found.permute(2, 0, 1).cpu().to(torch.float64).numpy()
        return on_every_layer(passes[0].weights.topology, values)

    return measure


@dataclass(frozen=True)
class _Reader:
    """How a score is computed.

    Args:
        read: the score of every head of a layer at each place of each sample.
        scale: a factor for each place, from the unedited final stream; None for none.
    """

    read: Callable[[LayerRun], Float[Tensor, "head sample place"]]
    scale: Callable[[Stream], Float[Tensor, "sample place"]] | None


class _Pass:
    """Measures scores of the same rows under many edits, each from the first edited layer on.

    Of the unedited model, the scores, the final norm's scale and the residual streams before the
    layers in `starts` are stored.

    Args:
        starts: layers at which edits will begin; for others, the stream is computed when needed.
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
        self.unedited: dict[str, tuple[Tensor, Tensor | None]] = {}
        self.streams: dict[int, Stream] = {}

    def measure(self, role: str, edits: Edits) -> Float[Tensor, "some head sample"]:
        """The score of every head under `edits`, mean over places; of the layers with heads."""
        if not self.unedited:
            self._run_unedited()
        (found, factor), read = self.unedited[role], self.readers[role].read
        first = edits.first_layer
        if first is not None:
            having = self.weights.topology.layers_with_heads
            layers = list(found[: sum(layer < first for layer in having)])
            # Nothing after the attention of the last layer with heads is read.
            last = having[-1]
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
        return (found if factor is None else found * factor).mean(-1)

    def _run_unedited(self) -> None:
        layers: dict[str, list[Tensor]] = {role: [] for role in self.readers}

        def visit(run: LayerRun) -> None:
            for role, reader in self.readers.items():
                layers[role].append(reader.read(run))
            if run.layer in self.starts:
                self.streams[run.layer] = run.stream

        final = run_tokens(self.weights, self.tokens, visit=visit)
        for role, reader in self.readers.items():
            factor = None if reader.scale is None else reader.scale(final)
            self.unedited[role] = torch.stack(layers[role]), factor

    def _stream(self, layer: int) -> Stream:
        """The unedited residual stream before `layer`, stored: edits begin at few layers."""
        if layer not in self.streams:
            start = embed(self.weights, self.tokens)
            self.streams[layer] = run_layers(self.weights, start, stop=layer)
        return self.streams[layer]
