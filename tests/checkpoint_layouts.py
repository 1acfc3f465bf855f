"""Small models as training code defines them, in plain PyTorch: oracles for converted checkpoints.

Each class names and shapes its parameters as one layout does, and computes its logits by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def randomize(module: nn.Module, seed: int = 0, *, dtype: torch.dtype = torch.float64) -> Any:
    """The module in `dtype`, every parameter random, biases and norms included."""
    generator = torch.Generator().manual_seed(seed)
    module = module.to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return module


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Causal attention of [batch, head, pos, d_head]."""
    scores = q @ k.transpose(-2, -1) * scale
    above = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(above, -math.inf).softmax(-1) @ v


class NanoGpt(nn.Module):
    """nanoGPT's names: one Linear for queries, keys and values; the head is tied."""

    def __init__(self, *, heads: int, bias: bool = True, d: int = 8, vocab: int = 11) -> None:
        super().__init__()
        self.heads, self.act = heads, nn.GELU()

        def block() -> nn.Module:
            attn = nn.ModuleDict(
                {"c_attn": nn.Linear(d, 3 * d, bias=bias), "c_proj": nn.Linear(d, d, bias=bias)}
            )
            attn.register_buffer("bias", torch.ones(16, 16).tril()[None, None])
            mlp = {"c_fc": nn.Linear(d, 4 * d, bias=bias), "c_proj": nn.Linear(4 * d, d, bias=bias)}
            norms = {f"ln_{i}": nn.LayerNorm(d, bias=bias) for i in (1, 2)}
            return nn.ModuleDict({**norms, "attn": attn, "mlp": nn.ModuleDict(mlp)})

        self.transformer: Any = nn.ModuleDict(
            {
                "wte": nn.Embedding(vocab, d),
                "wpe": nn.Embedding(16, d),
                "h": nn.ModuleList([block(), block()]),
                "ln_f": nn.LayerNorm(d, bias=bias),
            }
        )
        self.lm_head = nn.Linear(d, vocab, bias=False)
        self.lm_head.weight = self.transformer.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.transformer
        x = parts.wte(tokens) + parts.wpe.weight[: tokens.shape[1]]
        for block in parts.h:
            qkv = block.attn.c_attn(block.ln_1(x)).chunk(3, -1)
            q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in qkv)
            z = attend(q, k, v, q.shape[-1] ** -0.5).transpose(1, 2).flatten(2)
            x = x + block.attn.c_proj(z)
            x = x + block.mlp.c_proj(self.act(block.mlp.c_fc(block.ln_2(x))))
        return self.lm_head(parts.ln_f(x))


