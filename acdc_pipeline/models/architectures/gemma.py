"""Gemma 1 to 4 (text), and VaultGemma."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from acdc_pipeline.models.architectures.base import Architecture, RefusedValue, positive_or_none
from acdc_pipeline.models.architectures.layout import ModuleArchitecture, StreamFactors

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


class Gemma4(ModuleArchitecture):
    """Norms of queries, keys and values; wider heads without a window; a factor on the stream."""

    class_name = "Gemma4ForCausalLM"
    title = "Gemma 4 (text)"
    refused_values = (
        BIAS_BEFORE_NORM,
        RefusedValue("use_bidirectional_attention", "all", "it reads prompts from both sides"),
    )
    mlp_norm = "pre_feedforward_layernorm"
    post_attn = "post_attention_layernorm"
    post_mlp = "post_feedforward_layernorm"
    v_norm = "v_norm"
    chosen_fields = ("top_k_experts",)

    def find_refusal(self, config: Mapping[str, Any]) -> str | None:
        if config.get("hidden_size_per_layer_input", self.layer_embeddings):
            return (
                "each of its layers reads the tokens themselves, through embeddings of its own "
                "(hidden_size_per_layer_input)"
            )
        if config.get("num_kv_shared_layers"):
            return "its last layers read keys of other layers (num_kv_shared_layers)"
        return super().find_refusal(config)

    layer_embeddings: ClassVar[int] = 256
    """Width of the embeddings of each layer where config.json does not state it."""

    def logit_cap(self, config: Any) -> float | None:
        return positive_or_none(config.final_logit_softcapping)

    def slot_projections(self, attention: Any, config: Any) -> Mapping[str, tuple[Any, Any]] | None:
        if attention.v_proj is not None:
            return None
        # Values are the keys before their norm and rotation.
        modules = {"q": attention.q_proj, "k": attention.k_proj, "v": attention.k_proj}
        return {slot: (module.weight, module.bias) for slot, module in modules.items()}

    def stream_factors(self, layer: Any, config: Any) -> StreamFactors:
        scalar = float(layer.layer_scalar)
        return StreamFactors(before_mlp=scalar, mlp=scalar)

    def finish_block(self, block: Any, layer: Any, config: Any) -> Any:
        if not getattr(layer, "enable_moe_block", False):
            return block
        from acdc_pipeline.models.architectures.reading.composed import MlpAndExperts
        from acdc_pipeline.models.architectures.reading.mlps import read_token_module
        from acdc_pipeline.models.architectures.reading.norms import NO_NORM

        module = read_token_module(MlpAndExperts(layer), self, config)
        return replace(block, norm_mlp=NO_NORM, mlp=module)


class Gemma4Unified(Gemma4):
    """Gemma 4 without mixtures, for text among images and sound."""

    class_name = "Gemma4UnifiedForCausalLM"
    title = "Gemma 4 unified (text)"
    layer_embeddings = 0


ARCHITECTURES = (Gemma, Gemma2, Gemma3, VaultGemma, Gemma4, Gemma4Unified)
