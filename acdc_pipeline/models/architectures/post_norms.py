"""Decoders with norms after attention and MLP: EXAONE 4, HyperCLOVA X."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.models.architectures.gemma import BIAS_BEFORE_NORM
from acdc_pipeline.models.architectures.layout import ModuleArchitecture, RotatesInWindows


class Exaone4(RotatesInWindows):
    """No norms before attention and MLP; layers without a window have no positions."""

    class_name = "Exaone4ForCausalLM"
    title = "EXAONE 4"
    attn_norm = ""
    mlp_norm = ""
    post_attn = "post_attention_layernorm"
    post_mlp = "post_feedforward_layernorm"


class HyperClovaX(ModuleArchitecture):
    """Constant factors on embeddings, outputs and logits; norms after attention and MLP."""

    class_name = "HyperCLOVAXForCausalLM"
    title = "HyperCLOVA X"
    post_attn = "post_norm1"
    post_mlp = "post_norm2"

    def find_refusal(self, config: Mapping[str, Any]) -> str | None:
        if config.get("use_post_norm", True) and config.get("attention_bias"):
            return f"{BIAS_BEFORE_NORM.reason} (attention_bias: true)"
        return super().find_refusal(config)

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return float(bridge.config.embedding_multiplier) * weight

    def output_scale(self, config: Any) -> float:
        return float(config.residual_multiplier)

    def logit_scale(self, config: Any) -> float:
        return float(config.logits_scaling)


ARCHITECTURES = (Exaone4, HyperClovaX)
