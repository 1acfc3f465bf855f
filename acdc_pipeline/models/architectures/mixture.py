"""Mixtures of experts in the layout of Llama; those of a maker's own layout are in its file."""

from __future__ import annotations

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


class GraniteMoe(ModuleArchitecture):
    """Granite with a mixture in place of each MLP."""

    class_name = "GraniteMoeForCausalLM"
    title = "Granite MoE"
    mlp = "block_sparse_moe"

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return float(bridge.config.embedding_multiplier) * weight

    def output_scale(self, config: Any) -> float:
        return float(config.residual_multiplier)

    def logit_scale(self, config: Any) -> float:
        return 1.0 / float(config.logits_scaling)


class GraniteMoeShared(GraniteMoe):
    """Granite with a mixture, and an MLP that all tokens pass."""

    class_name = "GraniteMoeSharedForCausalLM"
    title = "Granite MoE with a shared expert"
    shared_mlp = "shared_mlp"


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
    HyV3,
    Mellum,
    ExaoneMoe,
    Kolibri1,
    AriaText,
    GraniteMoe,
    GraniteMoeShared,
)
