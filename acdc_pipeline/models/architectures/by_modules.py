"""Architectures of classes that are read through TransformerLens elsewhere, by their own modules.

Inside a larger model, or where layers are read from files one by one, there is no bridge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.models.architectures.gemma import Gemma, Gemma2, Gemma3
from acdc_pipeline.models.architectures.layout import ModuleArchitecture
from acdc_pipeline.models.architectures.llama import Granite, SmolLM3
from acdc_pipeline.models.architectures.phi import PhiWithNorms


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


class _Phi3(ModuleArchitecture):
    qkv = "qkv_proj"
    gate_up = "gate_up_proj"
    window_from = "config"


class _Gpt2(ModuleArchitecture):
    layers = "transformer.h"
    embedding = "transformer.wte"
    positions = "transformer.wpe"
    rotary = ""
    final_norm = "transformer.ln_f"
    attention = "attn"
    attn_norm = "ln_1"
    mlp_norm = "ln_2"
    qkv = "c_attn"
    o = "c_proj"
    up = "c_fc"
    down = "c_proj"


BY_MODULES: Mapping[str, type[ModuleArchitecture]] = {
    "LlamaForCausalLM": ModuleArchitecture,
    "Qwen2ForCausalLM": ModuleArchitecture,
    "Qwen3ForCausalLM": ModuleArchitecture,
    "MistralForCausalLM": _Mistral,
    "SmolLM3ForCausalLM": _SmolLM3,
    "GraniteForCausalLM": _Granite,
    "GPT2LMHeadModel": _Gpt2,
    "GemmaForCausalLM": _Gemma,
    "Gemma2ForCausalLM": _Gemma2,
    "Gemma3ForCausalLM": _Gemma3,
    "PhiForCausalLM": PhiWithNorms,
    "Phi3ForCausalLM": _Phi3,
}
"""Class name in config.json, and the architecture that reads its modules."""
