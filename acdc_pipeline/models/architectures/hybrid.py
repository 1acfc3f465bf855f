"""Hybrids: some layers have attention heads, the others mix tokens without heads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.architectures.base import MAX_ROTARY_POSITIONS, positive_or_none
from acdc_pipeline.models.architectures.gemma import BIAS_BEFORE_NORM
from acdc_pipeline.models.architectures.granite import GraniteMoeShared
from acdc_pipeline.models.architectures.layout import ModuleArchitecture


class LayersByType(ModuleArchitecture):
    """A decoder whose config lists the kind of each layer."""

    def layer_types(self, config: Mapping[str, Any]) -> list[str]:
        """Return the kind of each layer: of its attention, or of another mixer of positions."""
        return list(config.get("layer_types") or self.usual_layer_types(config))

    def usual_layer_types(self, config: Mapping[str, Any]) -> list[str]:
        """Return the kind of each layer where `config` does not list them."""
        raise InvalidInput("is missing", field="layer_types", where="config.json")

    def layer_parts(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        kinds = self.layer_types(config)
        with_heads = ("attention", "full_attention", "sliding_attention")
        return tuple("am" if kind in with_heads else "rm" for kind in kinds)


class Qwen3Next(LayersByType):
    """Gated delta nets in three of four layers; gates of what heads carry; shared experts."""

    class_name = "Qwen3NextForCausalLM"
    title = "Qwen3-Next"
    norm_offset = 1
    mixer = "linear_attn"

    def usual_layer_types(self, config: Mapping[str, Any]) -> list[str]:
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

    def usual_layer_types(self, config: Mapping[str, Any]) -> list[str]:
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


class Lfm3(Lfm2):
    """Gates of what heads carry, four norms; windows and another rotary base in some layers."""

    class_name = "Lfm3ForCausalLM"
    title = "LFM3"
    refused_values = (BIAS_BEFORE_NORM,)
    post_attn = "post_operator_norm"
    post_mixer = "post_operator_norm"
    post_mlp = "post_ffn_norm"
    o = "o_proj"
    q_norm = "q_norm"
    k_norm = "k_norm"
    attn_gate = "g_proj"

    def usual_layer_types(self, config: Mapping[str, Any]) -> list[str]:
        kinds = {2: "full_attention", 0: "sliding_attention"}
        layers = range(int(config["num_hidden_layers"]))
        return [kinds.get(layer % 4, "conv") if layer else "conv" for layer in layers]


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

    def usual_layer_types(self, config: Mapping[str, Any]) -> list[str]:
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


class FalconH1(ModuleArchitecture):
    """Mamba 2 beside the heads of each layer; constant factors everywhere."""

    class_name = "FalconH1ForCausalLM"
    title = "Falcon-H1"
    final_norm = "model.final_layernorm"
    mlp_norm = "pre_ff_layernorm"
    mixer = "mamba"
    mlp = "feed_forward"

    def layer_parts(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        return ("arm",) * int(config["num_hidden_layers"])

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return float(bridge.config.embedding_multiplier) * weight

    def logit_scale(self, config: Any) -> float:
        return float(config.lm_head_multiplier)

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        read, key = config.attention_in_multiplier, config.key_multiplier
        return replace(
            attn,
            w_q=read * attn.w_q,
            w_k=read * key * attn.w_k,
            w_v=read * attn.w_v,
            b_k=None if attn.b_k is None else key * attn.b_k,
        )

    def finish_block(self, block: Any, layer: Any, config: Any) -> Any:
        from acdc_pipeline.models.architectures.reading import blocks

        gate, down = config.mlp_multipliers
        b_gate = None if block.mlp.b_gate is None else gate * block.mlp.b_gate
        block = replace(
            block, mlp=replace(block.mlp, w_gate=gate * block.mlp.w_gate, b_gate=b_gate)
        )
        block = blocks.scale_attention(block, config.attention_out_multiplier)
        return blocks.scale_mlp(blocks.scale_mixer(block, config.ssm_out_multiplier), down)


class NemotronH(ModuleArchitecture):
    """One part a layer: Mamba 2, heads without positions, an MLP without a gate, or a mixture."""

    class_name = "NemotronHForCausalLM"
    title = "Nemotron-H"
    embedding = "model.embeddings"
    rotary = ""
    final_norm = "model.norm_f"
    attn_norm = "norm"
    mlp_norm = "norm"
    mixer = "mixer"
    activation_fields = ("mlp_hidden_act",)

    def text_fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        kinds = self.layer_types(config)
        experts = {} if "moe" in kinds else {"n_routed_experts": None}
        return {**config, **experts, "num_hidden_layers": len(kinds)}

    def layer_types(self, config: Mapping[str, Any]) -> list[str]:
        """Return the kind of each layer."""
        listed = config.get("layers_block_type") or config.get("layer_types")
        if listed:
            return list(listed)
        kinds = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
        pattern = str(config.get("hybrid_override_pattern") or "ME*-")
        if unknown := set(pattern) - kinds.keys():
            raise InvalidInput(
                f"'{min(unknown)}' is no kind of layer",
                field="hybrid_override_pattern",
                where="config.json",
                allowed=", ".join(kinds),
            )
        return [kinds[letter] for letter in pattern]

    def layer_parts(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        parts = {"attention": "a", "full_attention": "a", "mlp": "m", "moe": "m"}
        return tuple(parts.get(kind, "r") for kind in self.layer_types(config))

    def find_part(self, layer: Any, part: Literal["a", "r", "m"]) -> Any:
        parts = {"full_attention": "a", "linear_attention": "r"}
        return layer.mixer if parts.get(layer.block_type, "m") == part else None


class RecurrentGemma(LayersByType):
    """Gated linear recurrences in two of three layers, windows with heads in the others."""

    class_name = "RecurrentGemmaForCausalLM"
    title = "RecurrentGemma (Griffin)"
    norm_offset = 1
    final_norm = "model.final_norm"
    attn_norm = "temporal_pre_norm"
    mlp_norm = "channel_pre_norm"
    mixer = "temporal_block"
    mlp = "mlp_block"

    def text_fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        # `intermediate_size` counts gates and hidden units.
        width = config.get("intermediate_size")
        return {**config, "intermediate_size": width // 2} if isinstance(width, int) else config

    def layer_types(self, config: Mapping[str, Any]) -> list[str]:
        kinds = list(config.get("block_types") or ("recurrent", "recurrent", "attention"))
        n_layers = int(config["num_hidden_layers"])
        return [kinds[layer % len(kinds)] for layer in range(n_layers)]

    def find_part(self, layer: Any, part: Literal["a", "r", "m"]) -> Any:
        from acdc_pipeline.models.architectures.reading.composed import WholeText

        if part == "m":
            return layer.mlp_block
        block = layer.temporal_block
        if hasattr(block, "q_proj"):
            return block if part == "a" else None
        return WholeText(block) if part == "r" else None

    def rotary_tables(self, bridge: Any) -> Iterable[tuple[Any, Any] | None]:
        import torch

        probe = torch.zeros(1, MAX_ROTARY_POSITIONS, 1)
        at = torch.arange(MAX_ROTARY_POSITIONS)[None]
        tables: list[tuple[Any, Any] | None] = []
        for layer in bridge.model.layers:
            attention = self.find_part(layer, "a")
            found = None if attention is None else attention.rotary_emb(probe, at)
            tables.append(None if found is None else (found[0][0], found[1][0]))
        return tables

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return weight * bridge.model.normalizer.type(weight.dtype)

    def logit_cap(self, config: Any) -> float | None:
        return positive_or_none(config.logits_soft_cap)


class KimiLinear(LayersByType):
    """Kimi delta attention in most layers; latent attention without positions in the others."""

    class_name = "KimiLinearForCausalLM"
    title = "Kimi Linear"
    rotary = ""
    mixer = "self_attn"

    def usual_layer_types(self, config: Mapping[str, Any]) -> list[str]:
        layers = range(int(config["num_hidden_layers"]))
        linear = config.get("linear_attn_config") or {}
        if "full_attn_layers" in linear:
            heads = {layer - 1 for layer in linear["full_attn_layers"]}
        else:
            heads = {layer for layer in layers if layer and layer % 4 == 0}
        return ["full_attention" if layer in heads else "linear_attention" for layer in layers]

    def find_part(self, layer: Any, part: Literal["a", "r", "m"]) -> Any:
        has_heads = layer.block_type == "full_attention"
        return layer.mlp if part == "m" else layer.self_attn if has_heads == (part == "a") else None


class BailingHybrid(KimiLinear):
    """Kimi delta attention in most layers; latent attention with gated heads in the others."""

    class_name = "BailingHybridForCausalLM"
    title = "Ling (hybrid)"
    rotary = "model.rotary_emb"
    attn_gate = "g_proj"

    def usual_layer_types(self, config: Mapping[str, Any]) -> list[str]:
        size = int(config.get("layer_group_size", 6))
        every = range(1, int(config["num_hidden_layers"]) + 1)
        return ["linear_attention" if layer % size else "full_attention" for layer in every]

    def latent_interleaved(self, config: Any) -> bool:
        return True


ARCHITECTURES = (
    Qwen3Next,
    Qwen35,
    Qwen35Moe,
    Lfm2,
    Lfm2Moe,
    Lfm3,
    Bamba,
    Jamba,
    GraniteMoeHybrid,
    OlmoHybrid,
    FalconH1,
    NemotronH,
    RecurrentGemma,
    KimiLinear,
    BailingHybrid,
)
