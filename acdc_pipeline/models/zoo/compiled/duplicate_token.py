"""A head that looks where the current token stood before, and the places it tells apart."""

from __future__ import annotations

from acdc_pipeline.models.zoo.compiled.builder import D_HEAD, Builder, flag, into_head
from acdc_pipeline.models.zoo.compiled.codes import signs

# Scores of one shared coordinate: tokens 64 * 32 / 4 = 512, places 16 * -16 / 4 = -64.
_TOKEN_QUERY, _TOKEN_KEY = 64.0, 32.0
_PLACE_QUERY, _PLACE_KEY = 16.0, -16.0
_CONSTANT = 16.0


def place_widths(n_ctx: int) -> dict[str, int]:
    """The subspace that `embed_places` writes."""
    return {"place": signs(n_ctx).shape[1]}


def embed_places(builder: Builder) -> None:
    """Write where each token stands. <bos> stands nowhere: it is never a current token's place."""
    codes = signs(builder.shape.n_ctx)
    codes[0] = 0
    builder.embed_positions("place", codes)


def add_duplicate_token_head(
    builder: Builder, layer: int, head: int, *, code: str, reads: str, writes: str
) -> None:
    """The head looks at the earlier place of the current token, at <bos> if there is none.

    A token is told by its signs in `code`. The current token matches itself as well, and is kept
    from looking at itself by its place, which it shares with nobody else. With t coordinates of
    a token and p of a place, the scores are

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
