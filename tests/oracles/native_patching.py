"""Edge patching of TransformerLens-native models, written out head by head.

It reads the tensors of a TransformerLens-format directory itself; the bridge has no per-head
input hooks for these models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional


class NativePatching:
    """KL(model ‖ circuit) at the last position, for any set of removed edges."""

    def __init__(self, directory: Path, clean: Tensor, corrupted: Tensor, ablation: str) -> None:
        self.config = json.loads((directory / "config.json").read_text())
        tensors = load_file(directory / "model.safetensors")
        self.w = {name: tensor.double() for name, tensor in tensors.items()}
        self.clean = clean
        self.ablated: dict[str, Tensor] = {}
        self.ablated = self.run(corrupted, set())[1]
        if ablation == "zero":
            self.ablated = {name: torch.zeros_like(out) for name, out in self.ablated.items()}
        if ablation == "mean":
            self.ablated = {n: o.mean(0).expand_as(o) for n, o in self.ablated.items()}
        self.model_logprobs = self.run(clean, set())[0]

    def kl(self, removed: set[str]) -> float:
        """Mean over prompts, in nats."""
        return self.kl_of_all([removed])[0]

    def kl_of_all(self, removed: Sequence[Collection[str]]) -> list[float]:
        """Mean over prompts, in nats, for each set of removed edges."""
        circuits = self.run_all(self.clean, removed)[0]
        whole = self.model_logprobs
        return (whole.exp() * (whole - circuits)).sum(-1).mean(-1).tolist()

    def run(self, tokens: Tensor, removed: Collection[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Log-probabilities at the last position, and what every source wrote."""
        logprobs, written = self.run_all(tokens, [removed])
        return logprobs[0], {name: out[0] for name, out in written.items()}

    def run_all(
        self, tokens: Tensor, removed: Sequence[Collection[str]]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `run`, of circuits that do not meet: they are the first dimension."""
        embedded = self.w["embed.W_E"][tokens]
        if "pos_embed.W_pos" in self.w:
            embedded = embedded + self.w["pos_embed.W_pos"][: tokens.shape[1]]
        embedded = embedded.expand(len(removed), *embedded.shape)
        written = {"input": embedded}
        constant = torch.zeros_like(embedded)
        for layer in range(self.config["n_layers"]):
            heads = {
                f"a{layer}.h{h}": self.head(layer, h, written, constant, removed)
                for h in range(self.config["n_heads"])
            }
            written.update(heads)
            constant = constant + self.w[f"blocks.{layer}.attn.b_O"]
            if not self.config["attn_only"]:
                x = self.received(f"m{layer}", written, constant, removed)
                written[f"m{layer}"] = self.mlp(layer, self.norm(x, f"blocks.{layer}.ln2"))
        final = self.norm(self.received("logits", written, constant, removed), "ln_final")
        logits = final[..., -1, :] @ self.w["unembed.W_U"] + self.w["unembed.b_U"]
        return self.capped(logits, "output_logits_soft_cap").log_softmax(-1), written

    def received(
        self,
        receiver: str,
        written: dict[str, Tensor],
        constant: Tensor,
        removed: Sequence[Collection[str]],
    ) -> Tensor:
        read = [
            self.ablated_where(f"{source}->{receiver}", source, out, removed)
            for source, out in written.items()
        ]
        return constant + torch.stack(read).sum(0)

    def ablated_where(
        self, edge: str, source: str, out: Tensor, removed: Sequence[Collection[str]]
    ) -> Tensor:
        gone = torch.tensor([edge in each for each in removed])
        if not gone.any():
            return out
        return torch.where(gone[:, None, None, None], self.ablated[source], out)

    def head(
        self,
        layer: int,
        h: int,
        written: dict[str, Tensor],
        constant: Tensor,
        removed: Sequence[Collection[str]],
    ) -> Tensor:
        block = f"blocks.{layer}"
        rows = {}
        for slot in "qkv":
            x = self.received(f"a{layer}.h{h}<{slot}>", written, constant, removed)
            x = self.norm(x, f"{block}.ln1")
            weights = self.w[f"{block}.attn.W_{slot.upper()}"]
            row = h * len(weights) // self.config["n_heads"]
            rows[slot] = x @ weights[row] + self.w[f"{block}.attn.b_{slot.upper()}"][row]
        q, k = self.rotated(rows["q"]), self.rotated(rows["k"])
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        scores = self.capped(scores, "attn_scores_soft_cap")
        if self.config.get("attention_dir") != "bidirectional":
            ahead = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(ahead, -torch.inf)
        return scores.softmax(-1) @ rows["v"] @ self.w[f"{block}.attn.W_O"][h]

    def rotated(self, x: Tensor) -> Tensor:
        """Neighbouring dimensions turned by an angle that grows with the position."""
        if self.config["positional_embedding_type"] != "rotary":
            return x
        width, base = self.config["rotary_dim"], float(self.config["rotary_base"])
        out = x.clone()
        for i in range(0, width, 2):
            # The model keeps its table in float32.
            frequency = 1.0 / (base ** (torch.tensor(i).float() / width))
            angle = torch.arange(x.shape[-2]).float() * frequency
            cos, sin = angle.cos().double(), angle.sin().double()
            out[..., i] = x[..., i] * cos - x[..., i + 1] * sin
            out[..., i + 1] = x[..., i + 1] * cos + x[..., i] * sin
        return out

    def mlp(self, layer: int, x: Tensor) -> Tensor:
        name = f"blocks.{layer}.mlp"
        act = {"relu": functional.relu, "gelu": functional.gelu, "silu": functional.silu}[
            self.config["act_fn"]
        ]
        if f"{name}.W_gate" in self.w:
            hidden = act(x @ self.w[f"{name}.W_gate"]) * (x @ self.w[f"{name}.W_in"])
            return hidden @ self.w[f"{name}.W_out"]
        hidden = act(x @ self.w[f"{name}.W_in"] + self.w[f"{name}.b_in"])
        return hidden @ self.w[f"{name}.W_out"] + self.w[f"{name}.b_out"]

    def capped(self, x: Tensor, field: str) -> Tensor:
        cap = self.config.get(field)
        return x if cap is None else cap * (x / cap).tanh()

    def norm(self, x: Tensor, name: str) -> Tensor:
        kind = self.config["normalization_type"]
        if kind is None:
            return x
        if kind.startswith("LN"):
            x = x - x.mean(-1, keepdim=True)
        scaled = x / (x.pow(2).mean(-1, keepdim=True) + self.config["eps"]).sqrt()
        scaled = scaled * self.w.get(f"{name}.w", torch.ones(1))
        return scaled + self.w.get(f"{name}.b", torch.zeros(1))
