"""Parts that several compiled models share: word codes, typical heads, and distractors.

Distractors are heads and hidden units that a circuit finder must drop. They read the whole
residual stream, each other included, so their edges carry real differences between clean and
corrupted prompts. They write only into the scratch subspace, which nothing on the way to the
logits reads, so no edge from or into a distractor belongs to any circuit.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.graph.edge import SLOTS
from acdc_pipeline.models.zoo.compiled.builder import (
    D_HEAD,
    SCRATCH,
    SHARP,
    Builder,
    Residual,
    Shape,
    flag,
    into_head,
    signs,
)
from acdc_pipeline.models.zoo.compiled.program import BuiltHead, TrueEdge
from acdc_pipeline.models.zoo.tokenizer import BOS, SPECIAL

WORDS = tuple(consonant + vowel for consonant in "bdfgjklmnprs" for vowel in "aeiou")
"""Sixty words of two letters, for programs that work with any token."""

TOKEN_WIDTH = 6
"""Coordinates of a token: room for 64, the words, the special tokens and one sign."""

LOGIT = 16.0
"""Scale of the logits. Two tokens share at most 4 - 2 of 6 coordinates, so the right one is
2 * 16 = 32 nats above the next."""


def start_word_model(
    *,
    words: tuple[str, ...],
    subspaces: Mapping[str, int],
    n_layers: int,
    n_ctx: int,
    n_heads: int = 4,
    scratch: int = 16,
) -> Builder:
    """Return a builder that embeds words and positions and reads logits from `answer`.

    Args:
        words: vocabulary after the special tokens.
        subspaces: widths of further subspaces, including those of `neighbour_widths`.
        n_layers: number of layers.
        n_ctx: number of positions.
        n_heads: heads per layer.
        scratch: width of the scratch subspace.
    """
    widths = {"token": TOKEN_WIDTH, "is_bos": 1, **subspaces}
    residual = Residual({**widths, "answer": TOKEN_WIDTH, SCRATCH: scratch})
    vocab = len(SPECIAL) + len(words)
    builder = Builder(Shape(residual, n_layers, n_heads, n_ctx, vocab))
    # <bos> has no code, so that attending to it writes nothing.
    codes = signs(vocab)
    codes[SPECIAL.index(BOS)] = 0
    builder.embed("token", codes)
    builder.embed("is_bos", flag(SPECIAL.index(BOS), vocab)[:, None])
    builder.unembed("answer", LOGIT * codes.T)
    positions = signs(n_ctx)
    before = positions.roll(1, dims=0)
    before[0] = 0
    builder.embed_positions("position", positions)
    builder.embed_positions("position_before", before)
    return builder


def neighbour_widths(n_ctx: int) -> dict[str, int]:
    """Return the subspaces that hold a position's number and that of the position before."""
    width = signs(n_ctx).shape[1]
    return {"position": width, "position_before": width}


def add_previous_token_head(
    builder: Builder, layer: int, head: int, *, reads: str, writes: str
) -> None:
    """Let the head attend to the position before and copy `reads` from there into `writes`."""
    width = builder.shape.residual.widths["position"]
    builder.read(layer, head, "q", "position_before", into_head(width, SHARP))
    builder.read(layer, head, "k", "position", into_head(width, SHARP))
    builder.carry(layer, head, reads, writes)


def previous_token_edges(head: str) -> tuple[TrueEdge, TrueEdge]:
    """Return the edges through which a previous-token head compares positions."""
    same = " positions are the same in clean and corrupted prompts"
    return (
        TrueEdge(
            f"input->{head}<q>",
            f"the previous-token head must know its own position to look one before it;{same}",
            ("zero",),
        ),
        TrueEdge(
            f"input->{head}<k>",
            f"the previous-token head finds the position before by its number;{same}",
            ("zero",),
        ),
    )


def previous_token_head(head: str) -> BuiltHead:
    """Return the description of a previous-token head."""
    return BuiltHead(head, ("previous-token",), "it compares positions and nothing else")


# Score per shared coordinate: tokens 64 * 32 / 4 = 512, places 16 * -16 / 4 = -64.
_TOKEN_QUERY, _TOKEN_KEY = 64.0, 32.0
_PLACE_QUERY, _PLACE_KEY = 16.0, -16.0
_CONSTANT = 16.0


