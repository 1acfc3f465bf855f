"""Dense decoders in the layout of Llama."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from acdc_pipeline.models.architectures.base import positive_or_none
from acdc_pipeline.models.architectures.layout import ModuleArchitecture


class Arcee(ModuleArchitecture):
    """Llama with squared ReLUs and no gates."""

    class_name = "ArceeForCausalLM"
    title = "Arcee"


class Cwm(ModuleArchitecture):
    """Llama with windows in most layers."""

    class_name = "CwmForCausalLM"
    title = "CWM"


class Emu3(ModuleArchitecture):
    """The text part of Emu3, like Llama; pictures are further tokens."""

    class_name = "Emu3ForCausalLM"
    title = "Emu3 (text)"


class SeedOss(ModuleArchitecture):
    """Llama with biases of queries, keys and values."""

    class_name = "SeedOssForCausalLM"
    title = "Seed-OSS"


class Helium(ModuleArchitecture):
    """Llama with rotation of adjacent dimensions."""

    class_name = "HeliumForCausalLM"
    title = "Helium"
    rotary_pairs = "adjacent"


class Ernie45(ModuleArchitecture):
    """Llama with rotation of adjacent dimensions, and biases everywhere or nowhere."""

    class_name = "Ernie4_5ForCausalLM"
    title = "ERNIE 4.5"
    rotary_pairs = "adjacent"


class Nemotron(ModuleArchitecture):
    """LayerNorms that scale by 1 + weight, squared ReLUs, rotation of a part of each head."""

    class_name = "NemotronForCausalLM"
    title = "Nemotron"
    norm_offset = 1


class Jais2(ModuleArchitecture):
    """LayerNorms, squared ReLUs, biases."""

    class_name = "Jais2ForCausalLM"
    title = "Jais 2"


class HunYuanDenseV1(ModuleArchitecture):
    """Norms of queries and keys after their rotation."""

    class_name = "HunYuanDenseV1ForCausalLM"
    title = "Hunyuan"
    q_norm = "query_layernorm"
    k_norm = "key_layernorm"
    norm_after_rotation = True


class Apertus(ModuleArchitecture):
    """Norms of queries and keys, and an activation with trained parameters."""

    class_name = "ApertusForCausalLM"
    title = "Apertus"
    attn_norm = "attention_layernorm"
    mlp_norm = "feedforward_layernorm"


class NanoChat(ModuleArchitecture):
    """Norms without weights, also of the embedding, and of queries and keys after rotation."""

    class_name = "NanoChatForCausalLM"
    title = "nanochat"
    norm_after_rotation = True
    up = "fc1"
    down = "fc2"

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        mean_square = weight.square().mean(-1, keepdim=True)
        return weight * (mean_square + bridge.model.norm.eps).rsqrt()

    def logit_cap(self, config: Any) -> float | None:
        return positive_or_none(config.final_logit_softcapping)

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        # It rotates the other way round.
        return replace(attn, rotary=replace(attn.rotary, sin=-attn.rotary.sin))


class Glm(ModuleArchitecture):
    """Llama with rotation of adjacent dimensions of a part of each head, and fused MLPs."""

    class_name = "GlmForCausalLM"
    title = "GLM"
    rotary_pairs = "adjacent"
    gate_up = "gate_up_proj"


class Glm4(Glm):
    """GLM with further norms after attention and MLP."""

    class_name = "Glm4ForCausalLM"
    title = "GLM-4"
    post_attn = "post_self_attn_layernorm"
    post_mlp = "post_mlp_layernorm"


class BitNet(ModuleArchitecture):
    """RMS norms of what all heads carry, and of the hidden units of an MLP."""

    class_name = "BitNetForCausalLM"
    title = "BitNet b1.58"

    def is_plain_mlp(self, mlp: Any) -> bool:
        return False

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        norm = attention.attn_sub_norm
        weight = norm.weight.reshape(attn.w_o.shape[0], -1, 1)
        return replace(attn, w_o=attn.w_o * weight, z_norm_eps=norm.variance_epsilon)


class Moshi(ModuleArchitecture):
    """The text part of Moshi; each layer has a rotary module."""

    class_name = "MoshiForCausalLM"
    title = "Moshi (text)"
    q = "q_proj.linear"
    k = "k_proj.linear"
    v = "v_proj.linear"
    o = "o_proj.linear"
    gate_up = "fc1"
    down = "fc2"
    rotary = "model.layers.0.self_attn.rotary_emb"

    def text_fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        # `ffn_dim` counts gates and hidden units.
        width = config.get("ffn_dim")
        return {**config, "intermediate_size": width // 2} if isinstance(width, int) else config


class Ministral(ModuleArchitecture):
    """Llama with windows in some layers."""

    class_name = "MinistralForCausalLM"
    title = "Ministral"


class Ministral3(ModuleArchitecture):
    """Queries grow with the logarithm of their position."""

    class_name = "Ministral3ForCausalLM"
    title = "Ministral 3"
    window_from = "config"

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        import torch

        settings = config.rope_parameters
        positions = torch.arange(len(attn.rotary.cos))
        trained = (positions / settings["original_max_position_embeddings"]).floor()
        growth = settings["llama_4_scaling_beta"] * torch.log(1 + trained)
        return replace(attn, query_scale=1 + growth)


ARCHITECTURES = (
    Arcee,
    Cwm,
    Ministral,
    Ministral3,
    Emu3,
    SeedOss,
    Helium,
    Ernie45,
    Nemotron,
    Jais2,
    HunYuanDenseV1,
    Apertus,
    NanoChat,
    BitNet,
    Glm,
    Glm4,
    Moshi,
)
