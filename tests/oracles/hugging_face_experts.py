"""Brute force on the Hugging Face model where the experts of its mixtures are nodes.

As in `hugging_face_patching`, every receiver has a copy of each prompt: so do the router, each
expert, and what a mixture adds to its experts. Where the mixture calls its experts, all copies get
the choice and the weights of the router's copy, with a weight of 0 for every expert that a copy is
not of. What the experts then write in the copy of expert e is what e alone writes, and what the
mixture writes in the last copy is what it adds to them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from tests.oracles.edge_gates import Added
from tests.oracles.hugging_face_parts import LayerParts
from tests.oracles.hugging_face_patching import HuggingFacePatching, Run, change_output
from tests.oracles.plain_acdc import Visit, sources_of_layers


def experts_of(layer: LayerParts) -> nn.Module | None:
    """The experts of the mixture of a layer; None for a dense layer."""
    found = [
        module
        for writer, part in layer.writes
        if part == "m"
        for name, module in writer.named_modules()
        if name.split(".")[-1] == "experts"
    ]
    return found[0] if found else None


class ExpertPatching(HuggingFacePatching):
    """Logits of circuits at the last position, experts being nodes.

    Args:
        n_experts: of every mixture.
        shared: whether mixtures add anything to their experts.
        factor: what mixtures multiply the sum of their experts by.
    """

    def __init__(
        self, *args: Any, n_experts: int, shared: bool, factor: float = 1.0, **more: Any
    ) -> None:
        self.n_experts, self.shared, self.factor = n_experts, shared, factor
        super().__init__(*args, **more)

    def _new_run(
        self, removed: Sequence[Collection[str]], n_prompts: int, gates: Added | None
    ) -> Run:
        return _ExpertRun(self, removed, n_prompts, gates)

    def mlp_nodes(self, layer: int) -> list[str]:
        """The sources of the MLP of a layer, first to last."""
        if experts_of(self.layers[layer]) is None:
            return [f"m{layer}"]
        names = [f"m{layer}.e{e}" for e in range(self.n_experts)]
        return names + [f"m{layer}.shared"] * self.shared

    def visits(self) -> list[Visit]:
        """Every receiver from the output backwards, with its writers and its sources."""
        return sources_of_layers(self.steps, self.n_heads, self.mlp_nodes)


class _ExpertRun(Run):
    patching: ExpertPatching

    @property
    def n_copies(self) -> int:
        return super().n_copies + self.patching.n_experts + 2

    def copies_of_mixture(self) -> tuple[int, list[int], int]:
        """The copies of the router, of each expert, and of the rest."""
        first = super().n_copies
        n_experts = self.patching.n_experts
        return first, list(range(first + 1, first + 1 + n_experts)), first + 1 + n_experts

    def receivers_of(self, part: str, layer: LayerParts) -> list[tuple[str, int]]:
        if part != "m" or experts_of(layer) is None:
            return super().receivers_of(part, layer)
        router, experts, rest = self.copies_of_mixture()
        name = f"m{layer.index}"
        of_experts = [(f"{name}.e{e}", copy) for e, copy in enumerate(experts)]
        return [(f"{name}.router", router), *of_experts, (f"{name}.shared", rest)]

    def _keep_written(
        self, stack: ExitStack, module: nn.Module, part: str, layer: LayerParts
    ) -> None:
        experts = experts_of(layer)
        if part != "m" or experts is None:
            super()._keep_written(stack, module, part, layer)
            return
        name, scale = f"m{layer.index}", self.patching.write_scales[layer.index]["m"]
        alone: list[Tensor] = []
        if any(one is experts for one in module.modules()):
            stack.callback(_change_routing(experts, self._route).remove)
            stack.callback(change_output(experts, lambda _, out: self._keep(out, alone)).remove)

        def write(_: Tensor, out: Tensor) -> Tensor:
            rest = self.unfold(out)[:, self.copies_of_mixture()[2]]
            for e, written in enumerate(alone):
                self.written[f"{name}.e{e}"] = scale * written.view_as(rest)
            if self.patching.shared:
                before = self.written.get(f"{name}.shared", 0.0)
                self.written[f"{name}.shared"] = before + scale * rest
            total = sum((written.view_as(rest) for written in alone), rest)
            alone.clear()
            return self.spread(total).reshape(out.shape)

        stack.callback(change_output(module, write).remove)

    def _route(self, index: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        router, experts, _ = self.copies_of_mixture()
        chosen, routed = (self.unfold(part)[:, router] for part in (index, weights))
        masked = [torch.zeros_like(routed)] * self.n_copies
        for e, copy in enumerate(experts):
            masked[copy] = routed * (chosen == e)
        spread = self.spread(chosen).reshape(index.shape)
        return spread, torch.stack(masked, 1).reshape(weights.shape)

    def _keep(self, out: Tensor, alone: list[Tensor]) -> Tensor:
        rows = self.unfold(out)
        alone.extend(self.patching.factor * rows[:, copy] for copy in self.copies_of_mixture()[1])
        return out


def _change_routing(experts: nn.Module, change: Any) -> Any:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x, index, weights = (*args, *kwargs.values())
        return (x, *change(index, weights)), {}

    return experts.register_forward_pre_hook(hook, with_kwargs=True)
