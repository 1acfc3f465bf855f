"""Microsoft's Phi-1, Phi-2 and Phi-3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.models.architectures.base import Architecture, RefusedValue
from acdc_pipeline.models.architectures.llama import WindowInConfig


class Phi(Architecture):
    """Parallel blocks with biases everywhere; rotary positions on part of a head."""

    class_name = "PhiForCausalLM"
    title = "Phi-1 and Phi-2"
    refused_values = (
        RefusedValue("qk_layernorm", True, "TransformerLens omits its norms of queries and keys"),
    )

    def is_parallel(self, config: Mapping[str, Any]) -> bool:
        return True


class Phi3(WindowInConfig):
    """Llama with fused projections and a window."""

    class_name = "Phi3ForCausalLM"
    title = "Phi-3"


ARCHITECTURES = (Phi, Phi3)
