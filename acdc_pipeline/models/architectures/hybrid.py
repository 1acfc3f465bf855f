"""Hybrids: some layers have attention heads, the others mix tokens without heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from acdc_pipeline.models.architectures.gemma import BIAS_BEFORE_NORM
from acdc_pipeline.models.architectures.layout import ModuleArchitecture
from acdc_pipeline.models.architectures.mixture import GraniteMoeShared


class LayersByType(ModuleArchitecture):
    """A decoder whose config lists the kind of each layer."""

    def layer_types(self, config: Mapping[str, Any]) -> list[str]:
        """Return the kind of each layer; those with `attention` alone in it have heads."""
        return list(config["layer_types"])

    def layer_parts(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        kinds = self.layer_types(config)
        return tuple("am" if kind in ("attention", "full_attention") else "rm" for kind in kinds)


class Qwen3Next(LayersByType):
    """Gated delta nets in three of four layers; gates of what heads carry; shared experts."""

    class_name = "Qwen3NextForCausalLM"
    title = "Qwen3-Next"
    norm_offset = 1
    mixer = "linear_attn"

    def layer_types(self, config: Mapping[str, Any]) -> list[str]:
        if config.get("layer_types"):
            return super().layer_types(config)
        interval = int(config.get("full_attention_interval", 4))
        every = range(1, int(config["num_hidden_layers"]) + 1)
        return ["linear_attention" if layer % interval else "full_attention" for layer in every]


class Qwen35(Qwen3Next):
    """Gated delta nets in three of four layers; gates of what heads carry."""

    class_name = "Qwen3_5ForCausalLM"
    title = "Qwen 3.5"


class Qwen35Moe(Qwen3Next):
    """Qwen 3.5 with mixtures and a shared expert."""

    class_name = "Qwen3_5MoeForCausalLM"
    title = "Qwen 3.5 MoE"


class Lfm2(LayersByType):
    """Short convolutions with gates in most layers; norms of queries and keys."""

    class_name = "Lfm2ForCausalLM"
    title = "LFM2"
    final_norm = "model.embedding_norm"
    attn_norm = "operator_norm"
    mlp_norm = "ffn_norm"
    mixer = "conv"
    mlp = "feed_forward"
    o = "out_proj"
    q_norm = "q_layernorm"
    k_norm = "k_layernorm"
    gate = "w1"
    up = "w3"
    down = "w2"

    def layer_types(self, config: Mapping[str, Any]) -> list[str]:
        if config.get("layer_types"):
            return super().layer_types(config)
        layers = range(int(config["num_hidden_layers"]))
        chosen = config.get("full_attn_idxs") or layers
        return ["full_attention" if layer in chosen else "conv" for layer in layers]

    def activation_name(self, config: Any, bridge_config: Any = None) -> str:
        return "silu"


class Lfm2Moe(Lfm2):
    """LFM2 with mixtures after the first layers."""

    class_name = "Lfm2MoeForCausalLM"
    title = "LFM2 MoE"
    rotary = "model.pos_emb"


class Bamba(LayersByType):
    """Mamba 2 in most layers; rotation of a part of each head."""

    class_name = "BambaForCausalLM"
    title = "Bamba"
    final_norm = "model.final_layernorm"
    mlp_norm = "pre_ff_layernorm"
    mixer = "mamba"
    mlp = "feed_forward"

    def layer_types(self, config: Mapping[str, Any]) -> list[str]:
        chosen = config.get("attn_layer_indices") or ()
        layers = range(int(config["num_hidden_layers"]))
        return ["attention" if layer in chosen else "mamba" for layer in layers]


class Jamba(Bamba):
    """Mamba in most layers, mixtures in every second, no positions."""

    class_name = "JambaForCausalLM"
    title = "Jamba"
    rotary = ""

    def layer_types(self, config: Mapping[str, Any]) -> list[str]:
        period = int(config.get("attn_layer_period", 8))
        offset = int(config.get("attn_layer_offset", 4))
        layers = range(int(config["num_hidden_layers"]))
        return ["attention" if layer % period == offset else "mamba" for layer in layers]


class GraniteMoeHybrid(LayersByType, GraniteMoeShared):
    """Granite with Mamba 2 in most layers, and a mixture beside an MLP that all tokens pass."""

    class_name = "GraniteMoeHybridForCausalLM"
    title = "Granite 4 (hybrid)"
    mixer = "mamba"

    def layer_types(self, config: Mapping[str, Any]) -> list[str]:
        kinds = config.get("layer_types") or config.get("layers_block_type")
        return list(kinds or ["mamba"] * int(config["num_hidden_layers"]))

    def rotates(self, attention: Any) -> bool:
        return attention.config.position_embedding_type == "rope"


class OlmoHybrid(LayersByType):
    """Gated delta nets with norms before the parts in most layers, OLMo 2 in the others."""

    class_name = "OlmoHybridForCausalLM"
    title = "OLMo hybrid"
    refused_values = (BIAS_BEFORE_NORM,)
    head_norm_span = "layer"
    attn_norm = ""
    mlp_norm = ""
    mixer = "linear_attn"

    def layer_types(self, config: Mapping[str, Any]) -> list[str]:
        if config.get("layer_types"):
            return super().layer_types(config)
        n_layers = int(config["num_hidden_layers"])
        kinds = ["full_attention" if layer % 4 == 3 else "linear" for layer in range(n_layers)]
        return kinds if "full_attention" in kinds else [*kinds[:-1], "full_attention"]

    def rotates(self, attention: Any) -> bool:
        return bool(attention.config.rope_parameters)

    def finish_block(self, block: Any, layer: Any, config: Any) -> Any:
        from acdc_pipeline.models.architectures.reading.norms import read_norm

        after_attention = read_norm(layer.post_attention_layernorm, self)
        if block.mixer is not None:
            before = read_norm(layer.input_layernorm, self)
            return replace(block, norm_attn=before, norm_mlp=after_attention)
        after_mlp = read_norm(layer.post_feedforward_layernorm, self)
        return replace(block, post_attn=after_attention, post_mlp=after_mlp)


ARCHITECTURES = (
    Qwen3Next,
    Qwen35,
    Qwen35Moe,
    Lfm2,
    Lfm2Moe,
    Bamba,
    Jamba,
    GraniteMoeHybrid,
    OlmoHybrid,
)
