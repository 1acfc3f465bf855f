"""Microsoft's Phi-1, Phi-2 and Phi-3."""

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
    """Phi with LayerNorms of queries and keys."""

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


ARCHITECTURES = (Phi, Phi3)
