"""Edge patching of attention-only models, written out head by head and position by position.

It reads the tensors of a TransformerLens-format directory itself; the bridge has no per-head
input hooks for these models.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor


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
            self.ablated = {n: o.mean(0, keepdim=True) for n, o in self.ablated.items()}
        self.model_logprobs = self.run(clean, set())[0]

    def kl(self, removed: set[str]) -> float:
        """Mean over prompts, in nats."""
        circuit = self.run(self.clean, removed)[0]
        per_prompt = (self.model_logprobs.exp() * (self.model_logprobs - circuit)).sum(-1)
        return float(per_prompt.mean())

    def run(self, tokens: Tensor, removed: set[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Log-probabilities at the last position, and what every source wrote."""
        pos = tokens.shape[1]
        embedded = self.w["embed.W_E"][tokens] + self.w["pos_embed.W_pos"][:pos]
        written = {"input": embedded}
        constant = torch.zeros_like(embedded)
        for layer in range(self.config["n_layers"]):
            heads = {
                f"a{layer}.h{h}": self.head(layer, h, written, constant, removed)
                for h in range(self.config["n_heads"])
            }
            written.update(heads)
            constant = constant + self.w[f"blocks.{layer}.attn.b_O"]
        final = self.norm(self.received("logits", written, constant, removed), "ln_final")
        logits = final[:, -1] @ self.w["unembed.W_U"] + self.w["unembed.b_U"]
        return logits.log_softmax(-1), written

    def received(
        self, receiver: str, written: dict[str, Tensor], constant: Tensor, removed: set[str]
    ) -> Tensor:
        total = constant
        for source, out in written.items():
            gone = f"{source}->{receiver}" in removed
            total = total + (self.ablated[source] if gone else out)
        return total

    def head(
        self,
        layer: int,
        h: int,
        written: dict[str, Tensor],
        constant: Tensor,
        removed: set[str],
    ) -> Tensor:
        block = f"blocks.{layer}"
        rows = {}
        for slot in "qkv":
            x = self.received(f"a{layer}.h{h}<{slot}>", written, constant, removed)
            x = self.norm(x, f"{block}.ln1")
            weight = self.w[f"{block}.attn.W_{slot.upper()}"][h]
            rows[slot] = x @ weight + self.w[f"{block}.attn.b_{slot.upper()}"][h]
        batch, pos, d_head = rows["q"].shape
        z = torch.zeros(batch, pos, d_head, dtype=torch.float64)
        for query in range(pos):
            scores = torch.stack(
                [
                    (rows["q"][:, query] * rows["k"][:, key]).sum(-1) / math.sqrt(d_head)
                    for key in range(query + 1)
                ],
                dim=-1,
            )
            weights = scores.softmax(-1)
            for key in range(query + 1):
                z[:, query] += weights[:, key, None] * rows["v"][:, key]
        return z @ self.w[f"{block}.attn.W_O"][h]

    def norm(self, x: Tensor, name: str) -> Tensor:
        if self.config["normalization_type"] is None:
            return x
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + self.config["eps"]).sqrt()
        return scaled * self.w[f"{name}.w"] + self.w[f"{name}.b"]
