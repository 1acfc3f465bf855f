"""Gemma 1, 2 and 3 (text), and VaultGemma."""

from __future__ import annotations

from typing import Any

from acdc_pipeline.models.architectures.base import Architecture, RefusedValue, positive_or_none
from acdc_pipeline.models.architectures.layout import ModuleArchitecture

BIAS_BEFORE_NORM = RefusedValue(
    "attention_bias",
    True,
    "the norm after the attention would scale a bias that belongs to no head",
)


class Gemma(Architecture):
    """Norms scale by 1 + weight, the embedding by the root of its width."""

    class_name = "GemmaForCausalLM"
    title = "Gemma"
    norm_offset = 1

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return weight * bridge.embed.original_component.embed_scale.to(weight.dtype)


class Gemma2(Gemma):
    """Norms after attention and MLP; soft caps on scores and logits; windows."""

    class_name = "Gemma2ForCausalLM"
    title = "Gemma 2"
    refused_values = (BIAS_BEFORE_NORM,)

    def logit_cap(self, config: Any) -> float | None:
        return positive_or_none(config.final_logit_softcapping)

    def score_cap(self, attention: Any) -> float | None:
        return positive_or_none(attention.attn_logit_softcapping)


class Gemma3(Gemma2):
    """Norms of queries and keys; a second rotary base in layers without a window."""

    class_name = "Gemma3ForCausalLM"
    title = "Gemma 3"
    refused_values = (
        BIAS_BEFORE_NORM,
        RefusedValue("use_bidirectional_attention", True, "it reads prompts from both sides"),
    )


class VaultGemma(ModuleArchitecture):
    """Gemma 2 without the norms after attention and MLP."""

    class_name = "VaultGemmaForCausalLM"
    title = "VaultGemma"
    norm_offset = 1
    mlp_norm = "pre_feedforward_layernorm"

    def logit_cap(self, config: Any) -> float | None:
        return positive_or_none(config.final_logit_softcapping)

    def score_cap(self, attention: Any) -> float | None:
        return positive_or_none(attention.attn_logit_softcapping)


ARCHITECTURES = (Gemma, Gemma2, Gemma3, VaultGemma)
