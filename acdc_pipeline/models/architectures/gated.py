"""Attention with sinks or gates: gpt-oss, Flint, MiMo V2 Flash, AFMoE, Laguna, Beam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from acdc_pipeline.models.architectures.base import MAX_ROTARY_POSITIONS, positive_or_none
from acdc_pipeline.models.architectures.gemma import BIAS_BEFORE_NORM
from acdc_pipeline.models.architectures.layout import ModuleArchitecture, StreamFactors


class GptOss(ModuleArchitecture):
    """Attention sinks, windows in every second layer, biases; a mixture in each layer."""

    class_name = "GptOssForCausalLM"
    title = "gpt-oss"
    rotary_once = True


class Afmoe(ModuleArchitecture):
    """Gates of what heads carry, four norms; layers without a window have no positions."""

    class_name = "AfmoeForCausalLM"
    title = "AFMoE (Trinity)"
    refused_values = (BIAS_BEFORE_NORM,)
    attn_gate = "gate_proj"
    mlp_norm = "pre_mlp_layernorm"
    post_attn = "post_attention_layernorm"
    post_mlp = "post_mlp_layernorm"

    def rotates(self, attention: Any) -> bool:
        return bool(attention.is_local_attention)

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return weight * weight.shape[1] ** 0.5 if bridge.config.mup_enabled else weight


class Flint(ModuleArchitecture):
    """Sinks, norms of queries and keys, windows; layers without a window have no positions."""

    class_name = "FlintForCausalLM"
    title = "Flint"

    def rotates(self, attention: Any) -> bool:
        return attention.sliding_window is not None


class MiMoV2Flash(ModuleArchitecture):
    """Windows with sinks and twice the key/value heads in most layers; narrower values."""

    class_name = "MiMoV2FlashForCausalLM"
    title = "MiMo V2 Flash"

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        scale = attention.v_scale
        b_v = None if attn.b_v is None else scale * attn.b_v
        return replace(attn, w_v=scale * attn.w_v, b_v=b_v)


class Laguna(ModuleArchitecture):
    """Gates of what heads carry (softplus), norms of queries and keys; a rotary base by layer."""

    class_name = "LagunaForCausalLM"
    title = "Laguna"
    attn_gate = "g_proj"

    def find_refusal(self, config: Mapping[str, Any]) -> str | None:
        heads = config.get("num_attention_heads_per_layer") or ()
        if set(heads) - {config.get("num_attention_heads")}:
            return "its layers have different numbers of heads (num_attention_heads_per_layer)"
        return super().find_refusal(config)

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        return replace(attn, gate_function="softplus")


class Beam(ModuleArchitecture):
    """Gates of what heads carry, four norms, factors on the stream; windows have positions."""

    class_name = "BeamForCausalLM"
    title = "Beam"
    refused_values = (BIAS_BEFORE_NORM,)
    attn_gate = "gate_proj"
    mlp_norm = "pre_feedforward_layernorm"
    post_attn = "post_attention_layernorm"
    post_mlp = "post_feedforward_layernorm"

    def logit_cap(self, config: Any) -> float | None:
        return positive_or_none(config.final_logit_softcapping)

    def rotates(self, attention: Any) -> bool:
        config = attention.config
        return config.rope_parameters[config.layer_types[attention.layer_idx]] is not None

    def stream_factors(self, layer: Any, config: Any) -> StreamFactors:
        heads, mlp = layer.attn_residual_add_idx, layer.mlp_residual_add_idx
        return StreamFactors((1 - 1 / heads) ** 0.5, heads**-0.5, (1 - 1 / mlp) ** 0.5, mlp**-0.5)

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        import torch

        bias = torch.zeros_like(attn.w_q[:, 0]) if attn.b_q is None else attn.b_q.clone()
        bias[:, attn.d_qk :] += attention.gate_bias[:, None]
        attn = replace(attn, b_q=bias)
        if self.rotates(attention):
            return attn
        positions = min(int(config.max_position_embeddings), MAX_ROTARY_POSITIONS)
        growth = 0.1 * torch.log1p((torch.arange(positions) + 1) / 2048)
        return replace(attn, query_scale=growth.exp())


ARCHITECTURES = (GptOss, Flint, MiMoV2Flash, Afmoe, Laguna, Beam)
