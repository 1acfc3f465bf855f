"""What a store holds of a model's heads in the files that HeadVis reads.

The format is that of the docstrings of `data_pipeline.py` in the repository anthropics/headvis
(Luger et al. 2026, HeadVis, Transformer Circuits Thread). There is no projection of queries, keys
and values in a store, so `has_umap` is false. Sequences are the stored examples on ordinary text,
of each of which one query is stored, and the stored prompts, with the whole pattern. They are
divided into ten parts by the largest attention outside of the first token and of the diagonal, as
HeadVis does with a whole data set.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from acdc_pipeline.errors import UnknownName
from acdc_pipeline.specs.head_scores import SCORES, parse_metric
from acdc_pipeline.store import Store
from acdc_pipeline.wiki.model_data import encode_json
from acdc_pipeline.wiki.models import HeadIndex, Model, group_models, head_name, restore_profiles
from acdc_pipeline.wiki.runs import read_full_runs, read_store

INTERVALS = 10
"""Parts of the sequences by their largest attention, the largest last."""

_PER_ROW = 8
"""The largest number of keys kept of a query, of whole patterns."""

_LEAST = 0.005
"""Attention below which a key is left out."""

_TOKENS = 50
"""Number of tokens in each table."""

_NAMES = {
    "current_token": "self_attention_score",
    "previous_token": "previous_token_score",
    "entropy": "pattern_entropy",
    "mean_distance": "qk_distance",
    "induction": "induction_score",
}
"""Names of HeadVis for the scores that it has too; the others keep theirs."""

Cells = dict[tuple[int, int], float]
"""Attention by query and key."""


def find_profiled(store: Store, name: str) -> Model:
    """Return the model of a store that the wiki shows by this name, with full profiles.

    Raises:
        UnknownName: the store has no profile of such a model.
        StoreError: it cannot be read.
    """
    models = {model.title: model for model in group_models(read_store(store)) if model.profile_ids}
    if name not in models:
        raise UnknownName.among("profiled model", name, models, where=store.url)
    model = models[name]
    (text,) = read_full_runs(store, [model.text_id]) if model.text_id is not None else [None]
    return restore_profiles(model, read_full_runs(store, model.profile_ids), text)


def headvis_files(model: Model) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file below the folder `data` of HeadVis.

    `model` has full profiles. Heads without a stored sequence have a file without any.
    """
    columns = {
        metric: score.values
        for metric, score in model.scores.items()
        if np.isfinite(score.values).any()
    }
    names = {metric: _metric_name(metric) for metric in columns}
    yield "config.json", encode_json(_config(model, names))
    rows = [
        {
            "layer": layer,
            "head": head,
            **{
                names[metric]: round(float(values[layer, head]), 4)
                for metric, values in columns.items()
                if math.isfinite(values[layer, head])
            },
        }
        for layer, head in model.places
    ]
    yield "scatter_data.json", encode_json(rows)
    for layer, head in model.places:
        content = encode_json(_head(_sequences(model, (layer, head))))
        yield f"heads/L{layer}H{head}.json", content
    # no backend, and no attributions by features
    yield "server_config.json", encode_json({})
    yield "attributions/manifest.json", encode_json({})


def _metric_name(metric: str) -> str:
    name, _, task = parse_metric(metric)
    return _NAMES.get(name, name) + ("" if task is None else f" on {task}")


def _config(model: Model, names: dict[str, str]) -> dict[str, Any]:
    return {
        "model_name": model.title,
        "heads": [list(place) for place in model.places],
        "n_layers": model.n_layers,
        "n_heads": model.n_heads,
        "n_intervals": INTERVALS,
        "metrics": list(names.values()),
        "metric_descriptions": {
            shown: SCORES[name].claim
            for metric, shown in names.items()
            if (name := parse_metric(metric)[0]) in SCORES
        },
        "head_data_pattern": "L{layer}H{head}.json",
        "has_umap": False,
        "umap_heads": [],
        "custom_plots": [{"key": "qk_distance_histogram", "label": "Distance of query and key"}],
        "custom_tables": [
            {"key": "top_query_tokens", "label": "Top query tokens"},
            {"key": "top_key_tokens", "label": "Top key tokens"},
        ],
        "statistics_display": {
            "n_sequences": {"label": "Stored sequences", "format": "default"},
            "mean_max_activation": {"label": "Mean max activation", "format": "default"},
        },
    }


