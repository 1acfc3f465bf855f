"""Edge patching by driving the bridge's hooks: a full forward of the original model each time.

Grouped-query models are given to it ungrouped (every query head with its own copy of its key and
value head), since the bridge's hooks have one key input for a whole group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class BridgePatching:
    """KL(model ‖ circuit) at the last position, for any set of removed edges."""

    def __init__(self, bridge: Any, clean: Tensor, corrupted: Tensor, ablation: str) -> None:
        self.bridge = bridge
        self.clean = clean
        self.has_mlp = getattr(bridge.blocks[0], "mlp", None) is not None
        self.n_layers = len(bridge.blocks)
        bridge.set_use_attn_result(True)
        bridge.set_use_split_qkv_input(True)
        bridge.set_use_hook_mlp_in(True)
        self.ablated = self.outputs(corrupted)
        if ablation == "zero":
            self.ablated = {name: torch.zeros_like(out) for name, out in self.ablated.items()}
        if ablation == "mean":
            self.ablated = {n: o.mean(0, keepdim=True) for n, o in self.ablated.items()}
        self.model_logprobs = self.logprobs(set())

    def outputs(self, tokens: Tensor) -> dict[str, Tensor]:
        """What every source writes in an unpatched run."""
        written: dict[str, Tensor] = {}
        with torch.no_grad():
            self.bridge.run_with_hooks(tokens, fwd_hooks=self.readers(written))
        return written

    def readers(self, written: dict[str, Tensor]) -> list[tuple[str, Any]]:
        hooks: list[tuple[str, Any]] = []

        def keep_input(x: Tensor, hook: Any) -> None:
            written["input"] = x.clone()

        hooks.append(("blocks.0.hook_resid_pre", keep_input))
        for layer in range(self.n_layers):

            def keep_heads(x: Tensor, hook: Any, layer: int = layer) -> None:
                for h in range(x.shape[2]):
                    written[f"a{layer}.h{h}"] = x[:, :, h].clone()

            def keep_mlp(x: Tensor, hook: Any, layer: int = layer) -> None:
                written[f"m{layer}"] = x.clone()

            hooks.append((f"blocks.{layer}.attn.hook_result", keep_heads))
            if self.has_mlp:
                hooks.append((f"blocks.{layer}.hook_mlp_out", keep_mlp))
        return hooks

    def logprobs(self, removed: set[str]) -> Tensor:
        """Log-probabilities at the last position with the `removed` edges ablated."""
        into = defaultdict(list)
        for edge in removed:
            source, receiver = edge.split("->")
            into[receiver].append(source)
        written: dict[str, Tensor] = {}

        def patched(x: Tensor, receiver: str) -> Tensor:
            for source in into[receiver]:
                x = x - written[source] + self.ablated[source]
            return x

        hooks = [*self.readers(written), *self.receivers(patched)]
        with torch.no_grad():
            logits = self.bridge.run_with_hooks(self.clean, fwd_hooks=hooks)
        return logits[:, -1].log_softmax(-1)

    def receivers(self, read: Callable[[Tensor, str], Tensor]) -> list[tuple[str, Any]]:
        """Hooks that give every receiver what `read` makes of its input and its name."""
        hooks: list[tuple[str, Any]] = []
        for layer in range(self.n_layers):
            for slot in "qkv":

                def read_heads(
                    x: Tensor, hook: Any, layer: int = layer, slot: str = slot
                ) -> Tensor:
                    heads = range(x.shape[2])
                    return torch.stack(
                        [read(x[:, :, h], f"a{layer}.h{h}<{slot}>") for h in heads], dim=2
                    )

                hooks.append((f"blocks.{layer}.hook_{slot}_input", read_heads))
            if self.has_mlp:

                def read_mlp(x: Tensor, hook: Any, layer: int = layer) -> Tensor:
                    return read(x, f"m{layer}")

                hooks.append((f"blocks.{layer}.hook_mlp_in", read_mlp))

        def read_logits(x: Tensor, hook: Any) -> Tensor:
            return read(x, "logits")

        hooks.append(("ln_final.hook_in", read_logits))
        return hooks

    def kl(self, removed: set[str]) -> float:
        """Mean over prompts, in nats."""
        circuit = self.logprobs(removed)
        per_prompt = (self.model_logprobs.exp() * (self.model_logprobs - circuit)).sum(-1)
        return float(per_prompt.mean())
