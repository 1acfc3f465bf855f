"""Which architecture reads the text model inside a larger one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from acdc_pipeline.models.architectures.base import MAX_ROTARY_POSITIONS
from acdc_pipeline.models.architectures.by_modules import BY_MODULES
from acdc_pipeline.models.architectures.gemma import BIAS_BEFORE_NORM
from acdc_pipeline.models.architectures.layout import ModuleArchitecture
from acdc_pipeline.models.architectures.mixture import ErnieMoe


class _PlainLogits(ModuleArchitecture):
    def logit_scale(self, config: Any) -> float:
        return 1.0

    def logit_cap(self, config: Any) -> float | None:
        return None


class _Mllama(ModuleArchitecture):
    """Layers of cross-attention are passed over without an image."""

    def decoder_layers(self, model: Any) -> list[Any]:
        return [layer for layer in model.model.layers if hasattr(layer, "self_attn")]

    def text_fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        left = int(config["num_hidden_layers"]) - len(config["cross_attention_layers"])
        return {**config, "num_hidden_layers": left}

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return weight[: bridge.config.vocab_size]  # the other rows are of images


class _MuseGlimmer(ModuleArchitecture):
    """Gates of what heads carry, weightless norms of queries and keys, four norms, windows."""

    refused_values = (BIAS_BEFORE_NORM,)
    attn_gate = "gate_proj"
    q_norm = "qk_norm"
    k_norm = "qk_norm"
    mlp_norm = "pre_feedforward_layernorm"
    post_attn = "post_attention_layernorm"
    post_mlp = "post_feedforward_layernorm"

    def norm_offset_of(self, norm: Any) -> int:
        return int("Centered" in type(norm).__name__)

    def score_scale(self, attention: Any) -> float:
        return float(attention.scaling * attention.qk_scale_factor)

    def rotates(self, attention: Any) -> bool:
        return bool(attention.config.layer_rope_theta[attention.layer_idx])

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        eps = bridge.get_input_embeddings().embed_norm.eps
        return weight * (weight.pow(2).mean(-1, keepdim=True) + eps).rsqrt()

    def logit_scale(self, config: Any) -> float:
        return float(config.output_multiplier)

    def logit_cap(self, config: Any) -> float | None:
        return float(config.final_logit_softcapping)


class _Ernie45Vl(ErnieMoe):
    """The experts of text; those of images are of another width."""

    def text_fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**config, "moe_intermediate_size": config["moe_intermediate_size"][0]}


class _Cosmos3Edge(ModuleArchitecture):
    """Llama with two projections in its MLPs; the axes of positions are equal for text."""

    gate = ""
    up = "fc1"
    down = "fc2"


class _Molmo2(ModuleArchitecture):
    """Norms of queries and keys; scaled rotation in some layers, plain rotation in the others."""

    def variant(self, config: Mapping[str, Any]) -> ModuleArchitecture:
        return _Molmo2O() if config.get("norm_after") else self

    def find_refusal(self, config: Mapping[str, Any]) -> str | None:
        norms = "qwen3" if self.head_norm_span == "head" else "olmo"
        if config.get("qk_norm_type", "qwen3") != norms:
            where = "after" if config.get("norm_after") else "before"
            return f"with norms {where} its parts, queries and keys have others (qk_norm_type)"
        return super().find_refusal(config)

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return weight[: bridge.config.vocab_size]  # the other rows are of images

    def rotary_tables(self, bridge: Any) -> Iterable[tuple[Any, Any]]:
        import torch

        positions = min(self.count_positions(bridge.config), MAX_ROTARY_POSITIONS)
        probe, at = torch.zeros(1, positions, 1), torch.arange(positions)[None]
        inner = bridge.model
        tables = {
            kind: tuple(table[0] for table in module(probe, at))
            for kind, module in (
                ("scaled", inner.rotary_emb),
                ("unscaled", inner.rotary_emb_unscaled),
            )
        }
        return [(tables[kind][0], tables[kind][1]) for kind in inner.rope_types]


class _Molmo2O(_Molmo2):
    """Norms after attention and MLP, and one across all queries or keys of a layer, as OLMo 2."""

    attn_norm = ""
    mlp_norm = ""
    post_attn = "input_layernorm"
    post_mlp = "post_attention_layernorm"
    head_norm_span = "layer"


# `model_type` of a text model whose layout no causal class has.
_OWN: Mapping[str, type[ModuleArchitecture]] = {
    "cosmos3_edge_text": _Cosmos3Edge,
    "ernie4_5_vl_moe_text": _Ernie45Vl,
    "mllama_text_model": _Mllama,
    "molmo2_text": _Molmo2,
    "muse_glimmer_text": _MuseGlimmer,
}

# `model_type` of another text model, and the causal class whose layout it has.
_CLASSES: Mapping[str, str] = {
    "aria_text": "AriaTextForCausalLM",
    "cohere2": "Cohere2ForCausalLM",
    "cohere_compass_text": "CohereCompassForCausalLM",
    "deepseek_ocr2_text": "LlamaForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "emu3_text_model": "Emu3ForCausalLM",
    "exaone4": "Exaone4ForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "gemma4_text": "Gemma4ForCausalLM",
    "gemma4_unified_text": "Gemma4UnifiedForCausalLM",
    "glm4v_moe_text": "Glm4MoeForCausalLM",
    "glm4v_text": "Glm4ForCausalLM",
    "glm_ocr_text": "Glm4ForCausalLM",
    "granite": "GraniteForCausalLM",
    "granite4_vision_text": "GraniteForCausalLM",
    "granite_docling_text": "GraniteForCausalLM",
    "hunyuan_vl_text": "HunYuanDenseV1ForCausalLM",
    "hyperclovax": "HyperCLOVAXForCausalLM",
    "lfm2": "Lfm2ForCausalLM",
    "lfm3": "Lfm3ForCausalLM",
    "llama": "LlamaForCausalLM",
    "llama4_text": "Llama4ForCausalLM",
    "minimax_m3_vl_text": "MiniMaxM3VLForCausalLM",
    "ministral": "MinistralForCausalLM",
    "ministral3": "Ministral3ForCausalLM",
    "mistral": "MistralForCausalLM",
    "mistral4": "Mistral4ForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "nemotron_h": "NemotronHForCausalLM",
    "paddleocr_vl_text": "LlamaForCausalLM",
    "persimmon": "PersimmonForCausalLM",
    "phi": "PhiForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "phi4_multimodal": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_5_omni_text": "Qwen2ForCausalLM",
    "qwen2_5_vl_text": "Qwen2ForCausalLM",
    "qwen2_vl_text": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_5_moe_text": "Qwen3_5MoeForCausalLM",
    "qwen3_5_text": "Qwen3_5ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "qwen3_omni_moe_text": "Qwen3MoeForCausalLM",
    "qwen3_vl_moe_text": "Qwen3MoeForCausalLM",
    "qwen3_vl_text": "Qwen3ForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
}


def find_text_architecture(config: Mapping[str, Any]) -> ModuleArchitecture | None:
    """Return the architecture that reads a text model with these fields; None without one."""
    from acdc_pipeline.models.architectures import find_architecture

    kind = config.get("model_type", "")
    if kind in _OWN:
        found = _OWN[kind]().variant(config)
        return found if isinstance(found, ModuleArchitecture) else None
    name = _CLASSES.get(kind, "")
    if name in BY_MODULES:
        return BY_MODULES[name]()
    found = find_architecture(name)
    return found if isinstance(found, ModuleArchitecture) else None


def with_plain_logits(text: ModuleArchitecture) -> ModuleArchitecture:
    """Return the same architecture where logits are neither scaled nor capped."""
    kind = type(text)
    made: type[ModuleArchitecture] = type(kind.__name__, (_PlainLogits, kind), {})
    return made()
