"""The document of what heads do on a text: shares, deciles, components and examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.graph import head
from acdc_pipeline.heads.examples import token_texts
from acdc_pipeline.heads.folded import into_unembedding
from acdc_pipeline.heads.natural.contexts import Contexts
from acdc_pipeline.heads.natural.examples import (
    LARGEST,
    PER_END,
    Places,
    draw_deciles,
    example,
    furthest,
)
from acdc_pipeline.heads.natural.key_kinds import classify_keys
from acdc_pipeline.heads.natural.layers import LayerText, Report, run_contexts
from acdc_pipeline.heads.natural.written import components
from acdc_pipeline.heads.singular_tokens import written_ends
from acdc_pipeline.heads.values import INTERVAL, RESAMPLES, four_digits
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.specs.methods.text import DECILES, KEY_KINDS
from acdc_pipeline.specs.text_files import NamedText

VERSION = 1
"""Version of the definitions and of the document."""


@dataclass(frozen=True)
class _Layer:
    """The part of the document about the heads of a layer, and the directions they write."""

    layer: int
    heads: list[dict[str, Any]]
    directions: Float[Tensor, "head rank d_model"]


def profile_text(
    weights: TransformerWeights,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[NamedText],
    contexts: Contexts,
    *,
    seed: int,
    memory: int,
    report: Report = lambda done: None,
) -> dict[str, Any]:
    """What every head does on `contexts`, as JSON data.

    Args:
        seed: of the examples in deciles, and of the bootstrap over contexts.
        report: called with the number of layers that are done.

    Raises:
        OutOfMemoryBudget: `memory` bytes do not hold the contexts.
    """
    counted = contexts.counted
    row, query = (axis.cpu().numpy() for axis in counted.nonzero(as_tuple=True))
    places = Places(row, query)
    with torch.no_grad():
        layers = [
            _describe_layer(layer, contexts, places, seed)
            for layer in run_contexts(weights, contexts, memory=memory, report=report)
        ]
        directions = torch.cat([layer.directions for layer in layers])
        ends = written_ends(weights, into_unembedding(weights, directions), memory)
        found = _counts(contexts)
    heads: dict[str, Any] = {}
    for number, layer in enumerate(layers):
        for index, one in enumerate(layer.heads):
            for rank, component in enumerate(one["components"]):
                high, low = ends.tokens[:, number * len(layer.heads) + index, rank].tolist()
                component["raises"] = token_texts(tokenizer, high)
                component["lowers"] = token_texts(tokenizer, low)
            heads[str(head(layer.layer, index))] = one
    lengths = contexts.lengths.tolist()
    of_text = np.bincount(np.asarray(contexts.sources)[row], minlength=len(texts))
    return {
        "version": VERSION,
        "tokens": len(row),
        "width": int(contexts.tokens.shape[1]),
        "bos": token_texts(tokenizer, contexts.tokens[0, :1].tolist())[0]
        if contexts.has_bos
        else None,
        "unknown": round(contexts.unknown, 4),
        "sources": [
            {"name": text.name, "tokens": int(n)} for text, n in zip(texts, of_text, strict=True)
        ],
        "kinds": list(KEY_KINDS),
        **found,
        "contexts": [
            {"source": source, "tokens": token_texts(tokenizer, ids[:length])}
            for source, ids, length in zip(
                contexts.sources, contexts.tokens.tolist(), lengths, strict=True
            )
        ],
        "heads": heads,
    }


def _describe_layer(layer: LayerText, contexts: Contexts, places: Places, seed: int) -> _Layer:
    written = components(layer)
    activation = layer.activation.double().cpu().numpy()
    pattern = layer.pattern.cpu().numpy()
    attention = layer.attention.double().cpu().numpy()
    output = layer.output.double().cpu().numpy()
    score = written.score.float().cpu().numpy()
    queries = contexts.counted.sum(1).cpu().numpy()
    # What goes to no key (attention sinks, differential attention) counts as other.
    attention[..., -1] = queries - attention[..., :-1].sum(-1)
    low, high = _intervals(attention, queries, seed)

    def shown(chosen: Sequence[int] | np.ndarray, index: int) -> list[list[Any]]:
        return [example(places, int(place), pattern[index]) for place in chosen]

    heads = []
    for index, values in enumerate(activation):
        deciles = draw_deciles(values, (seed, layer.layer, index))
        squared = output[index].sum()
        shares = attention[index].sum(0) / queries.sum()
        heads.append(
            {
                "activation": four_digits(values.mean()),
                "edges": four_digits(np.quantile(values, np.linspace(0, 1, DECILES + 1))),
                "attention": _rounded(shares),
                "interval": _rounded(np.stack([low[index], high[index]])),
                "output": _rounded(output[index].sum(0) / squared) if squared > 0 else None,
                "deciles": [shown(chosen, index) for chosen in deciles],
                "largest": shown(furthest(values, places.row, LARGEST), index),
                "spectrum": _rounded(written.share[index].numpy()),
                "components": [
                    {
                        "share": round(float(share), 4),
                        "high": shown(furthest(along, places.row, PER_END), index),
                        "low": shown(furthest(-along, places.row, PER_END), index),
                    }
                    for share, along in zip(written.share[index], score[index], strict=False)
                    if share > 0
                ],
            }
        )
    return _Layer(layer.layer, heads, written.direction)


def _intervals(
    sums: Float[np.ndarray, "head context kind"], queries: np.ndarray, seed: int
) -> tuple[Float[np.ndarray, "head kind"], Float[np.ndarray, "head kind"]]:
    """The percentile bootstrap interval of shares of attention over contexts."""
    n = len(queries)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    total = drawn @ queries
    resampled = np.einsum("rc,hck->rhk", drawn, sums, optimize=True) / total[:, None, None]
    low, high = np.quantile(resampled, INTERVAL, axis=0)
    return low, high


def _counts(contexts: Contexts) -> dict[str, Any]:
    """What the contexts offer: the share of queries that have a key of each kind, and `uniform`,
    the mean share of the keys up to a query that are of it."""
    kinds = classify_keys(contexts.tokens)
    at = torch.arange(kinds.shape[1], device=kinds.device)
    visible = at[None, :] <= at[:, None]
    having, uniform = [], []
    for number in range(len(KEY_KINDS)):
        keys = ((kinds == number) & visible).sum(-1)[contexts.counted].double()
        having.append(float((keys > 0).double().mean()))
        seen = visible.sum(-1).expand(kinds.shape[:2])[contexts.counted]
        uniform.append(float((keys / seen).mean()))
    return {"having": _rounded(np.array(having)), "uniform": _rounded(np.array(uniform))}


def _rounded(values: np.ndarray) -> list[Any]:
    return np.round(values, 4).tolist()
