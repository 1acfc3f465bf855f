"""Which architecture reads the text model inside a larger one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.models.architectures.by_modules import BY_MODULES
from acdc_pipeline.models.architectures.layout import ModuleArchitecture


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
    if name == "MllamaForCausalLM":
        return _Mllama()
    if name in BY_MODULES:
        return BY_MODULES[name]()
    found = find_architecture(name)
    return found if isinstance(found, ModuleArchitecture) else None


def with_plain_logits(text: ModuleArchitecture) -> ModuleArchitecture:
    """Return the same architecture where logits are neither scaled nor capped."""
    kind = type(text)
    made: type[ModuleArchitecture] = type(kind.__name__, (_PlainLogits, kind), {})
    return made()
