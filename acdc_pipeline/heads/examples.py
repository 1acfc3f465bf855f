"""Examples of what heads do: attention patterns on a few prompts, and texts with large outputs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.engine.forward import context_length
from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.heads.layer_run import LayerRun, run_tokens
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.prompts.tokenization import encode

Side = Literal["clean", "corrupted"]

PROMPTS = 2
"""The number of prompts shown, from different templates if there are several."""

MOST_HEADS = 48
"""The number of heads whose patterns are stored; `profile.shown_heads` chooses them."""

LONGEST = 32
"""The largest number of positions in a pattern: the last ones of longer prompts."""


@dataclass(frozen=True)
class PatternExamples:
    """Attention patterns of some heads on the same few texts."""

    texts: tuple[PatternText, ...]
    patterns: dict[Node, tuple[Float[Tensor, "_ _"], ...]]

    def plain(self) -> dict[str, Any]:
        """As JSON data; a pattern has one byte per entry, 255 for 1, row by row, in base64."""
        return {
            "texts": [asdict(text) | {"tokens": list(text.tokens)} for text in self.texts],
            "patterns": {
                str(node): [encode_pattern(pattern) for pattern in patterns]
                for node, patterns in self.patterns.items()
            },
        }


@dataclass(frozen=True)
class PatternText:
    """The last tokens of a prompt; `start` tokens before them are not shown."""

    side: Side
    prompt: int
    start: int
    tokens: tuple[str, ...]


def pattern_examples(
    weights: TransformerWeights,
    prompts: PromptSet,
    nodes: Sequence[Node],
    tokenizer: PreTrainedTokenizerBase | None,
) -> PatternExamples:
    """The attention patterns of `nodes` on a few of `prompts`, clean and corrupted."""
    texts: list[PatternText] = []
    patterns: dict[Node, list[Tensor]] = {node: [] for node in nodes}
    for index in _choose_prompts(prompts):
        length = int(prompts.lengths[index])
        start = max(0, length - LONGEST)
        sides: dict[Side, Tensor] = {"clean": prompts.clean, "corrupted": prompts.corrupted}
        for side, tokens in sides.items():
            ids = tokens[index, :length]
            shown = token_texts(tokenizer, ids[start:].tolist())
            texts.append(PatternText(side, index, start, tuple(shown)))

            def visit(run: LayerRun, start: int = start) -> None:
                for node, kept in patterns.items():
                    if node.layer == run.layer and node.head is not None:
                        kept.append(run.pattern[node.head, 0, start:, start:].cpu())

            with torch.no_grad():
                run_tokens(weights, ids[None], visit=visit)
    return PatternExamples(tuple(texts), {node: tuple(kept) for node, kept in patterns.items()})


def _choose_prompts(prompts: PromptSet) -> list[int]:
    """The first prompts of different templates, then others."""
    first: dict[int, int] = {}
    for index, template in enumerate(prompts.template):
        first.setdefault(template, index)
    rest = [index for index in range(len(prompts)) if index not in first.values()]
    return [*first.values(), *rest][:PROMPTS]


def encode_pattern(pattern: Float[Tensor, "*shape"]) -> str:
    """Weights as base64 of one byte each, 255 for 1."""
    rounded = (255 * pattern).round().clamp(0, 255).to(torch.uint8)
    return base64.b64encode(rounded.numpy().tobytes()).decode("ascii")


def span_attention(
    weights: TransformerWeights, prompts: PromptSet, *, memory: int
) -> dict[Node, Float[Tensor, "span span"]]:
    """The mean attention of every head from each span (row) to each span, on the clean prompts.

    It is the mean over the prompts that have the query span of the mean over its positions there
    of the attention to all positions of the key span: each row sums to 1.

    Args:
        prompts: prompts with spans.
    """
    spans = prompts.spans
    assert spans is not None
    inside = spans.index[..., None] == torch.arange(len(spans.names), device=weights.device)
    share = inside / inside.sum(1, keepdim=True).clamp(min=1)
    found: dict[Node, Tensor] = {}
    size = rows_at_once(weights, prompts.clean.shape[1], memory)
    with torch.no_grad():
        for rows in chunks(len(prompts), size):

            def visit(run: LayerRun, rows: slice = rows) -> None:
                to_keys = run.pattern @ inside[rows].to(run.pattern)
                sums = torch.einsum("bqs,hbqt->hst", share[rows].to(run.pattern), to_keys)
                for index, of_head in enumerate(sums.double().cpu()):
                    node = head(run.layer, index)
                    found[node] = found[node] + of_head if node in found else of_head

            run_tokens(weights, prompts.clean[rows], visit=visit)
    having = inside.any(1).sum(0)[:, None].cpu()
    return {node: total / having for node, total in found.items()}


def span_attention_plain(
    weights: TransformerWeights, prompts: PromptSet, *, memory: int
) -> dict[str, Any]:
    """`span_attention` as JSON data; the numbers are coded like patterns."""
    assert prompts.spans is not None
    found = span_attention(weights, prompts, memory=memory)
    return {
        "spans": list(prompts.spans.names),
        "prompts": len(prompts),
        "weights": {str(node): encode_pattern(mean) for node, mean in found.items()},
    }


PER_HEAD = 3
"""The number of texts stored for each head."""

WINDOW = 64
"""The number of tokens in a piece of a text file."""

MOST_WINDOWS = 128
"""The number of pieces of a text file that are read."""


@dataclass(frozen=True)
class TextRows:
    """Texts as rows of tokens, padded on the right.

    Args:
        source: their origin: a task's name, or `text` for a file.
        lengths: the number of tokens of each, without padding.
    """

    source: str
    tokens: Int[Tensor, "batch pos"]
    lengths: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Snippet:
    """The largest output of a head in one text.

    Args:
        source: index of the `TextRows`.
        query: the position of the output.
        key: the position with the most attention from there.
        weight: that attention.
        norm: the norm of the output.
    """

    source: int
    row: int
    query: int
    key: int
    weight: float
    norm: float


def text_rows(
    weights: TransformerWeights,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    bos: int | None,
) -> TextRows | None:
    """The beginning of a text in pieces, each after the beginning-of-text token if there is one.

    None if the text has fewer than two tokens.
    """
    first = [] if bos is None else [bos]
    width = min(WINDOW, context_length(weights)) - len(first)
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


def find_snippets(
    weights: TransformerWeights, sources: Sequence[TextRows], *, memory: int
) -> dict[Node, tuple[Snippet, ...]]:
    """For every head, the `PER_HEAD` texts with its largest outputs at one position, largest first.

    Without the first position, which can only attend to itself, and without heads that write
    nothing.
    """
    heads = (node for node in weights.topology.sources if node.kind == "head")
    found: dict[Node, list[Snippet]] = {node: [] for node in heads}
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
    """As JSON data: every text once, and the snippets of each head with the indices of texts."""
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

    def visit(run: LayerRun) -> None:
        norms = torch.linalg.vector_norm(run.written, dim=-1).masked_fill(~real, 0.0)
        best, query = norms.max(-1)
        batch = torch.arange(len(tokens), device=tokens.device)
        weight, key = run.pattern[torch.arange(len(best))[:, None], batch, query].max(-1)
        best, query, key, weight = (part.cpu() for part in (best, query, key, weight))
        top = best.topk(min(PER_HEAD, best.shape[1]), dim=-1).indices
        for index, row in ((i, row) for i, of_head in enumerate(top.tolist()) for row in of_head):
            if best[index, row] > 0:
                found[head(run.layer, index)].append(
                    Snippet(
                        source=number,
                        row=rows.start + row,
                        query=int(query[index, row]),
                        key=int(key[index, row]),
                        weight=float(weight[index, row]),
                        norm=float(best[index, row]),
                    )
                )

    run_tokens(weights, tokens, visit=visit)


_LONGEST_TOKEN = 32
"""The number of characters after which the text of a token is cut."""

_SENTENCEPIECE_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


def token_texts(tokenizer: PreTrainedTokenizerBase | None, ids: Sequence[int]) -> list[str]:
    """The text of each token, leading spaces included; its id if there is no tokenizer."""
    if tokenizer is None:
        return [str(token) for token in ids]
    return [_text(tokenizer, token)[:_LONGEST_TOKEN] for token in ids]


def _text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    piece = tokenizer.convert_ids_to_tokens(token)
    if isinstance(piece, str) and piece.startswith(_SENTENCEPIECE_SPACE):
        # Decoding a single token drops its leading space.
        return piece.replace(_SENTENCEPIECE_SPACE, " ")
    return str(tokenizer.decode([token]))
