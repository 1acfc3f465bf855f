"""The attributions that a profile stores: those of the first typical place of every head."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.engine.components import widen
from acdc_pipeline.graph import Node
from acdc_pipeline.heads.answers import answer_logit, frozen_scale, mean_unembedding
from acdc_pipeline.heads.attribution import (
    Attribution,
    Question,
    attribute,
    find_obstacle,
)
from acdc_pipeline.heads.examples import token_texts
from acdc_pipeline.heads.folded import into_unembedding
from acdc_pipeline.heads.source_names import REST
from acdc_pipeline.heads.typical import RANDOM_TOKENS, Candidates
from acdc_pipeline.heads.values import four_digits
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.text import pluralize

VERSION = 1
"""Version of this part of a profile."""

MOST_SOURCES = 8
"""The number of sources named for queries, keys and values each; the others are one sum."""

MOST_TOKENS = 4
"""The number of tokens named: those read, those raised and those lowered."""

_LEAST_EFFECT = 1e-4
"""The effect on a logit from which a token is named."""

_COLUMNS = 8192
"""Columns of the unembedding that are multiplied at once."""


def attributions_plain(
    weights: TransformerWeights,
    prompts: PromptSet,
    found: Sequence[tuple[Candidates, Mapping[Node, Mapping[str, Any]]]],
    tokenizer: PreTrainedTokenizerBase | None,
) -> dict[str, Any]:
    """Attribute the attention of each head from the query of its first typical place, as JSON data.

    The key is the one with the most attention of those that the score is about; of all, where that
    one has less than half of the most or the score is about none.

    Args:
        prompts: those that the places lie in, unless they lie in random tokens.
        found: places, and what `find_typical` chose among them.
    """
    heads: dict[str, list[dict[str, Any]]] = {}
    for candidates, chosen in found:
        metrics = {node: str(one["metric"]) for node, one in chosen.items()}
        questions = [
            _question(candidates, node, metrics[node], one["texts"][0])
            for node, one in chosen.items()
        ]
        answered: list[tuple[Attribution, Tensor]] = []

        def keep(
            attributions: list[Attribution],
            final: Tensor,
            answered: list[tuple[Attribution, Tensor]] = answered,
        ) -> None:
            answered += [(one, final[one.question.query]) for one in attributions]

        attribute(weights, candidates.tokens, questions, keep)
        if not answered:
            continue
        outputs = torch.stack([one.output for one, _ in answered])
        finals = torch.stack([final for _, final in answered])
        effects = _token_effects(weights, outputs, finals)
        answers = _answer_effects(weights, prompts, candidates, answered)
        for index, (one, _) in enumerate(answered):
            node = one.question.node
            plain = {"metric": metrics[node], **_plain(one, candidates, tokenizer)}
            for name, (ids, values) in effects.items():
                texts = token_texts(tokenizer, ids[index].tolist())
                plain[name] = [
                    [text, four_digits(value)]
                    for text, value in zip(texts, values[index].tolist(), strict=True)
                    if abs(value) > _LEAST_EFFECT
                ]
            if index in answers:
                token, effect = answers[index]
                (text,) = token_texts(tokenizer, [token])
                plain["answer"] = [text, four_digits(effect)]
            heads.setdefault(str(node), []).append(plain)
    return {"version": VERSION, "heads": heads, "left_out": _left_out(weights)}


def _question(
    candidates: Candidates, node: Node, metric: str, place: Mapping[str, Any]
) -> Question:
    row = int(place["text"])
    query = candidates.at[row][place["query"]]
    keys = candidates.keys.get(metric)
    about = () if keys is None else keys[row, query].nonzero().flatten().tolist()
    return Question(node, row, query, tuple(about))


def _plain(
    one: Attribution, candidates: Candidates, tokenizer: PreTrainedTokenizerBase | None
) -> dict[str, Any]:
    row, query = candidates.tokens[one.question.row], one.question.query

    def place(position: int) -> list[Any]:
        return [position, *token_texts(tokenizer, [int(row[position])])]

    sides = []
    for names, found in ((one.rows, one.by_query), (one.columns, one.by_key)):
        # without the others where all sources are named
        sides.append(list(names if len(found) >= len(names) else names[:-1]))
    pairs = one.pairs[: len(sides[0]), : len(sides[1])]
    strongest = one.by_token.abs().argsort(descending=True, stable=True)[:MOST_TOKENS].tolist()
    return {
        "query": place(query),
        "key": place(one.key),
        "weight": round(one.weight, 4),
        "score": four_digits(one.contrast),
        "by_query": _by_source(one.by_query),
        "by_key": _by_source(one.by_key),
        "pairs": {
            "query": sides[0],
            "key": sides[1],
            "values": [_rounded(values, float(pairs.abs().max())) for values in pairs.tolist()],
        },
        "by_value": _by_source(one.by_value),
        "by_token": [
            [*place(position), four_digits(float(one.by_token[position]))]
            for position in (strongest if one.by_value else [])
        ],
    }


def _by_source(found: Mapping[str, float]) -> list[list[Any]]:
    """The largest contributions, and the sum of all others as `REST`."""
    order = sorted(found, key=lambda name: -abs(found[name]))
    values = [found[name] for name in order]
    if len(order) > MOST_SOURCES:
        order = [*order[:MOST_SOURCES], REST]
        values = [*values[:MOST_SOURCES], sum(values[MOST_SOURCES:])]
    largest = max(map(abs, values), default=0.0)
    rounded = zip(order, _rounded(values, largest), strict=True)
    return [[name, value] for name, value in rounded if value]


def _rounded(values: Iterable[float], largest: float) -> list[float]:
    """Round to five digits of the largest; what is 0 but for rounding becomes 0."""
    digits = 4 - math.floor(math.log10(largest)) if largest > 0 else 0
    return [round(value, digits) + 0.0 for value in values]


def _token_effects(
    weights: TransformerWeights,
    outputs: Float[Tensor, "place d_model"],
    finals: Float[Tensor, "place d_model"],
) -> dict[str, tuple[Tensor, Tensor]]:
    """The tokens whose logits the outputs raise and lower most, directly, and by how much.

    Logits are above their mean over the vocabulary, with the scale of the final norm frozen.
    """
    norm = weights.norm_final
    with torch.no_grad():
        rows = into_unembedding(weights, outputs) * frozen_scale(finals, norm)[:, None]
        mean = rows @ mean_unembedding(weights)[0]
        found: dict[str, tuple[Tensor, Tensor]] = {}
        first = 0
        for columns in weights.w_u.split(_COLUMNS, dim=1):
            effects = rows @ widen(columns, rows) - mean[:, None]
            for name, largest in (("raises", True), ("lowers", False)):
                values, ids = effects.topk(min(MOST_TOKENS, effects.shape[1]), largest=largest)
                ids = ids + first
                if name in found:
                    ids, values = (
                        torch.cat(both, dim=1)
                        for both in zip(found[name], (ids, values), strict=True)
                    )
                    values, best = values.topk(min(MOST_TOKENS, values.shape[1]), largest=largest)
                    ids = ids.gather(1, best)
                found[name] = ids, values
            first += columns.shape[1]
    return found


def _answer_effects(
    weights: TransformerWeights,
    prompts: PromptSet,
    candidates: Candidates,
    answered: Sequence[tuple[Attribution, Tensor]],
) -> dict[int, tuple[int, float]]:
    """A correct token, and the direct effect on the answer logit, of queries that give an answer.

    By the index in `answered`. None for random tokens.
    """
    if candidates.source == RANDOM_TOKENS:
        return {}
    at = {
        place: number
        for number, place in enumerate(
            zip(prompts.answer_row.tolist(), prompts.answer_pos.tolist(), strict=True)
        )
    }
    numbers = {
        index: at[one.question.row, one.question.query]
        for index, (one, _) in enumerate(answered)
        if (one.question.row, one.question.query) in at
    }
    if not numbers:
        return {}
    logit = answer_logit(
        weights,
        [prompts.correct[number] for number in numbers.values()],
        [prompts.incorrect[number] for number in numbers.values()],
    )
    outputs = torch.stack([answered[index][0].output for index in numbers])
    finals = torch.stack([answered[index][1] for index in numbers])
    effects = (logit.gradient(finals) * outputs).sum(-1).tolist()
    return {
        index: (prompts.correct[number][0], effect)
        for (index, number), effect in zip(numbers.items(), effects, strict=True)
    }


def _left_out(weights: TransformerWeights) -> list[str]:
    """Why some layers have no attributions."""
    found: dict[str, int] = {}
    for attn in weights.attentions:
        if (reason := find_obstacle(attn)) is not None:
            found[reason] = found.get(reason, 0) + 1
    return [
        f"{pluralize(count, 'layer')} of {len(weights.blocks)}: {reason}"
        for reason, count in found.items()
    ]
