"""The tokens at the ends of the strongest singular directions of each head's circuits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.batches import chunks
from acdc_pipeline.heads.copying import vocabulary_at_once
from acdc_pipeline.heads.folded import effective_embedding, folded_layer, into_unembedding
from acdc_pipeline.models.weights import TransformerWeights

DIRECTIONS = 2
"""The number of singular vectors shown for each circuit."""

TOKENS = 6
"""The number of tokens shown for each direction."""


@dataclass(frozen=True)
class TopTokens:
    """The tokens that one singular direction of a head's OV or QK circuit connects.

    Args:
        value: the singular value as a share of the Frobenius norm; its square is the share of the
            circuit that this direction explains.
        source: OV: the tokens that the direction reads most. QK: the tokens at the query.
        target: OV: the tokens whose logits it raises. QK: the tokens at the key.
    """

    value: float
    source: tuple[int, ...]
    target: tuple[int, ...]


@dataclass(frozen=True)
class HeadTokens:
    """The strongest directions of one head."""

    ov: tuple[TopTokens, ...]
    qk: tuple[TopTokens, ...]


def top_tokens(weights: TransformerWeights, memory: int) -> dict[Node, HeadTokens]:
    """The tokens furthest along the singular vectors of every head's OV and QK circuits.

    Directions of a zero circuit are left out. The sign of a direction is arbitrary: the end is
    shown whose source tokens lie further out.
    """
    layers = weights.topology.layers_with_heads
    # One layer at a time: folded weights are copies.
    folded = (folded_layer(weights, layer) for layer in layers)
    circuits = [
        (_directions(f.w_v, f.w_o.transpose(-2, -1)), _directions(f.w_q, f.w_k)) for f in folded
    ]
    rows = torch.cat([into_unembedding(weights, ov.right) for ov, _ in circuits])
    written = written_ends(weights, rows, memory)
    size = _tokens_at_once(weights, 3 * DIRECTIONS * len(rows), memory)
    read: list[TokenEnds] = []
    # The effective embedding is the same in every layer after the first.
    in_first = int(layers[0] == 0)
    for layer, group in ((0, circuits[:in_first]), (1, circuits[in_first:])):
        if group:
            directions = [torch.cat([ov.left, qk.left, qk.right]) for ov, qk in group]
            tokens_read = partial(effective_embedding, weights, layer=layer)
            found = find_ends(torch.cat(directions), tokens_read, weights.w_e.shape[0], size)
            read += found.split(weights.topology.n_heads)
    out: dict[Node, HeadTokens] = {}
    targets = written.split(weights.topology.n_heads)
    for number, (layer, (ov, qk)) in enumerate(zip(layers, circuits, strict=True)):
        sources, queries, keys = read[3 * number : 3 * number + 3]
        named = zip(_named(ov, sources, targets[number]), _named(qk, queries, keys), strict=True)
        for index, (ov_tokens, qk_tokens) in enumerate(named):
            out[head(layer, index)] = HeadTokens(ov_tokens, qk_tokens)
    return out


@dataclass(frozen=True)
class _Directions:
    """The first singular vectors of A Bᵀ in every head, and their values as shares of its norm."""

    left: Float[Tensor, "head rank d_model"]
    right: Float[Tensor, "head rank d_model"]
    share: Float[Tensor, "head rank"]


@dataclass(frozen=True)
class TokenEnds:
    """The tokens at the two ends of each direction, and the projection of the furthest one."""

    tokens: Int[Tensor, "end head rank token"]
    reach: Float[Tensor, "end head rank"]

    def split(self, size: int) -> list[TokenEnds]:
        """Split into parts of `size` heads each."""
        parts = zip(self.tokens.split(size, dim=1), self.reach.split(size, dim=1), strict=True)
        return [TokenEnds(tokens, reach) for tokens, reach in parts]


def _directions(
    left: Float[Tensor, "head d_model d_head"], right: Float[Tensor, "head d_model d_head"]
) -> _Directions:
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right)
    u, s, vh = torch.linalg.svd(r_left @ r_right.transpose(-2, -1))
    n = min(DIRECTIONS, s.shape[-1])
    norm = s.square().sum(-1, keepdim=True).sqrt()
    return _Directions(
        (q_left @ u[..., :n]).transpose(-2, -1),
        (q_right @ vh[:, :n].transpose(-2, -1)).transpose(-2, -1),
        (s[:, :n] / norm).nan_to_num(0.0),
    )


def find_ends(
    directions: Float[Tensor, "head rank d_model"],
    tokens: Callable[[slice], Float[Tensor, "n d_model"]],
    vocab: int,
    size: int,
) -> TokenEnds:
    """Find the `TOKENS` furthest along each direction and its negative, `size` tokens at a time."""
    flat = directions.flatten(0, 1)
    best = flat.new_empty(2, len(flat), 0)
    ids = torch.empty(2, len(flat), 0, dtype=torch.int64, device=flat.device)
    for part in chunks(vocab, size):
        along = flat @ tokens(part).T
        n = min(TOKENS, along.shape[1])
        high, low = along.topk(n), along.topk(n, largest=False)
        both = torch.cat([best, torch.stack([high.values, -low.values])], dim=2)
        names = torch.cat([ids, torch.stack([high.indices, low.indices]) + part.start], dim=2)
        best, at = both.topk(min(TOKENS, both.shape[2]))
        ids = names.gather(2, at)
    shape = (2, *directions.shape[:2])
    return TokenEnds(ids.view(*shape, -1).cpu(), best[..., 0].view(shape).cpu())


def written_ends(
    weights: TransformerWeights, rows: Float[Tensor, "head rank d_model"], memory: int
) -> TokenEnds:
    """Find the tokens whose logits `rows` raise and lower most, in about `memory` bytes.

    Args:
        rows: directions as `into_unembedding` gives them.
    """
    size = _tokens_at_once(weights, rows.shape[0] * rows.shape[1], memory)
    vocab = weights.w_u.shape[1]
    return find_ends(rows, lambda part: weights.w_u[:, part].T.to(weights.dtype), vocab, size)


def _tokens_at_once(weights: TransformerWeights, directions: int, memory: int) -> int:
    """Half of the memory is for tokens, half for their projections on the directions."""
    in_all = directions * weights.dtype.itemsize
    return min(vocabulary_at_once(weights, memory // 2), max(1, memory // (2 * in_all)))


def _named(
    directions: _Directions, source: TokenEnds, target: TokenEnds
) -> list[tuple[TopTokens, ...]]:
    """Describe the directions of every head by their tokens."""
    out = []
    for index, shares in enumerate(directions.share.tolist()):
        found = []
        for rank, share in enumerate(shares):
            if share == 0:
                continue
            end = int(source.reach[1, index, rank] > source.reach[0, index, rank])
            found.append(
                TopTokens(
                    share,
                    tuple(source.tokens[end, index, rank].tolist()),
                    tuple(target.tokens[end, index, rank].tolist()),
                )
            )
        out.append(tuple(found))
    return out
