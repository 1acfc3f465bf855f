"""Who takes over: what heads do differently once the main heads of a kind write nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from acdc_pipeline.graph import Node, Topology
from acdc_pipeline.heads.answer_logit import AnswerLogit, answer_logit
from acdc_pipeline.heads.answer_places import rows_of
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.heads.edits import Edits, silenced
from acdc_pipeline.heads.layer_run import LayerRun, run_tokens
from acdc_pipeline.heads.random_token_scores import random_token_scores
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
    """The score of `kind` on random tokens said twice."""

    def measure(edits: Edits) -> np.ndarray:
        scores = random_token_scores(weights, tokens, period, memory=memory, edits=edits)
        return scores.samples[ON_TOKENS[kind]].copy()

    return measure


def on_task(weights: TransformerWeights, prompts: PromptSet, memory: int) -> Measure:
    """Direct effects on the answer logit of a task, norm scales as in the unedited model."""
    size = rows_at_once(weights, prompts.clean.shape[1], memory)

    def measure(edits: Edits) -> np.ndarray:
        with torch.no_grad():
            answers = answer_logit(weights, prompts.correct, prompts.incorrect)
            parts = [
                _direct_effects(weights, prompts, rows, answers, edits)
                for rows in chunks(len(prompts), size)
            ]
        return torch.cat(parts, dim=-1).permute(2, 0, 1).cpu().to(torch.float64).numpy()

    return measure


def _direct_effects(
    weights: TransformerWeights,
    prompts: PromptSet,
    rows: slice,
    answers: AnswerLogit,
    edits: Edits,
) -> Tensor:
    part, which = rows_of(prompts, rows)
    at = (part.answer_row, part.answer_pos)
    own = AnswerLogit(answers.norm, answers.direction[which], answers.bias[which])
    gradient = own.direct(run_tokens(weights, part.clean)[at])
    layers: list[Tensor] = []

    def read(run: LayerRun) -> None:
        layers.append((run.written[:, at[0], at[1]] * gradient).sum(-1))

    run_tokens(weights, part.clean, edits=edits, visit=read)
    return torch.stack(layers)