def _sequences(model: Model, place: HeadIndex) -> list[dict[str, Any]]:
    """Return the stored sequences of a head, in the order of `interval`."""
    name = head_name(*place)
    on_text = None if model.text is None else model.text.head(name)
    found: list[tuple[Sequence[str], Cells]] = []
    for examples in () if on_text is None else on_text.deciles:
        for one in examples:
            found.append((one.context.tokens, {(one.query, key): a for key, a in one.keys}))
    for profile in model.profiles:
        for pattern in profile.patterns(name):
            found.append((pattern.tokens, _sparse(pattern.weights / 255)))
    rows = [_sequence(number, tokens, cells) for number, (tokens, cells) in enumerate(found)]
    rows.sort(key=lambda row: (row["max_activation"], row["sequence_id"]))
    for rank, row in enumerate(rows):
        row["interval"] = 1 + rank * INTERVALS // len(rows)
    return rows


def _sparse(weights: np.ndarray) -> Cells:
    """Return the largest attention of each query."""
    cells: Cells = {}
    for query, row in enumerate(weights):
        for key in np.argsort(-row, kind="stable")[:_PER_ROW].tolist():
            if row[key] >= _LEAST:
                cells[query, key] = float(row[key])
    return cells


def _sequence(number: int, tokens: Sequence[str], cells: Cells) -> dict[str, Any]:
    size = len(tokens)
    order = sorted(cells)
    seen = (value for (query, key), value in cells.items() if query and key and query != key)
    return {
        "sequence_id": number,
        "interval": 1,
        "tokens": list(tokens),
        "attention_indices": [query * size + key for query, key in order],
        "attention_values": [round(cells[cell], 4) for cell in order],
        "seq_len": size,
        "max_activation": round(max(seen, default=0.0), 4),
    }


def _head(sequences: Sequence[dict[str, Any]]) -> dict[str, Any]:
    activations = [row["max_activation"] for row in sequences]
    return {
        "sequences": list(sequences),
        "qk_distance_histogram": _distances(sequences),
        "top_query_tokens": _top_tokens(sequences, 0),
        "top_key_tokens": _top_tokens(sequences, 1),
        "histogram": {},
        "statistics": {
            "n_sequences": len(sequences),
            "mean_max_activation": round(sum(activations) / len(activations), 4)
            if activations
            else 0.0,
        },
    }


def _entries(
    sequences: Iterable[dict[str, Any]],
) -> Iterator[tuple[dict[str, Any], int, int, float]]:
    for row in sequences:
        for index, value in zip(row["attention_indices"], row["attention_values"], strict=True):
            query, key = divmod(index, row["seq_len"])
            yield row, query, key, value


def _distances(sequences: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count pairs by distance: of 0, of 1, and in parts that double."""
    longest = max((row["seq_len"] for row in sequences), default=1)
    powers = max(1, (longest - 1).bit_length())
    edges = [0, *(2**power for power in range(powers + 1))]
    counts = [0] * (powers + 1)
    for _, query, key, _ in _entries(sequences):
        counts[abs(query - key).bit_length()] += 1
    return {"bin_edges": edges, "bin_values": counts}


def _top_tokens(sequences: Sequence[dict[str, Any]], side: int) -> list[dict[str, Any]]:
    """Return the tokens with the most attention given (`side` 0) or got (1)."""
    mass: dict[str, float] = {}
    for row, query, key, value in _entries(sequences):
        token = row["tokens"][(query, key)[side]]
        mass[token] = mass.get(token, 0.0) + value
    ranked = sorted(mass.items(), key=lambda each: (-each[1], each[0]))[:_TOKENS]
    return [{"token": token, "weight": round(weight, 4)} for token, weight in ranked]
