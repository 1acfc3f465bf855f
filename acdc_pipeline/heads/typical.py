"""Positions at which a head shows the behaviour of its role, with scores near the mean.

Examples with the largest scores would show a head at its best. These are the ones nearest to the
score's mean, with the range of the middle four fifths beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.answers import find_answer_positions, select_prompts
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.heads.examples import encode_pattern, token_texts
from acdc_pipeline.heads.habits import HABITS
from acdc_pipeline.heads.layer_run import LayerRun, run_tokens
from acdc_pipeline.heads.random_tokens import RepeatedSequences
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs.head_scores import metric_key

SEQUENCES = 8
"""The number of random sequences among which examples are chosen."""

PROMPTS = 16
"""The number of prompts among which examples are chosen."""

PER_SCORE = 3
"""The number of texts stored for a score of a head."""

LONGEST = 32
"""The largest number of positions in an example."""

RANGE = (0.1, 0.9)
"""The quantiles of the range that is stored."""

RANDOM_TOKENS = "random tokens"


@dataclass(frozen=True)
class Candidates:
    """Texts, and the keys that scores are about.

    Args:
        source: a task, or `RANDOM_TOKENS`.
        tokens: rows padded on the right.
        keys: by metric, the keys that count for a query. Queries without one do not count.
        effects: by metric, the value at a place for scores that are no attention; NaN elsewhere.
        at: the positions of each row that are shown, in order.
    """

    source: str
    tokens: Int[Tensor, "row pos"]
    keys: Mapping[str, Bool[Tensor, "row pos pos"]]
    at: Sequence[Sequence[int]]
    effects: Mapping[str, Mapping[Node, Float[Tensor, "row pos"]]] = field(default_factory=dict)


def random_candidates(sequences: RepeatedSequences) -> Candidates:
    """The places of the scores on repeated random tokens, see `random_tokens.one_key_score`."""
    tokens, n = sequences.tokens[:SEQUENCES], sequences.period
    rows, pos = tokens.shape
    query = torch.arange(pos, device=tokens.device)[:, None]
    key = query.T
    second = query > n
    where = {
        "induction": second & (key == query - (n - 1)),
        "duplicate_token": second & (key == query - n),
        "previous_token": (query >= 1) & (key == query - 1),
        "current_token": (query >= 1) & (key == query),
        "sink": (query >= 1) & (key == 0),
    }
    keys = {metric_key(name): where[name].expand(rows, pos, pos) for name in HABITS}
    return Candidates(RANDOM_TOKENS, tokens, keys, [_shown_of_repeated(n)] * rows)


def _shown_of_repeated(period: int) -> list[int]:
    """The first position, and as much of the ends of both copies as fits."""
    if 2 * period + 1 <= LONGEST + 1:
        return list(range(2 * period + 1))
    half = (LONGEST - 2) // 2
    first = range(period - half + 1, period + 2)
    return [0, *first, *range(2 * period - half + 1, 2 * period + 1)]


def task_candidates(
    task: str, prompts: PromptSet, direct_effects: Float[Tensor, "answer layer head"]
) -> Candidates:
    """The places of the scores of answers on the first prompts of a task."""
    part, which = select_prompts(prompts, slice(0, min(PROMPTS, len(prompts))))
    places = find_answer_positions(part)
    rows, pos = part.clean.shape
    keys = {}
    for name, mentioned in (("answer", places.answer), ("repeat", places.repeat)):
        mask = torch.zeros((rows, pos, pos), dtype=torch.bool, device=part.clean.device)
        for row, query, found in zip(part.answer_row, part.answer_pos, mentioned, strict=True):
            mask[row, query] |= found
        keys[metric_key(f"attention_to_{name}", task)] = mask
    effects: dict[Node, Tensor] = {}
    for layer, index in np.ndindex(direct_effects.shape[1], direct_effects.shape[2]):
        values = torch.full((rows, pos), torch.nan, dtype=direct_effects.dtype)
        # samples are in the order of prompts
        own = direct_effects[: len(which), layer, index]
        values[part.answer_row.cpu(), part.answer_pos.cpu()] = own
        effects[head(layer, index)] = values
    every = torch.stack([mask.any(1) for mask in keys.values()]).any(0)
    at = [
        _shown_of_prompt(int(length), needed.nonzero().flatten().tolist())
        for length, needed in zip(part.lengths, every, strict=True)
    ]
    metric = metric_key("direct_effect", task)
    return Candidates(task, part.clean, keys, at, {metric: effects})


def _shown_of_prompt(length: int, needed: Sequence[int]) -> list[int]:
    """The first position, those needed, and the last ones, as far as they fit."""
    kept = dict.fromkeys([0, *reversed(needed), *range(length - 1, -1, -1)])
    return sorted(list(kept)[:LONGEST])


def find_typical(
    weights: TransformerWeights,
    candidates: Candidates,
    wanted: Mapping[Node, tuple[str, float]],
    *,
    memory: int,
) -> dict[Node, dict[str, Any]]:
    """The places of each head that are nearest to the mean of a score, as JSON data.

    The rows are those whose means are nearest to it, and in each the query with the nearest value.

    Keys of such a query are all shown.

    Args:
        wanted: for each head a metric of `candidates`, and its mean.

    Returns:
        What `typical_plain` stores; `text` is a row of `candidates`.
    """
    found: dict[Node, list[tuple[Tensor, Tensor, Tensor]]] = {}
    width = max((len(at) for at in candidates.at), default=0)
    at = torch.tensor([[*at, *[0] * (width - len(at))] for at in candidates.at])
    at = at.to(weights.device)
    size = rows_at_once(weights, candidates.tokens.shape[1], memory)
    with torch.no_grad():
        for rows in chunks(len(candidates.tokens), size):

            def visit(run: LayerRun, rows: slice = rows) -> None:
                row = torch.arange(len(at[rows]), device=at.device)[:, None, None]
                shown = at[rows]
                for node, (metric, _) in wanted.items():
                    if node.layer != run.layer or node.head is None:
                        continue
                    pattern = run.pattern[node.head]
                    values = _values(candidates, node, metric, rows, pattern)
                    crop = pattern[row, shown[:, :, None], shown[:, None, :]]
                    values, first, crop = (
                        part.float().cpu() for part in (values, pattern[..., 0], crop)
                    )
                    found.setdefault(node, []).append((values, first, crop))

            run_tokens(weights, candidates.tokens[rows], visit=visit)
    chosen = {}
    for node, parts in found.items():
        metric, mean = wanted[node]
        values, first, crop = (torch.cat(each) for each in zip(*parts, strict=True))
        one = _choose(candidates, metric, mean, values, first, crop)
        if one is not None:
            chosen[node] = one
    return chosen


def _values(
    candidates: Candidates, node: Node, metric: str, rows: slice, pattern: Tensor
) -> Float[Tensor, "row pos"]:
    """The value at each query; NaN where a query does not count."""
    if metric in candidates.effects:
        return candidates.effects[metric][node][rows]
    keys = candidates.keys[metric][rows]
    return (pattern * keys).sum(-1).masked_fill(~keys.any(-1), torch.nan)


def _choose(
    candidates: Candidates,
    metric: str,
    mean: float,
    values: Float[Tensor, "row pos"],
    first: Float[Tensor, "row pos"],
    crop: Float[Tensor, "row shown shown"],
) -> dict[str, Any] | None:
    real = ~values.isnan()
    row_means = values.nanmean(1)
    rows = [row for row in (row_means - mean).abs().argsort().tolist() if real[row].any()]
    texts = []
    for row in rows[:PER_SCORE]:
        at = candidates.at[row]
        seen = _all_keys_shown(candidates, metric, row) & real[row]
        off = [abs(float(values[row, q]) - mean) if seen[q] else np.inf for q in at]
        query = int(np.argmin(off))
        if not np.isfinite(off[query]):
            continue
        weights = crop[row, query, : len(at)]
        value = round(float(values[row, at[query]]), 4)
        texts.append(
            {"text": row, "query": query, "value": value, "weights": encode_pattern(weights)}
        )
    if not texts:
        return None
    low, high = np.quantile(values[real].double().numpy(), RANGE).tolist()
    shown = len(candidates.at[texts[0]["text"]])
    return {
        "metric": metric,
        "places": int(real.sum()),
        "range": [round(low, 4), round(high, 4)],
        "first": round(float(first[real].mean()), 4),
        "texts": texts,
        "pattern": encode_pattern(crop[texts[0]["text"], :shown, :shown]),
    }


def _all_keys_shown(candidates: Candidates, metric: str, row: int) -> Bool[Tensor, " pos"]:
    """The queries of a row whose keys are all among the positions shown."""
    if metric in candidates.effects:
        return torch.ones(candidates.tokens.shape[1], dtype=torch.bool)
    keys = candidates.keys[metric][row].clone()
    keys[:, list(candidates.at[row])] = False
    return ~keys.any(-1).cpu()


def typical_plain(
    found: Sequence[tuple[Candidates, Mapping[Node, dict[str, Any]]]],
    tokenizer: PreTrainedTokenizerBase | None,
) -> dict[str, Any]:
    """As JSON data: every text once, and the examples of each head with the indices of texts."""
    texts: list[dict[str, Any]] = []
    heads: dict[str, list[dict[str, Any]]] = {}
    for candidates, chosen in found:
        used = sorted({text["text"] for one in chosen.values() for text in one["texts"]})
        number = {row: len(texts) + index for index, row in enumerate(used)}
        for row in used:
            at = candidates.at[row]
            tokens = token_texts(tokenizer, candidates.tokens[row, list(at)].tolist())
            cells = {
                metric: mask[row][list(at)][:, list(at)].nonzero().tolist()
                for metric, mask in candidates.keys.items()
            }
            texts.append({"from": candidates.source, "at": list(at), "tokens": tokens})
            texts[-1]["cells"] = cells
        for node, one in chosen.items():
            moved = [text | {"text": number[text["text"]]} for text in one["texts"]]
            heads.setdefault(str(node), []).append(one | {"texts": moved})
    return {"texts": texts, "heads": heads}