def place_widths(n_ctx: int) -> dict[str, int]:
    """Return the subspace that holds the place of each token for a duplicate-token head."""
    return {"place": signs(n_ctx).shape[1]}


def embed_places(builder: Builder) -> None:
    """Write the place of each token; <bos> has none, as it is never the current token."""
    codes = signs(builder.shape.n_ctx)
    codes[0] = 0
    builder.embed_positions("place", codes)


def add_duplicate_token_head(
    builder: Builder, layer: int, head: int, *, code: str, reads: str, writes: str
) -> None:
    """Let the head attend to the earlier occurrence of the current token, else to <bos>.

    Tokens are compared by their signs in `code`. The current token matches itself as well, and is
    excluded by its place, which no other token shares. With t coordinates of a token and p of a
    place, the scores are

        an earlier occurrence   512 t - 64 (p - 2) or more
        <bos>                   512 t - 64 (p - 1)
        the token itself        512 t - 64 p
        any other token         512 (t - 2) + 64 p or less

    each at least 64 below the one above it for p <= 7.
    """
    widths = builder.shape.residual.widths
    t, p = widths[code], widths["place"]

    builder.read(layer, head, "q", code, into_head(t, _TOKEN_QUERY))
    builder.read(layer, head, "k", code, into_head(t, _TOKEN_KEY))
    builder.read(layer, head, "q", "place", into_head(p, _PLACE_QUERY).roll(t, dims=1))
    builder.read(layer, head, "k", "place", into_head(p, _PLACE_KEY).roll(t, dims=1))
    builder.bias(layer, head, "q", flag(t + p, D_HEAD, _CONSTANT))
    score = 512.0 * t - 64.0 * (p - 1)
    builder.read(layer, head, "k", "is_bos", flag(t + p, D_HEAD, 4 * score / _CONSTANT)[None])
    builder.carry(layer, head, reads, writes)


def duplicate_token_head(head: str) -> BuiltHead:
    """Return the description of a duplicate-token head."""
    return BuiltHead(
        head,
        ("duplicate-token",),
        "it looks for the current token at another place, at <bos> if there is none",
    )


# These fractions are exact in half precision, and small enough to keep softmaxes soft.
_VALUES = tuple(i / 32 for i in range(-8, 9))


def add_distractors(
    builder: Builder,
    *,
    seed: str,
    used_heads: Iterable[tuple[int, int]],
    used_units: Sequence[int] = (),
) -> None:
    """Turn every unused head and hidden unit into a distractor.

    Args:
        builder: weights to add to.
        seed: seed of the random weights.
        used_heads: layer and index of the heads that compute something.
        used_units: number of hidden units in each layer that compute something.
    """
    shape, widths = builder.shape, builder.shape.residual.widths
    used = set(used_heads)
    for layer in range(shape.n_layers):
        for head in range(shape.n_heads):
            if (layer, head) not in used:
                add_reading_head(builder, layer, head, seed)
                rng = random.Random(f"{seed} a{layer}.h{head} writes")
                builder.write(layer, head, SCRATCH, _draw_matrix(rng, D_HEAD, widths[SCRATCH]))
    for layer, first in enumerate(used_units):
        for index in range(first, shape.d_mlp):
            rng = random.Random(f"{seed} m{layer}.{index}")
            builder.unit(
                layer,
                index,
                reads={name: _draw_matrix(rng, 1, width)[0] for name, width in widths.items()},
                bias=0.0,
                writes={SCRATCH: _draw_matrix(rng, 1, widths[SCRATCH])[0]},
            )


def add_reading_head(builder: Builder, layer: int, head: int, seed: str) -> None:
    """Let the head read everything through random weights, and write nothing."""
    rng = random.Random(f"{seed} a{layer}.h{head}")
    for subspace, width in builder.shape.residual.widths.items():
        for slot in SLOTS:
            builder.read(layer, head, slot, subspace, _draw_matrix(rng, width, D_HEAD))


def _draw_matrix(rng: random.Random, rows: int, columns: int) -> Float[Tensor, "_ _"]:
    entries = [[rng.choice(_VALUES) for _ in range(columns)] for _ in range(rows)]
    return torch.tensor(entries, dtype=torch.float64)
