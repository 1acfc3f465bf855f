"""Where heads look on a few prompts, and on their counterfactuals as a control."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.heads.layer_run import LayerRun, run_tokens
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.prompts.tokenization import encode

Side = Literal["clean", "corrupted"]

PROMPTS = 2
"""Prompts that are shown, from different templates where there are several."""

MOST_HEADS = 48
"""Heads whose patterns are kept: those with a role first, then those of the largest effects."""

LONGEST = 32
"""Positions of a pattern: of longer prompts, the last ones."""


@dataclass(frozen=True)
class PatternExamples:
    """Attention of some heads on the same few texts.

    Args:
        texts: the tokens of each text from `start` on, and what it is.
        patterns: for each head, its attention on each text.
    """

    texts: tuple[PatternText, ...]
    patterns: dict[Node, tuple[Float[Tensor, "_ _"], ...]]

    def plain(self) -> dict[str, Any]:
        """As JSON data; a pattern is one byte an entry, 255 for 1, row by row, in base64."""
        return {
            "texts": [text.plain() for text in self.texts],
            "patterns": {
                str(node): [_bytes(pattern) for pattern in patterns]
                for node, patterns in self.patterns.items()
            },
        }


@dataclass(frozen=True)
class PatternText:
    """One text: `start` counts the tokens in front that are not shown."""

    side: Side
    prompt: int
    start: int
    tokens: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "side": self.side,
            "prompt": self.prompt,
            "start": self.start,
            "tokens": list(self.tokens),
        }


def pattern_examples(
    weights: TransformerWeights,
    prompts: PromptSet,
    nodes: Sequence[Node],
    tokenizer: PreTrainedTokenizerBase | None,
) -> PatternExamples:
    """The attention of `nodes` on a few of `prompts`, clean and corrupted."""
    chosen = _chosen(prompts)
    texts: list[PatternText] = []
    patterns: dict[Node, list[Tensor]] = {node: [] for node in nodes}
    for index in chosen:
        length = int(prompts.lengths[index])
        start = max(0, length - LONGEST)
        sides: dict[Side, Tensor] = {"clean": prompts.clean, "corrupted": prompts.corrupted}
        for side, tokens in sides.items():
            ids = tokens[index, :length]
            shown = token_texts(tokenizer, ids[start:].tolist())
            texts.append(PatternText(side, index, start, tuple(shown)))

            def read(run: LayerRun, start: int = start) -> None:
                for node, kept in patterns.items():
                    if node.layer == run.layer and node.head is not None:
                        kept.append(run.pattern[node.head, 0, start:, start:].cpu())

            with torch.no_grad():
                run_tokens(weights, ids[None], visit=read)
    return PatternExamples(tuple(texts), {node: tuple(kept) for node, kept in patterns.items()})


def _chosen(prompts: PromptSet) -> list[int]:
    """The first prompts of different templates, then any."""
    first = list(
        {template: i for i, template in reversed(list(enumerate(prompts.template)))}.values()
    )
    rest = [index for index in range(len(prompts)) if index not in first]
    return (sorted(first) + rest)[:PROMPTS]


def _bytes(pattern: Float[Tensor, "pos pos"]) -> str:
    rounded = (255 * pattern).round().clamp(0, 255).to(torch.uint8)
    return base64.b64encode(rounded.numpy().tobytes()).decode("ascii")


PER_HEAD = 3
"""Texts that are kept for each head."""

WINDOW = 64
"""Tokens of a piece of a file."""

MOST_WINDOWS = 128
"""Pieces of a file that are read: its first ones."""


@dataclass(frozen=True)
class TextRows:
    """Texts as rows of tokens, padded on the right.

    Args:
        source: what they are from: a task's name, or `text` for a file.
        tokens: the rows.
        lengths: tokens of each, padding excluded.
    """

    source: str
    tokens: Int[Tensor, "batch pos"]
    lengths: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Snippet:
    """Where a head writes most in one text.

    Args:
        source: which `TextRows`.
        row: which row of them.
        query: the position it writes at.
        key: the position it looks at most there.
        weight: its attention to that position.
        norm: the length of what it writes.
    """

    source: int
    row: int
    query: int
    key: int
    weight: float
    norm: float


def prompt_rows(name: str, prompts: PromptSet) -> TextRows:
    """The clean prompts of a task."""
    return TextRows(name, prompts.clean, prompts.lengths)


def text_rows(
    weights: TransformerWeights,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    bos: int | None,
) -> TextRows | None:
    """The beginning of a text in pieces, each behind the beginning-of-text token if there is one.

    None where it has not two tokens.
    """
    first = [] if bos is None else [bos]
    width = min(WINDOW, weights.n_ctx) - len(first)
    (ids,) = encode(tokenizer, [text])
    ids = ids[: MOST_WINDOWS * width]
    if len(ids) < 2:
        return None
    pieces = [[*first, *ids[start : start + width]] for start in range(0, len(ids), width)]
    longest = max(len(piece) for piece in pieces)
    rows = [piece + piece[-1:] * (longest - len(piece)) for piece in pieces]
    return TextRows(
        "text",
        torch.tensor(rows, device=weights.device),
        torch.tensor([len(piece) for piece in pieces], device=weights.device),
    )


def snippets(
    weights: TransformerWeights, sources: Sequence[TextRows], *, memory: int
) -> dict[Node, tuple[Snippet, ...]]:
    """For every head the `PER_HEAD` texts in which it writes most at one position, most first.

    The first position is left out: there is nothing to look at but itself. So are heads that
    write nothing.
    """
    n_layers, n_heads = len(weights.blocks), weights.topology.n_heads
    found: dict[Node, list[Snippet]] = {
        head(layer, index): [] for layer in range(n_layers) for index in range(n_heads)
    }
    with torch.no_grad():
        for number, source in enumerate(sources):
            size = rows_at_once(weights, source.tokens.shape[1], memory)
            for rows in chunks(len(source.tokens), size):
                _collect(weights, source, number, rows, found)
    return {
        node: tuple(sorted(best, key=lambda s: (-s.norm, s.source, s.row))[:PER_HEAD])
        for node, best in found.items()
        if best
    }


def snippets_plain(
    found: dict[Node, tuple[Snippet, ...]],
    sources: Sequence[TextRows],
    tokenizer: PreTrainedTokenizerBase | None,
) -> dict[str, Any]:
    """As JSON data: every text once, and for each head where in which."""
    used = sorted({(s.source, s.row) for best in found.values() for s in best})
    number = {place: index for index, place in enumerate(used)}
    texts = []
    for source, row in used:
        rows = sources[source]
        ids = rows.tokens[row, : int(rows.lengths[row])].tolist()
        texts.append({"from": rows.source, "tokens": token_texts(tokenizer, ids)})
    return {
        "texts": texts,
        "heads": {
            str(node): [
                {
                    "text": number[s.source, s.row],
                    "query": s.query,
                    "key": s.key,
                    "weight": round(s.weight, 4),
                    "norm": float(f"{s.norm:.5g}"),
                }
                for s in best
            ]
            for node, best in found.items()
        },
    }


def _collect(
    weights: TransformerWeights,
    source: TextRows,
    number: int,
    rows: slice,
    found: dict[Node, list[Snippet]],
) -> None:
    tokens, lengths = source.tokens[rows], source.lengths[rows]
    at = torch.arange(tokens.shape[1], device=tokens.device)
    real = (at >= 1) & (at < lengths[:, None])

    def read(run: LayerRun) -> None:
        norms = torch.linalg.vector_norm(run.written, dim=-1).masked_fill(~real, 0.0)
        best, query = norms.max(-1)
        batch = torch.arange(len(tokens), device=tokens.device)
        looked = run.pattern[torch.arange(len(best))[:, None], batch, query]
        weight, key = looked.max(-1)
        _keep(run.layer, number, rows.start, (best, query, key, weight), found)

    run_tokens(weights, tokens, visit=read)


def _keep(
    layer: int,
    number: int,
    first: int,
    best: tuple[Float[Tensor, "head batch"], Tensor, Tensor, Float[Tensor, "head batch"]],
    found: dict[Node, list[Snippet]],
) -> None:
    norms, query, key, weight = (part.cpu() for part in best)
    top = norms.topk(min(PER_HEAD, norms.shape[1]), dim=-1).indices
    for index, rows in enumerate(top.tolist()):
        for row in rows:
            norm = float(norms[index, row])
            if norm > 0:
                found[head(layer, index)].append(
                    Snippet(
                        source=number,
                        row=first + row,
                        query=int(query[index, row]),
                        key=int(key[index, row]),
                        weight=float(weight[index, row]),
                        norm=norm,
                    )
                )


_LONGEST_TOKEN = 32
"""Characters of a token that are kept; longer ones lose their end."""

_SENTENCEPIECE_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


def token_texts(tokenizer: PreTrainedTokenizerBase | None, ids: Sequence[int]) -> list[str]:
    """The text of each token; its number where there is no tokenizer."""
    if tokenizer is None:
        return [str(token) for token in ids]
    return [_text(tokenizer, token)[:_LONGEST_TOKEN] for token in ids]


def _text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    piece = tokenizer.convert_ids_to_tokens(token)
    if isinstance(piece, str) and piece.startswith(_SENTENCEPIECE_SPACE):
        # decoding a lone token drops the space in front of it
        return piece.replace(_SENTENCEPIECE_SPACE, " ")
    return str(tokenizer.decode([token]))
