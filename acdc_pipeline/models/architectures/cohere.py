"""Command A and other later models of Cohere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.models.architectures.layout import ModuleArchitecture


class Cohere2(ModuleArchitecture):
    """Parallel blocks with one LayerNorm; layers without a window have no positions."""

    class_name = "Cohere2ForCausalLM"
    title = "Cohere 2 (Command R7B, Command A)"
    rotary_pairs = "adjacent"
    layer_norm_modules = frozenset({"Cohere2LayerNorm"})
    mlp_norm = ""

    def is_parallel(self, config: Mapping[str, Any]) -> bool:
        return True

    def logit_scale(self, config: Any) -> float:
        return 1.0 if config.logit_scale is None else float(config.logit_scale)

    def rotates(self, attention: Any) -> bool:
        return attention.sliding_window is not None


class CohereCompass(Cohere2):
    """The text part of Cohere Compass; kinds of layers have positions of their own, or none."""

    class_name = "CohereCompassForCausalLM"
    title = "Cohere Compass (text)"
    rotary_pairs = "halves"
    layer_norm_modules = frozenset({"CohereCompassLayerNorm"})

    def rotates(self, attention: Any) -> bool:
        config = attention.config
        return config.rope_parameters[config.layer_types[attention.layer_idx]] is not None


class Cohere2Moe(Cohere2):
    """Cohere 2 with mixtures after the first layers, and LayerNorms or RMS norms."""

    class_name = "Cohere2MoeForCausalLM"
    title = "Cohere 2 MoE"
    layer_norm_modules = frozenset({"Cohere2MoeLayerNorm"})

    def rotates(self, attention: Any) -> bool:
        return bool(attention.sliding_window is not None or attention.force_rope)


ARCHITECTURES = (Cohere2, CohereCompass, Cohere2Moe)
