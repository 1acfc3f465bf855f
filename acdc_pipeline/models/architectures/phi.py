"""Microsoft's Phi-1, Phi-2, Phi-3 and Phi-3.5 MoE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.models.architectures.base import Architecture
from acdc_pipeline.models.architectures.layout import ModuleArchitecture
from acdc_pipeline.models.architectures.llama import WindowInConfig


class Phi(Architecture):
    """Parallel blocks with biases everywhere; rotary positions on part of a head."""

    class_name = "PhiForCausalLM"
    title = "Phi-1 and Phi-2"

    def is_parallel(self, config: Mapping[str, Any]) -> bool:
        return True

    def variant(self, config: Mapping[str, Any]) -> Architecture:
        # TransformerLens omits its norms of queries and keys.
        return PhiWithNorms() if config.get("qk_layernorm") else self


class PhiWithNorms(ModuleArchitecture):
    """Phi with or without LayerNorms of queries and keys, by its modules."""

    class_name = "PhiForCausalLM"
    title = "Phi-1 and Phi-2"
    final_norm = "model.final_layernorm"
    mlp_norm = ""
    o = "dense"
    q_norm = "q_layernorm"
    k_norm = "k_layernorm"
    up = "fc1"
    down = "fc2"

    def is_parallel(self, config: Mapping[str, Any]) -> bool:
        return True


class Phi3(WindowInConfig):
    """Llama with fused projections and a window."""

    class_name = "Phi3ForCausalLM"
    title = "Phi-3"


class Phimoe(ModuleArchitecture):
    """LayerNorms with biases; a mixture in each layer."""

    class_name = "PhimoeForCausalLM"
    aliases = ("PhiMoEForCausalLM",)
    title = "Phi-3.5 MoE"
    window_from = "config"

    def find_refusal(self, config: Mapping[str, Any]) -> str | None:
        rotary = config.get("rope_parameters") or config.get("rope_scaling") or {}
        kind = rotary.get("rope_type") or rotary.get("type") or "default"
        if kind not in ("default", "longrope"):
            return f"its rotary positions change with the length of a prompt (rope_type: {kind})"
        return super().find_refusal(config)


ARCHITECTURES = (Phi, Phi3, Phimoe)
