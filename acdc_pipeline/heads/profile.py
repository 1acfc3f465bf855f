"""A complete profile: rows for `heads.parquet`, and the document stored with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.engine.forward import context_length
from acdc_pipeline.graph import Node, head
from acdc_pipeline.graph.edge import SLOTS
from acdc_pipeline.heads.attribution_profile import attributions_plain
from acdc_pipeline.heads.examples import (
    MOST_HEADS,
    TextRows,
    find_snippets,
    pattern_examples,
    snippets_plain,
    span_attention_plain,
    token_texts,
)
from acdc_pipeline.heads.expert_use import expert_use
from acdc_pipeline.heads.folded import describe_obstacles
from acdc_pipeline.heads.habits import HABITS, task_example, token_example
from acdc_pipeline.heads.model_profile import ModelProfile
from acdc_pipeline.heads.near_misses import NearMiss, describe_head, near_misses, profile_warnings
from acdc_pipeline.heads.roles import HeadRole, assign_roles
from acdc_pipeline.heads.singular_tokens import HeadTokens, TopTokens
from acdc_pipeline.heads.sketches import weights_plain
from acdc_pipeline.heads.task_profile import TaskProfile
from acdc_pipeline.heads.typical import (
    find_typical,
    random_candidates,
    task_candidates,
    typical_plain,
)
from acdc_pipeline.heads.values import HeadValues
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs.head_scores import metric_key
from acdc_pipeline.store import HeadScore

VERSION = 1
"""Version of the document; raised if a reader of the previous version would misread it."""


EFFECTS = ("direct_effect", "corrupted_ablation", "query_effect")
"""Scores of what a head does to the answer logit of a task: directly, when it is removed, and
through the queries of others."""


@dataclass(frozen=True)
class HeadProfile:
    """The result of a profile run.

    Args:
        scores: a row for every score that a head has.
        document: nulls, roles, near misses, warnings, summaries, partners, tokens, examples,
            attributions, the use of experts and the attention between spans, as JSON data.
    """

    scores: tuple[HeadScore, ...]
    document: Mapping[str, Any]


def assemble_profile(
    ref: str,
    weights: TransformerWeights,
    tokenizer: PreTrainedTokenizerBase | None,
    prompts: PromptSet,
    model: ModelProfile,
    task: TaskProfile,
    text: TextRows | None,
    *,
    seed: int,
    memory: int,
) -> HeadProfile:
    """Combine both profiles of a model, and add roles and examples.

    Args:
        ref: the model's reference in the rows.
        tokenizer: for the texts of examples; None shows token ids.
        text: pieces of a file in which to look for snippets.
    """
    measured = task.measurements(model)
    roles = assign_roles(measured)
    near = near_misses(measured, roles)
    values = (*model.values, *task.values)
    nodes = shown_heads(roles, task.values)
    of_task = TextRows(task.task, prompts.clean, prompts.lengths)
    sources = [of_task] if text is None else [of_task, text]
    best = find_snippets(weights, sources, memory=memory)
    document = {
        "version": VERSION,
        "model": ref,
        "task": task.task,
        "ioi_like": task.ioi_like,
        "period": model.period,
        "answer_logit": {
            "random_tokens": None if model.answer is None else model.answer.mean,
            "task": task.answer.mean,
        },
        "nulls": {name: [n.plain() for n in nulls] for name, nulls in measured.nulls.items()},
        "roles": [role.plain() for role in roles],
        "near_misses": [miss.plain() for miss in near],
        "warnings": [
            *profile_warnings(measured, model.period, context_length(weights)),
            *describe_obstacles(weights),
        ],
        "summaries": _summaries(roles, near, weights),
        "composition": _composition_plain(model),
        "top_tokens": _tokens_plain(model.tokens, tokenizer),
        "attention": pattern_examples(weights, prompts, nodes, tokenizer).plain(),
        "snippets": snippets_plain(best, sources, tokenizer),
        **_typical(weights, prompts, model, task, roles, tokenizer, memory),
        **weights_plain(weights),
    }
    used = expert_use(weights, prompts.clean, prompts.lengths, memory=memory)
    if used is not None:
        document["experts"] = used
    if prompts.spans is not None:
        document["span_attention"] = span_attention_plain(weights, prompts, memory=memory)
    return HeadProfile(tuple(row for value in values for row in value.rows(ref, seed)), document)


def shown_heads(roles: Sequence[HeadRole], values: Sequence[HeadValues]) -> list[Node]:
    """Return the heads whose patterns are stored, at most `MOST_HEADS`, in graph order.

    Heads with a role come first, then those without, and among either those with the largest effect
    on the task: the largest size of any of `EFFECTS`. Equal ones are taken in graph order.
    """
    effects = [np.abs(value.mean) for value in values if value.score in EFFECTS]
    largest = np.max(np.nan_to_num(effects, nan=-1.0), axis=0)
    named = {role.node for role in roles}
    measured = [head(*place) for place in np.argwhere(largest >= 0).tolist()]
    every = sorted({*named, *measured}, key=lambda node: (node.layer or 0, node.head or 0))
    order = sorted(every, key=lambda n: (n not in named, -largest[n.layer, n.head]))  # stable
    return [node for node in every if node in set(order[:MOST_HEADS])]


def _typical(
    weights: TransformerWeights,
    prompts: PromptSet,
    model: ModelProfile,
    task: TaskProfile,
    roles: list[HeadRole],
    tokenizer: PreTrainedTokenizerBase | None,
    memory: int,
) -> dict[str, Any]:
    """Examples of a habit of every head, and of the role of those that have one on the task.

    With the reasons for the attention in the first of each.
    """
    means = {value.key: value.mean for value in (*model.values, *task.values)}
    (effects,) = (value.samples for value in task.values if value.score == "direct_effect")
    assert effects is not None
    on_tokens: dict[Node, tuple[str, float]] = {}
    on_task: dict[Node, tuple[str, float]] = {}
    for node in weights.topology.sources:
        if node.kind != "head":
            continue
        held = [role for role in roles if role.node == node]
        place = node.layer, node.head
        values = {
            name: float(means[key][place]) for name in HABITS if (key := metric_key(name)) in means
        }
        if (habit := token_example(held, values)) is not None:
            on_tokens[node] = metric_key(habit), values[habit]
        if (score := task_example(held)) is not None:
            key = metric_key(score, task.task)
            if key in means:
                on_task[node] = key, float(means[key][place])
    pairs = [(task_candidates(task.task, prompts, torch.from_numpy(effects)), on_task)]
    if model.sequences is not None:
        pairs.append((random_candidates(model.sequences), on_tokens))
    found = [(c, find_typical(weights, c, wanted, memory=memory)) for c, wanted in pairs if wanted]
    return {
        "typical": typical_plain(found, tokenizer),
        "attribution": attributions_plain(weights, prompts, found, tokenizer),
    }


def _summaries(
    roles: list[HeadRole], near: list[NearMiss], weights: TransformerWeights
) -> dict[str, str]:
    # `near` has the nearest of each head first, which overwrites the others here.
    nearest = {miss.node: miss for miss in reversed(near)}
    return {
        str(node): describe_head([r for r in roles if r.node == node], nearest.get(node))
        for node in weights.topology.sources
        if node.kind == "head"
    }


def _composition_plain(model: ModelProfile) -> dict[str, Any]:
    heads: dict[str, dict[str, list[list[Any]]]] = {}
    for (slot, node), partners in model.composition.partners.items():
        if partners:
            found = [[str(partner), round(value, 4)] for partner, value in partners]
            heads.setdefault(str(node), {})[slot] = found
    return {"baseline": model.composition.baseline, "slots": list(SLOTS), "heads": heads}


def _tokens_plain(
    tokens: Mapping[Node, HeadTokens], tokenizer: PreTrainedTokenizerBase | None
) -> dict[str, Any]:
    def plain(direction: TopTokens) -> dict[str, Any]:
        return {
            "share": round(direction.value, 4),
            "source": token_texts(tokenizer, direction.source),
            "target": token_texts(tokenizer, direction.target),
        }

    return {
        str(node): {
            "ov": [plain(direction) for direction in found.ov],
            "qk": [plain(direction) for direction in found.qk],
        }
        for node, found in tokens.items()
    }
