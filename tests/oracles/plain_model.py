"""A transformer written out head by head, query by query and key by key, from the definitions.

It reads `TransformerWeights` and shares nothing with the engine. What every receiver reads is
decided by the caller, so that circuits, gates and derivatives are all forwards of this one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from acdc_pipeline.models.weights import (
    Attention,
    Block,
    HeadNorm,
    Latent,
    Mlp,
    Norm,
    Rotary,
    RotaryPairs,
    TransformerWeights,
)

Read = Callable[[str, dict[str, Tensor]], Tensor]
"""What a receiver, given by its name, reads, from what the sources before it wrote."""


def everything(receiver: str, written: dict[str, Tensor]) -> Tensor:
    """What a receiver of the whole model reads."""
    return torch.stack(list(written.values())).sum(0)


class PlainModel:
    """The model, and the attention patterns of its last forward by the name of the head."""

    def __init__(self, weights: TransformerWeights) -> None:
        self.weights = weights
        self.patterns: dict[str, Tensor] = {}
        self.carried: dict[str, Tensor] = {}

    def run(self, tokens: Tensor, read: Read = everything) -> tuple[Tensor, dict[str, Tensor]]:
        """The final residual stream, and what every source wrote."""
        embedded = self.weights.w_e[tokens]
        if self.weights.w_pos is not None:
            embedded = embedded + self.weights.w_pos[: tokens.shape[1]]
        written = {"input": embedded}
        constant = torch.zeros_like(embedded)
        for layer, block in enumerate(self.weights.blocks):
            written |= self.heads(layer, block, read, written, constant)
            if block.attention.b_o is not None:
                constant = constant + block.attention.b_o
            if block.mlp is not None:
                assert block.norm_mlp is not None
                assert isinstance(block.mlp, Mlp)
                x = norm(read(f"m{layer}", written) + constant, block.norm_mlp)
                written[f"m{layer}"] = mlp(x, block.mlp)
        return read("logits", written) + constant, written

    def logprobs(self, final: Tensor) -> Tensor:
        logits = norm(final, self.weights.norm_final) @ self.weights.w_u
        return logits.log_softmax(-1)

    def heads(
        self, layer: int, block: Block, read: Read, written: dict[str, Tensor], constant: Tensor
    ) -> dict[str, Tensor]:
        """What the heads of a layer write."""
        attn = block.attention
        names = [f"a{layer}.h{h}" for h in range(len(attn.w_q))]
        gates: list[Tensor | None] = []
        queries, keys, values = [], [], []
        for h, name in enumerate(names):
            group = h // (len(attn.w_q) // len(attn.w_k))
            x = {
                slot: norm(read(f"{name}<{slot}>", written) + constant, block.norm_attn)
                for slot in "qkv"
            }
            q = _linear(_latent(x["q"], attn.q_latent), attn.w_q[h], attn.b_q, h)
            queries.append(q[..., : attn.w_k.shape[2]])
            gates.append(q[..., attn.w_k.shape[2] :] if attn.gate else None)
            k = _latent(x["k"], attn.k_latent)
            keys.append(_linear(k, attn.w_k[group], attn.b_k, group))
            v = _latent(x["v"], attn.v_latent)
            values.append(_linear(v, attn.w_v[group], attn.b_v, group))
        queries = _finished(queries, attn, attn.q_norm, attn.rotary, 1)
        per_group = len(attn.w_q) // len(attn.w_k)
        keys = _finished(keys, attn, attn.k_norm, attn.rotary, per_group)
        values = _finished(values, attn, attn.v_norm, None, per_group)
        if attn.query_scale is not None:
            positions = range(queries[0].shape[1])
            scales = torch.stack([attn.query_scale[i] for i in positions])
            queries = [q * scales[:, None] for q in queries]
        out = {}
        for h, name in enumerate(names):
            if attn.difference is None:
                pattern = _pattern(queries[h], keys[h], attn, h)
            else:
                half = queries[h].shape[-1] // 2
                first = _pattern(queries[h][..., :half], keys[h][..., :half], attn, h)
                second = _pattern(queries[h][..., half:], keys[h][..., half:], attn, h)
                pattern = first - attn.difference.factor * second
            z = torch.einsum("bqk,bkd->bqd", pattern, values[h])
            gate = gates[h]
            if gate is not None:
                softplus = attn.gate_function == "softplus"
                factor = torch.log(1 + torch.exp(gate)) if softplus else 1 / (1 + torch.exp(-gate))
                z = z * factor
            if attn.difference is not None:
                z = _unweighted(z, "rms", attn.difference.eps) * attn.difference.scale
            self.patterns[name], self.carried[name] = pattern, z
        if attn.z_norm_eps is not None:
            squares = torch.stack([self.carried[name].pow(2).mean(-1) for name in names])
            rms = (squares.mean(0) + attn.z_norm_eps).sqrt()[..., None]
            self.carried |= {name: self.carried[name] / rms for name in names}
        for h, name in enumerate(names):
            out[name] = self.carried[name] @ attn.w_o[h]
        if block.post_attn is None:
            return out
        total = torch.stack(list(out.values())).sum(0)
        rms = (total.pow(2).mean(-1, keepdim=True) + block.post_attn.eps).sqrt()
        assert block.post_attn.weight is not None
        return {name: block.post_attn.weight * share / rms for name, share in out.items()}


def norm(x: Tensor, definition: Norm) -> Tensor:
    if definition.kind == "none":
        return x
    out = _unweighted(x, definition.kind, definition.eps)
    out = out if definition.weight is None else out * definition.weight
    return out if definition.bias is None else out + definition.bias


def mlp(x: Tensor, definition: Mlp) -> Tensor:
    """A ReLU MLP with biases, or without."""
    hidden = _linear(x, definition.w_in, definition.b_in)
    assert definition.activation == "relu"
    return _linear(hidden.clamp(min=0), definition.w_out, definition.b_out)


def _unweighted(x: Tensor, kind: str, eps: float) -> Tensor:
    if kind == "layer":
        x = x - x.mean(-1, keepdim=True)
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, row: int | None = None) -> Tensor:
    if bias is None:
        return x @ weight
    return x @ weight + (bias if row is None else bias[row])


def _latent(x: Tensor, latent: Latent | None) -> Tensor:
    if latent is None:
        return x
    down = _linear(x, latent.down, latent.bias)
    parts = [down if latent.norm is None else norm(down, latent.norm)]
    if latent.direct is not None:
        direct = x @ latent.direct
        parts.append(direct if latent.direct_norm is None else norm(direct, latent.direct_norm))
    return torch.cat(parts, -1)


def _finished(
    rows: list[Tensor],
    attn: Attention,
    own: HeadNorm | None,
    rotary: Rotary | None,
    per_group: int,
) -> list[Tensor]:
    """One slot of every head as attention uses it, without the factor of queries."""
    if own is not None and not own.after_rotation:
        rows = _head_norm(rows, own, per_group)
    if attn.clip is not None:
        rows = [row.clamp(-attn.clip, attn.clip) for row in rows]
    if rotary is not None:
        paired = attn.difference is not None
        rows = [_rotated_pair(row, rotary) if paired else _rotated(row, rotary) for row in rows]
    if own is not None and own.after_rotation:
        rows = _head_norm(rows, own, per_group)
    return rows


def _head_norm(rows: list[Tensor], own: HeadNorm, per_group: int) -> list[Tensor]:
    out = []
    together = torch.stack(rows).pow(2).mean(-1, keepdim=True).mean(0)
    for h, row in enumerate(rows):
        span = row / (together + own.eps).sqrt()
        normalised = span if own.across == "layer" else _unweighted(row, own.kind, own.eps)
        if own.weight is not None:
            normalised = normalised * own.weight[h // per_group]
        if own.bias is not None:
            normalised = normalised + own.bias[h // per_group]
        out.append(normalised)
    return out


def _rotated_pair(x: Tensor, rotary: Rotary) -> Tensor:
    """Two queries or two keys, side by side."""
    half = x.shape[-1] // 2
    return torch.cat([_rotated(x[..., :half], rotary), _rotated(x[..., half:], rotary)], -1)


def _rotated(x: Tensor, rotary: Rotary) -> Tensor:
    width = rotary.cos.shape[1]
    columns = list(x.unbind(-1))
    for i in range(width // 2):
        a, b = (2 * i, 2 * i + 1)
        if rotary.pairs is RotaryPairs.HALVES:
            a, b = (i, i + width // 2)
        cos, sin = rotary.cos[: x.shape[1], a], rotary.sin[: x.shape[1], a]
        columns[a] = x[..., a] * cos - x[..., b] * sin
        columns[b] = x[..., b] * cos + x[..., a] * sin
    return torch.stack(columns, -1)


def _pattern(q: Tensor, k: Tensor, attn: Attention, h: int) -> Tensor:
    """The attention of one head, query by query and key by key."""
    pos = q.shape[1]
    rows = []
    for i in range(pos):
        powers: dict[int, Tensor] = {}
        for j in range(pos):
            if not _sees(attn, i, j):
                continue
            score = attn.scale * (q[:, i] * k[:, j]).sum(-1)
            if attn.score_cap is not None:
                score = attn.score_cap * (score / attn.score_cap).tanh()
            if attn.alibi is not None:
                score = score + attn.alibi[h, j] - attn.alibi[h, i]
            powers[j] = score.exp()
        total = torch.stack(list(powers.values())).sum(0)
        if attn.sinks is not None:
            total = total + attn.sinks[h].exp()
        nothing = torch.zeros_like(total)
        rows.append(torch.stack([powers.get(j, nothing) / total for j in range(pos)], -1))
    return torch.stack(rows, 1)


def _sees(attn: Attention, query: int, key: int) -> bool:
    if attn.direction == "causal" and key > query:
        return False
    if attn.window is not None and query - key >= attn.window:
        return False
    return attn.chunk is None or query // attn.chunk == key // attn.chunk
