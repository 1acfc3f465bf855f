"""Which architecture reads the text model inside a larger one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.models.architectures.gemma import Gemma, Gemma2, Gemma3
from acdc_pipeline.models.architectures.layout import ModuleArchitecture
from acdc_pipeline.models.architectures.llama import Granite, SmolLM3


class _PlainLogits(ModuleArchitecture):
    def logit_scale(self, config: Any) -> float:
        return 1.0

    def logit_cap(self, config: Any) -> float | None:
        return None


class _Mistral(ModuleArchitecture):
    window_from = "config"


class _SmolLM3(ModuleArchitecture, SmolLM3):
    pass


class _Granite(ModuleArchitecture, Granite):
    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return float(bridge.config.embedding_multiplier) * weight


class _Gemma(ModuleArchitecture, Gemma):
    pass


class _Gemma2(ModuleArchitecture, Gemma2):
    mlp_norm = "pre_feedforward_layernorm"
    post_attn = "post_attention_layernorm"
    post_mlp = "post_feedforward_layernorm"


class _Gemma3(_Gemma2, Gemma3):
    pass


class _Phi(ModuleArchitecture):
    """One norm for attention and MLP."""

    final_norm = "model.final_layernorm"
    mlp_norm = ""
    o = "dense"
    up = "fc1"
    down = "fc2"

    def is_parallel(self, config: Mapping[str, Any]) -> bool:
        return True


class _Phi3(ModuleArchitecture):
    qkv = "qkv_proj"
    gate_up = "gate_up_proj"
    window_from = "config"


class _Mllama(ModuleArchitecture):
    """Layers of cross-attention are passed over without an image."""

    def decoder_layers(self, model: Any) -> list[Any]:
        return [layer for layer in model.model.layers if hasattr(layer, "self_attn")]

    def text_fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        left = int(config["num_hidden_layers"]) - len(config["cross_attention_layers"])
        return {**config, "num_hidden_layers": left}

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return weight[: bridge.config.vocab_size]  # the other rows are of images


# Classes that are read through TransformerLens elsewhere.
_BY_MODULES: Mapping[str, type[ModuleArchitecture]] = {
    "LlamaForCausalLM": ModuleArchitecture,
    "Qwen2ForCausalLM": ModuleArchitecture,
    "Qwen3ForCausalLM": ModuleArchitecture,
    "MistralForCausalLM": _Mistral,
    "SmolLM3ForCausalLM": _SmolLM3,
    "GraniteForCausalLM": _Granite,
    "GemmaForCausalLM": _Gemma,
    "Gemma2ForCausalLM": _Gemma2,
    "Gemma3ForCausalLM": _Gemma3,
    "PhiForCausalLM": _Phi,
    "Phi3ForCausalLM": _Phi3,
    "MllamaForCausalLM": _Mllama,
}

# `model_type` of a text model, and the causal class whose layout it has.
_CLASSES: Mapping[str, str] = {
    "aria_text": "AriaTextForCausalLM",
    "cohere2": "Cohere2ForCausalLM",
    "cohere_compass_text": "CohereCompassForCausalLM",
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
    "granite_docling_text": "GraniteForCausalLM",
    "hunyuan_vl_text": "HunYuanDenseV1ForCausalLM",
    "hyperclovax": "HyperCLOVAXForCausalLM",
    "lfm2": "Lfm2ForCausalLM",
    "lfm3": "Lfm3ForCausalLM",
    "llama": "LlamaForCausalLM",
    "llama4_text": "Llama4ForCausalLM",
    "ministral": "MinistralForCausalLM",
    "ministral3": "Ministral3ForCausalLM",
    "mistral": "MistralForCausalLM",
    "mistral4": "Mistral4ForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "mllama_text_model": "MllamaForCausalLM",
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

    name = _CLASSES.get(config.get("model_type", ""), "")
    if name in _BY_MODULES:
        return _BY_MODULES[name]()
    found = find_architecture(name)
    return found if isinstance(found, ModuleArchitecture) else None


def with_plain_logits(text: ModuleArchitecture) -> ModuleArchitecture:
    """Return the same architecture where logits are neither scaled nor capped."""
    kind = type(text)
    made: type[ModuleArchitecture] = type(kind.__name__, (_PlainLogits, kind), {})
    return made()