class MinGpt2020(nn.Module):
    """The names of minGPT's first version: an MLP as a Sequential, a mask as a buffer."""

    def __init__(self, *, heads: int, d: int = 8, vocab: int = 9) -> None:
        super().__init__()
        self.heads = heads
        self.tok_emb = nn.Embedding(vocab, d)
        self.pos_emb = nn.Parameter(torch.zeros(1, 12, d))

        def block() -> nn.Module:
            attn = nn.ModuleDict({n: nn.Linear(d, d) for n in ("key", "query", "value", "proj")})
            attn.register_buffer("mask", torch.ones(12, 12).tril()[None, None])
            mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d), nn.Dropout(0))
            norms = {"ln1": nn.LayerNorm(d), "ln2": nn.LayerNorm(d)}
            return nn.ModuleDict({**norms, "attn": attn, "mlp": mlp})

        self.blocks: Any = nn.Sequential(block(), block())
        self.ln_f = nn.LayerNorm(d)
        self.head = nn.Linear(d, vocab, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tok_emb(tokens) + self.pos_emb[:, : tokens.shape[1]]
        for block in self.blocks:
            y, attn = block.ln1(x), block.attn
            q, k, v = (
                attn[n](y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                for n in ("query", "key", "value")
            )
            z = attend(q, k, v, q.shape[-1] ** -0.5)
            x = x + attn.proj(z.transpose(1, 2).flatten(2))
            x = x + block.mlp(block.ln2(x))
        return self.head(self.ln_f(x))


class LectureGpt(nn.Module):
    """The names of the lecture's gpt.py: a module per head."""

    def __init__(self, *, heads: int = 2, d: int = 8, vocab: int = 10) -> None:
        super().__init__()
        self.token_embedding_table = nn.Embedding(vocab, d)
        self.position_embedding_table = nn.Embedding(16, d)

        def head() -> nn.Module:
            names = ("key", "query", "value")
            made = nn.ModuleDict({n: nn.Linear(d, d // heads, bias=False) for n in names})
            made.register_buffer("tril", torch.ones(16, 16).tril())
            return made

        def block() -> nn.Module:
            sa = {"heads": nn.ModuleList([head() for _ in range(heads)]), "proj": nn.Linear(d, d)}
            net = nn.Sequential(nn.Linear(d, 4 * d), nn.ReLU(), nn.Linear(4 * d, d))
            norms = {"ln1": nn.LayerNorm(d), "ln2": nn.LayerNorm(d)}
            ffwd = nn.ModuleDict({"net": net})
            return nn.ModuleDict({"sa": nn.ModuleDict(sa), "ffwd": ffwd, **norms})

        self.blocks: Any = nn.Sequential(block(), block())
        self.ln_f = nn.LayerNorm(d)
        self.lm_head = nn.Linear(d, vocab)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token_embedding_table(tokens)
        x = x + self.position_embedding_table.weight[: tokens.shape[1]]
        for block in self.blocks:
            y = block.ln1(x)
            out = [
                attend(h.query(y), h.key(y), h.value(y), h.key.out_features**-0.5)
                for h in block.sa.heads
            ]
            x = x + block.sa.proj(torch.cat(out, -1))
            x = x + block.ffwd.net(block.ln2(x))
        return self.lm_head(self.ln_f(x))


def _tree(parameters: dict[str, Tensor]) -> nn.Module:
    """A module with parameters at these dotted names."""
    root = nn.Module()
    for name, tensor in parameters.items():
        *path, last = name.split(".")
        place = root
        for part in path:
            if not hasattr(place, part):
                place.add_module(part, nn.Module())
            place = getattr(place, part)
        place.register_parameter(last, nn.Parameter(tensor))
    return root


class Grokking(nn.Module):
    """The forms of the modular-addition notebooks: transposed, W_O in one piece, no norms.

    It reads `p + 1` tokens and, with `written`, writes fewer.
    """

    def __init__(self, *, p: int = 7, d: int = 8, heads: int = 2, written: int | None = None):
        super().__init__()
        e, m = d // heads, 4 * d
        shapes = {
            "embed.W_E": (d, p + 1),
            "pos_embed.W_pos": (3, d),
            **{f"blocks.0.attn.W_{s}": (heads, e, d) for s in "QKV"},
            "blocks.0.attn.W_O": (d, heads * e),
            "blocks.0.mlp.W_in": (m, d),
            "blocks.0.mlp.b_in": (m,),
            "blocks.0.mlp.W_out": (d, m),
            "blocks.0.mlp.b_out": (d,),
            "unembed.W_U": (d, written or p + 1),
        }
        self.m: Any = _tree({name: torch.zeros(shape) for name, shape in shapes.items()})
        self.m.blocks.get_submodule("0.attn").register_buffer("mask", torch.ones(3, 3).tril())

    def forward(self, tokens: Tensor) -> Tensor:
        w = dict(self.m.named_parameters())
        x = w["embed.W_E"].T[tokens] + w["pos_embed.W_pos"][: tokens.shape[1]]
        q, k, v = (
            torch.einsum("ihd,bpd->biph", w[f"blocks.0.attn.W_{s}"], x) for s in ("Q", "K", "V")
        )
        z = attend(q, k, v, q.shape[-1] ** -0.5)
        x = x + z.transpose(1, 2).flatten(2) @ w["blocks.0.attn.W_O"].T
        hidden = torch.relu(x @ w["blocks.0.mlp.W_in"].T + w["blocks.0.mlp.b_in"])
        x = x + hidden @ w["blocks.0.mlp.W_out"].T + w["blocks.0.mlp.b_out"]
        return x @ w["unembed.W_U"]


class Hooked(nn.Module):
    """TransformerLens's names: a matrix per head, norms that may have weights, rotary, gates.

    `transposed` swaps every matrix, as EasyTransformer stored them. `rotary` dimensions of each
    head are rotated, i with i + rotary/2. Key/value heads are repeated for `heads // kv` queries.
    """

    def __init__(
        self,
        *,
        norm: str | None = "LN",
        attn_only: bool = False,
        rotary: int | None = None,
        gated: bool = False,
        kv: int = 2,
        vocab_out: int = 11,
        scale: float | None = None,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        d, e, m, heads, vocab, ctx = 8, 6, 12, 2, 11, 14
        self.norm, self.rotary, self.attn_only = norm, rotary, attn_only
        self.scale, self.transposed, self.ctx = scale or math.sqrt(e), transposed, ctx
        parts = {"LN": "wb", "RMS": "w"}.get(norm or "", "")
        shapes: dict[str, tuple[int, ...]] = {"embed.W_E": (vocab, d)}
        if not rotary:
            shapes["pos_embed.W_pos"] = (ctx, d)
        for n in range(2):
            b = f"blocks.{n}"
            raw = "" if kv == heads else "_"
            shapes |= {f"{b}.ln1.{part}": (d,) for part in parts}
            for slot, count, mark in (("Q", heads, ""), ("K", kv, raw), ("V", kv, raw)):
                shapes[f"{b}.attn.{mark}W_{slot}"] = (count, d, e)
                shapes[f"{b}.attn.{mark}b_{slot}"] = (count, e)
            shapes |= {f"{b}.attn.W_O": (heads, e, d), f"{b}.attn.b_O": (d,)}
            if not attn_only:
                shapes |= {f"{b}.ln2.{part}": (d,) for part in parts}
                shapes |= {f"{b}.mlp.W_in": (d, m), f"{b}.mlp.W_out": (m, d)}
                if gated:
                    shapes[f"{b}.mlp.W_gate"] = (d, m)
                else:
                    shapes |= {f"{b}.mlp.b_in": (m,), f"{b}.mlp.b_out": (d,)}
        shapes |= {f"ln_final.{part}": (d,) for part in parts}
        shapes |= {"unembed.W_U": (d, vocab_out), "unembed.b_U": (vocab_out,)}
        if transposed:
            shapes = {n: s if ".b_" in n else (*s[:-2], *s[:-3:-1]) for n, s in shapes.items()}
        self.m: Any = _tree({name: torch.zeros(shape) for name, shape in shapes.items()})
        for n in range(2):
            attn = self.m.blocks.get_submodule(f"{n}.attn")
            attn.register_buffer("mask", torch.ones(ctx, ctx, dtype=torch.bool).tril())
            attn.register_buffer("IGNORE", torch.tensor(-1e5))

    def forward(self, tokens: Tensor) -> Tensor:
        w: dict[str, Tensor] = {name.replace("._", "."): t for name, t in self.m.named_parameters()}
        if self.transposed:
            w = {n: t if ".b_" in n or t.dim() < 2 else t.mT for n, t in w.items()}
        x = w["embed.W_E"][tokens]
        if not self.rotary:
            x = x + w["pos_embed.W_pos"][: tokens.shape[1]]
        for n in range(2):
            block = {k.split(".", 2)[2]: t for k, t in w.items() if k.startswith(f"blocks.{n}.")}
            y = self._normalize(x, block, "ln1")
            q, k, v = (
                torch.einsum("bpd,hde->bhpe", y, block[f"attn.W_{s}"])
                + block[f"attn.b_{s}"][:, None]
                for s in "QKV"
            )
            if self.rotary:
                q, k = self._rotate(q), self._rotate(k)
            k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
            z = attend(q, k, v, 1 / self.scale)
            x = x + torch.einsum("bhpe,hed->bpd", z, block["attn.W_O"]) + block["attn.b_O"]
            if not self.attn_only:
                y = self._normalize(x, block, "ln2")
                if "mlp.W_gate" in block:
                    hidden = F.silu(y @ block["mlp.W_gate"]) * (y @ block["mlp.W_in"])
                    x = x + hidden @ block["mlp.W_out"]
                else:
                    hidden = F.gelu(y @ block["mlp.W_in"] + block["mlp.b_in"], approximate="tanh")
                    x = x + hidden @ block["mlp.W_out"] + block["mlp.b_out"]
        return self._normalize(x, w, "ln_final") @ w["unembed.W_U"] + w["unembed.b_U"]

    def _normalize(self, x: Tensor, w: Mapping[str, Tensor], name: str) -> Tensor:
        if self.norm is None:
            return x
        if self.norm in ("LN", "LNPre"):
            x = x - x.mean(-1, keepdim=True)
        x = x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        x = x * w.get(f"{name}.w", 1.0)
        return x + w.get(f"{name}.b", 0.0)

    def _rotate(self, x: Tensor) -> Tensor:
        n = self.rotary or 0
        angles = torch.outer(
            torch.arange(x.shape[-2]).double(), 10000.0 ** (-torch.arange(0, n, 2).double() / n)
        )
        a, b, rest = x[..., : n // 2], x[..., n // 2 : n], x[..., n:]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)


def rotary_tables(
    layers: int, ctx: int, n: int, *, base: float = 10000.0, adjacent: bool = False
) -> dict[str, Tensor]:
    """The buffers of TransformerLens: dimension i is rotated with i + n/2, or 2i with 2i + 1."""
    out = {}
    for name, function in (("sin", math.sin), ("cos", math.cos)):
        table = torch.zeros(ctx, n)
        for position in range(ctx):
            for i in range(n // 2):
                value = function(position * base ** (-2 * i / n))
                for dimension in (2 * i, 2 * i + 1) if adjacent else (i, i + n // 2):
                    table[position, dimension] = value
        out |= {f"blocks.{layer}.attn.rotary_{name}": table for layer in range(layers)}
    return out
