"""Llama and the architectures of other makers that follow its layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from acdc_pipeline.models.architectures.base import MAX_ROTARY_POSITIONS, Architecture
from acdc_pipeline.models.architectures.layout import ModuleArchitecture


class Llama(Architecture):
    """RMS norms, rotary positions, grouped-query attention, gated MLPs."""

    class_name = "LlamaForCausalLM"
    title = "Llama"


class WindowInConfig(Architecture):
    """A decoder whose attention reads its window from the config instead of storing it."""

    def window(self, attention: Any) -> int | None:
        return super().window(attention.config)


class Mistral(WindowInConfig):
    """Llama with a sliding window."""

    class_name = "MistralForCausalLM"
    title = "Mistral"


class Starcoder2(WindowInConfig):
    """LayerNorms, biases, and an MLP without a gate."""

    class_name = "Starcoder2ForCausalLM"
    title = "Starcoder2"


class Qwen2(Architecture):
    """Biases on queries, keys and values; windows in some layers."""

    class_name = "Qwen2ForCausalLM"
    title = "Qwen2"


class Qwen3(Architecture):
    """Norms of queries and keys, shared by the heads of a layer."""

    class_name = "Qwen3ForCausalLM"
    title = "Qwen3"


class SmolLM3(Architecture):
    """Some layers have no positions."""

    class_name = "SmolLM3ForCausalLM"
    title = "SmolLM3"

    def rotates(self, attention: Any) -> bool:
        return bool(attention.use_rope)


class StableLm(Architecture):
    """LayerNorms; queries and keys may have a norm per head."""

    class_name = "StableLmForCausalLM"
    title = "StableLM"
    parallel_field = ("use_parallel_residual", False)

    def head_norm_modules(self, norm: Any) -> Iterable[Any]:
        return norm.norms


class Granite(Architecture):
    """Constant factors on embeddings, outputs and logits."""

    class_name = "GraniteForCausalLM"
    title = "Granite"

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return float(bridge.original_model.config.embedding_multiplier) * weight

    def output_scale(self, config: Any) -> float:
        return float(config.residual_multiplier)

    def logit_scale(self, config: Any) -> float:
        return 1.0 / float(config.logits_scaling)


class Cohere(Architecture):
    """Command R: parallel blocks with one norm; adjacent dimensions rotate; scaled logits."""

    class_name = "CohereForCausalLM"
    title = "Cohere (Command R)"
    rotary_pairs = "adjacent"
    layer_norm_modules = frozenset({"CohereLayerNorm"})

    def is_parallel(self, config: Mapping[str, Any]) -> bool:
        return True

    def logit_scale(self, config: Any) -> float:
        return float(config.logit_scale)


class Llama4(ModuleArchitecture):
    """Chunks with positions and norms of queries and keys; the other layers see all tokens."""

    class_name = "Llama4ForCausalLM"
    title = "Llama 4 (text)"
    mlp = "feed_forward"
    rotary_pairs = "adjacent"
    rms_norm_modules = frozenset({"Llama4TextL2Norm"})
    q_norm = "qk_norm"
    k_norm = "qk_norm"
    norm_after_rotation = True

    def rotary_tables(self, bridge: Any) -> Iterable[tuple[Any, Any] | None]:
        import torch

        positions = min(int(bridge.config.max_position_embeddings), MAX_ROTARY_POSITIONS)
        probe = torch.zeros(1, positions, 1)
        turns = bridge.model.rotary_emb(probe, torch.arange(positions)[None])[0]
        cos, sin = (part.repeat_interleave(2, -1) for part in (turns.real, turns.imag))
        attentions = [layer.self_attn for layer in bridge.model.layers]
        return [(cos, sin) if attention.use_rope else None for attention in attentions]

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        import torch

        if config.layer_types[attention.layer_idx] == "chunked_attention":
            attn = replace(attn, chunk=config.attention_chunk_size)
        if attention.use_rope or not attention.attn_temperature_tuning:
            return attn
        positions = min(int(config.max_position_embeddings), MAX_ROTARY_POSITIONS)
        stretches = ((torch.arange(positions) + 1.0) / attention.floor_scale).floor()
        return replace(attn, query_scale=1 + attention.attn_scale * torch.log1p(stretches))


ARCHITECTURES = (
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    StableLm,
    Starcoder2,
    Cohere,
    Granite,
    SmolLM3,
    Llama4,
)
