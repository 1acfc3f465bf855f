"""Mixtures of experts in the layout of Llama; those of a maker's own layout are in its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.models.architectures.gemma import BIAS_BEFORE_NORM
from acdc_pipeline.models.architectures.layout import ModuleArchitecture, RotatesInWindows


class Mixtral(ModuleArchitecture):
    """Mistral with a mixture of experts in place of each MLP."""

    class_name = "MixtralForCausalLM"
    title = "Mixtral"
    window_from = "config"


class Qwen2Moe(ModuleArchitecture):
    """Qwen 2 with a mixture and a shared expert with a gate, in some layers."""

    class_name = "Qwen2MoeForCausalLM"
    title = "Qwen 2 MoE"


class Qwen3Moe(ModuleArchitecture):
    """Qwen 3 with a mixture in some layers."""

    class_name = "Qwen3MoeForCausalLM"
    title = "Qwen 3 MoE"


class Olmoe(ModuleArchitecture):
    """One norm across all queries or keys of a layer, which may be clipped after it."""

    class_name = "OlmoeForCausalLM"
    title = "OLMoE"
    head_norm_span = "layer"
    window_from = None


class FlexOlmo(ModuleArchitecture):
    """OLMo 2 with mixtures: norms after attention and mixture, and across queries or keys."""

    class_name = "FlexOlmoForCausalLM"
    title = "FlexOlmo"
    refused_values = (BIAS_BEFORE_NORM,)
    head_norm_span = "layer"
    attn_norm = ""
    mlp_norm = ""
    post_attn = "post_attention_layernorm"
    post_mlp = "post_feedforward_layernorm"


class Glm4Moe(ModuleArchitecture):
    """Rotation of a part of each head; mixtures and a shared expert after the first layers."""

    class_name = "Glm4MoeForCausalLM"
    title = "GLM-4.5"


class ErnieMoe(ModuleArchitecture):
    """Rotation of adjacent dimensions; mixtures and a shared expert in some layers."""

    class_name = "Ernie4_5_MoeForCausalLM"
    title = "ERNIE 4.5 MoE"
    rotary_pairs = "adjacent"


class HunYuanMoeV1(ModuleArchitecture):
    """Norms of queries and keys after their rotation; a shared expert."""

    class_name = "HunYuanMoEV1ForCausalLM"
    title = "Hunyuan MoE"
    q_norm = "query_layernorm"
    k_norm = "key_layernorm"
    norm_after_rotation = True


class Dots1(ModuleArchitecture):
    """Norms of queries and keys, windows in some layers; mixtures after the first layers."""

    class_name = "Dots1ForCausalLM"
    title = "dots.llm1"


class SolarOpen(ModuleArchitecture):
    """Mixtures with groups of experts, and a shared expert."""

    class_name = "SolarOpenForCausalLM"
    title = "Solar Open"


class MiniMaxM2(ModuleArchitecture):
    """One norm across all queries or keys of a layer; rotation of a part of each head."""

    class_name = "MiniMaxM2ForCausalLM"
    title = "MiniMax M2"
    head_norm_span = "layer"


class MiniMaxM3(ModuleArchitecture):
    """Norms of queries and keys; an indexer of keys, so only prompts of which it keeps all."""

    class_name = "MiniMaxM3VLForCausalLM"
    title = "MiniMax M3 (text)"
    norm_offset = 1

    def count_positions(self, config: Any) -> int:
        kept = int(config.index_topk_blocks) * int(config.index_block_size)
        return min(super().count_positions(config), kept)

    def is_plain_mlp(self, mlp: Any) -> bool:
        return False  # gates are clamped


class HyV3(ModuleArchitecture):
    """Norms of queries and keys; mixtures and a shared expert in some layers."""

    class_name = "HYV3ForCausalLM"
    title = "Hunyuan 3"


class Mellum(ModuleArchitecture):
    """Norms of queries and keys; windows and another rotary base in some layers."""

    class_name = "MellumForCausalLM"
    title = "Mellum"


class ExaoneMoe(RotatesInWindows):
    """Norms of queries and keys; mixtures and a shared expert in some layers."""

    class_name = "ExaoneMoeForCausalLM"
    title = "EXAONE MoE"


class Kolibri1(RotatesInWindows):
    """Norms before and after attention and mixture; norms of queries and keys."""

    class_name = "Kolibri1ForCausalLM"
    title = "Kolibri"
    post_attn = "post_self_attn_layernorm"
    post_mlp = "post_mlp_layernorm"


class AriaText(ModuleArchitecture):
    """The text model of Aria: Llama with a mixture and shared experts."""

    class_name = "AriaTextForCausalLM"
    title = "Aria (text)"


class Dbrx(ModuleArchitecture):
    """LayerNorms without biases, clipped queries, keys and values; a mixture in each layer."""

    class_name = "DbrxForCausalLM"
    title = "DBRX"
    layers = "transformer.blocks"
    embedding = "transformer.wte"
    rotary = "transformer.rotary_emb"
    final_norm = "transformer.norm_f"
    context_fields = ("max_seq_len",)
    attention = "norm_attn_norm.attn"
    attn_norm = "norm_attn_norm.norm_1"
    mlp_norm = "norm_attn_norm.norm_2"
    mlp = "ffn"
    qkv = "Wqkv"
    o = "out_proj"

    def text_fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        # Sizes of parts are in objects of their own.
        parts = {**config.get("attn_config", {}), **config.get("ffn_config", {})}
        return {**parts, **config, "num_key_value_heads": parts.get("kv_n_heads")}

    def count_experts(self, config: Mapping[str, Any]) -> tuple[int, int] | None:
        return super().count_experts(self.text_fields(config))

    def clip(self, config: Any) -> float | None:
        clip = config.attn_config.clip_qkv
        return None if clip is None else float(clip)

    def activation_name(self, config: Any, bridge_config: Any = None) -> str:
        return str(config.ffn_config.ffn_act_fn["name"])


ARCHITECTURES = (
    Mixtral,
    Qwen2Moe,
    Qwen3Moe,
    Olmoe,
    FlexOlmo,
    Glm4Moe,
    ErnieMoe,
    HunYuanMoeV1,
    Dots1,
    SolarOpen,
    MiniMaxM2,
    MiniMaxM3,
    HyV3,
    Mellum,
    ExaoneMoe,
    Kolibri1,
    AriaText,
    Dbrx,
)
