"""Edge patching of Hugging Face models, written out head by head from their saved tensors.

For architectures where the bridge's hooks are missing (GPT-Neo, OPT, attention and MLP behind one
norm) or wrong (a norm after the attention). A forward per question, nothing cached, nothing shared
with the engine: it reads `config.json` and `model.safetensors` itself.

A norm after the attention scales what all heads of a layer write by one number, so a head's output
is its own part of the normalised sum: w * r_h / rms(r_1 + r_2 + ...), and moves with every head.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from tests.oracles.families import FAMILIES, Family


class HandWritten:
    """KL(model ‖ circuit) at the last position, for any set of removed edges."""

    def __init__(self, directory: Path, clean: Tensor, corrupted: Tensor, ablation: str) -> None:
        self.config: dict[str, Any] = json.loads((directory / "config.json").read_text())
        self.family: Family = FAMILIES[self.config["architectures"][0]]
        tensors = load_file(directory / "model.safetensors")
        doubles = {name: tensor.double() for name, tensor in tensors.items()}
        self.w = self.family.prepare(doubles, self.config)
        self.shape = self.family.shape(self.config)
        self.clean = clean
        self.ablated: dict[str, Tensor] = {}
        self.ablated = self.run(corrupted, set())[1]
        if ablation == "zero":
            self.ablated = {name: torch.zeros_like(out) for name, out in self.ablated.items()}
        if ablation == "mean":
            self.ablated = {n: o.mean(0, keepdim=True) for n, o in self.ablated.items()}
        self.model_logits = self.run(clean, set())[0]

    def kl(self, removed: set[str]) -> float:
        """Mean over prompts, in nats."""
        model = self.model_logits[:, -1].log_softmax(-1)
        circuit = self.run(self.clean, removed)[0][:, -1].log_softmax(-1)
        return float((model.exp() * (model - circuit)).sum(-1).mean())

    def run(self, tokens: Tensor, removed: set[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits, and what every source wrote."""
        names = self.family
        embedded = self.w[names.embed][tokens] * names.embed_scale(self.config)
        if names.positions is not None:
            first = names.first_position
            embedded = embedded + self.w[names.positions][first : first + tokens.shape[1]]
        written = {"input": embedded}
        for layer in range(self.shape.layers):
            before = dict(written)
            written.update(self.heads(layer, before, removed))
            reads = before if self.shape.parallel else written
            constant = self.attention_biases(layer + (0 if self.shape.parallel else 1))
            x = self.received(f"m{layer}", reads, constant, removed)
            x = self.norm(x, self.tensor_name(names.norm_mlp, layer))
            out = self.mlp(layer, x)
            written[f"m{layer}"] = self.norm(out, self.tensor_name(names.post_mlp, layer))
        constant = self.attention_biases(self.shape.layers)
        final = self.norm(self.received("logits", written, constant, removed), names.final)
        logits = final @ self.w.get(names.unembed, self.w[names.embed]).T
        logits = logits + self.w.get(names.unembed.replace("weight", "bias"), torch.zeros(1))
        return self.family.finish(logits, self.config), written

    def heads(self, layer: int, before: dict[str, Tensor], removed: set[str]) -> dict[str, Tensor]:
        """What each head of a layer writes."""
        group = self.shape.heads // self.shape.kv_heads
        constant = self.attention_biases(layer)
        projected: dict[str, list[Tensor]] = {"q": [], "k": [], "v": []}
        for h in range(self.shape.heads):
            for slot in "qkv":
                x = self.received(f"a{layer}.h{h}<{slot}>", before, constant, removed)
                x = self.norm(x, self.tensor_name(self.family.norm_attn, layer))
                row = h if slot == "q" else h // group
                rows = slice(row * self.shape.d_head, (row + 1) * self.shape.d_head)
                name = self.tensor_name(self.family.slots[slot], layer)
                bias = self.w.get(name.replace("weight", "bias"))
                out = x @ self.w[name][rows].T
                projected[slot].append(out if bias is None else out + bias[rows])
        raw = []
        q = self.rotated(layer, self.head_norm(layer, "q", projected["q"], 1))
        k = self.rotated(layer, self.head_norm(layer, "k", projected["k"], group))
        w_o = self.w[self.tensor_name(self.family.o, layer)]
        for h in range(self.shape.heads):
            scores = self.family.score(q[h] @ k[h].transpose(1, 2), self.config, self.shape.d_head)
            pattern = scores.masked_fill(~self.visible(layer, scores.shape[-1]), -torch.inf)
            rows = slice(h * self.shape.d_head, (h + 1) * self.shape.d_head)
            raw.append(pattern.softmax(-1) @ projected["v"][h] @ w_o[:, rows].T)
        post = self.tensor_name(self.family.post_attn, layer)
        if post is not None:
            total = torch.stack(raw).sum(0)
            rms = (total.pow(2).mean(-1, keepdim=True) + self.shape.eps).sqrt()
            raw = [(self.family.offset + self.w[post]) * r / rms for r in raw]
        return {f"a{layer}.h{h}": out for h, out in enumerate(raw)}

    def received(
        self, receiver: str, written: dict[str, Tensor], constant: Tensor, removed: set[str]
    ) -> Tensor:
        total = constant
        for source, out in written.items():
            total = total + (self.ablated[source] if f"{source}->{receiver}" in removed else out)
        return total

    def attention_biases(self, layers: int) -> Tensor:
        """The constants that attention outputs have put into the stream by then."""
        total = torch.zeros(1, dtype=torch.float64)
        for layer in range(layers):
            name = self.tensor_name(self.family.o, layer).replace("weight", "bias")
            if name in self.w:
                total = total + self.w[name]
        return total

    def head_norm(self, layer: int, slot: str, rows: list[Tensor], group: int) -> list[Tensor]:
        """Queries or keys normalised, as the family does it."""
        pattern = self.family.head_norm
        if pattern is None:
            return rows
        prefix = pattern.format(layer, slot)
        if self.family.norms_span_layer:
            total = torch.stack([row.pow(2).mean(-1, keepdim=True) for row in rows]).mean(0)
            weight = self.w[f"{prefix}.weight"].view(-1, self.shape.d_head)
            scale = (total + self.shape.eps).sqrt()
            return [weight[h // group] * row / scale for h, row in enumerate(rows)]
        out = []
        for h, row in enumerate(rows):
            own = f"{prefix}.norms.{h // group}.weight"
            weight = self.w.get(own, self.w.get(f"{prefix}.weight"))
            if weight is None:
                return rows
            weight = weight[h // group] if weight.dim() == 2 else weight
            out.append(self.plain_norm(row) * (self.family.offset + weight))
        return out

    def rotated(self, layer: int, rows: list[Tensor]) -> list[Tensor]:
        width, frequencies = self.family.frequencies(self.config, self.shape.d_head, layer)
        angles = torch.arange(rows[0].shape[1]).float()[:, None] * frequencies
        cos, sin = angles.cos().double(), angles.sin().double()
        out = []
        for row in rows:
            turned = row.clone()
            for i in range(width // 2):
                a, b = (2 * i, 2 * i + 1) if self.family.adjacent else (i, i + width // 2)
                turned[..., a] = row[..., a] * cos[:, i] - row[..., b] * sin[:, i]
                turned[..., b] = row[..., b] * cos[:, i] + row[..., a] * sin[:, i]
            out.append(turned)
        return out

    def visible(self, layer: int, pos: int) -> Tensor:
        window = self.family.window(self.config, layer)
        back = torch.arange(pos)[:, None] - torch.arange(pos)
        return (back >= 0) & (back < (window or pos))

    def mlp(self, layer: int, x: Tensor) -> Tensor:
        def linear(name: str, rows: Tensor) -> Tensor:
            bias = self.w.get(f"{name}.bias")
            out = rows @ self.w[f"{name}.weight"].T
            return out if bias is None else out + bias

        up, down = self.family.up.format(layer), self.family.down.format(layer)
        if self.family.gate is None:
            return linear(down, self.family.activation(linear(up, x)))
        gate = linear(self.family.gate.format(layer), x)
        return linear(down, self.family.activation(gate) * linear(up, x))

    def tensor_name(self, pattern: str | None, layer: int) -> Any:
        return None if pattern is None else pattern.format(layer)

    def norm(self, x: Tensor, name: str | None) -> Tensor:
        if name is None:
            return x
        scaled = self.plain_norm(x) * (self.family.offset + self.w[name])
        bias = self.w.get(name.replace("weight", "bias"))
        return scaled if bias is None else scaled + bias

    def plain_norm(self, x: Tensor) -> Tensor:
        if self.family.rms:
            return x / (x.pow(2).mean(-1, keepdim=True) + self.shape.eps).sqrt()
        return functional.layer_norm(x, x.shape[-1:], eps=self.shape.eps)
