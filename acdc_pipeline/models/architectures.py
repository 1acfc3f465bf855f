"""Which architectures the engine reproduces, and why the others are refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.directory import NATIVE
from acdc_pipeline.models.refused import REFUSED

# Class name as config.json states it, and what a person calls it.
SUPPORTED: Mapping[str, str] = {
    "GPT2LMHeadModel": "GPT-2",
    "GPTNeoXForCausalLM": "GPT-NeoX (Pythia)",
    "LlamaForCausalLM": "Llama",
    "MistralForCausalLM": "Mistral",
    "Qwen2ForCausalLM": "Qwen2",
    "StableLmForCausalLM": "StableLM",
    "Starcoder2ForCausalLM": "Starcoder2",
    "GPTJForCausalLM": "GPT-J",
    "GPTNeoForCausalLM": "GPT-Neo",
    "OPTForCausalLM": "OPT",
    "GemmaForCausalLM": "Gemma",
    "Phi3ForCausalLM": "Phi-3",
    "Qwen3ForCausalLM": "Qwen3",
    "PhiForCausalLM": "Phi-1 and Phi-2",
    "CohereForCausalLM": "Cohere (Command R)",
    "FalconForCausalLM": "Falcon",
    "GraniteForCausalLM": "Granite",
    "SmolLM3ForCausalLM": "SmolLM3",
    "OlmoForCausalLM": "OLMo",
    "Olmo2ForCausalLM": "OLMo 2",
    "Olmo3ForCausalLM": "OLMo 3",
    "Gemma2ForCausalLM": "Gemma 2",
    "Gemma3ForCausalLM": "Gemma 3",
    NATIVE: "TransformerLens native",
}

# Attention and MLP of a block read the same stream: always, or where this key of config.json
# says so (with what holds where the key is missing).
_PARALLEL: Mapping[str, tuple[str, bool] | None] = {
    "GPTJForCausalLM": None,
    "PhiForCausalLM": None,
    "CohereForCausalLM": None,
    "GPTNeoXForCausalLM": ("use_parallel_residual", True),
    "FalconForCausalLM": ("parallel_attn", True),
    "StableLmForCausalLM": ("use_parallel_residual", False),
}

_BIAS_BEFORE_NORM = {
    "attention_bias": (
        True,
        "the norm after the attention would scale a bias that belongs to no head",
    ),
}

# Values of config.json that turn a supported architecture into something else.
_REFUSED_VALUES: Mapping[str, Mapping[str, tuple[Any, str]]] = {
    "GPT2LMHeadModel": {
        "add_cross_attention": (True, "cross-attention has a second residual stream"),
    },
    "GPTJForCausalLM": {
        "rotary_dim": (None, "rotary tables wider than a head are not reproduced"),
    },
    "OPTForCausalLM": {
        "do_layer_norm_before": (
            False,
            "its norms stand on the residual stream, which then is no sum of outputs",
        ),
        "_remove_final_layer_norm": (True, "it lacks the final norm"),
    },
    "FalconForCausalLM": {
        "alibi": (True, "ALiBi position biases are not reproduced"),
        "new_decoder_architecture": (
            True,
            "TransformerLens cannot take its fused projections apart",
        ),
    },
    "Olmo2ForCausalLM": _BIAS_BEFORE_NORM,
    "Olmo3ForCausalLM": _BIAS_BEFORE_NORM,
    "Gemma2ForCausalLM": _BIAS_BEFORE_NORM,
    "Gemma3ForCausalLM": {
        **_BIAS_BEFORE_NORM,
        "use_bidirectional_attention": (True, "it reads its prompts from both sides"),
    },
    "PhiForCausalLM": {
        "qk_layernorm": (True, "TransformerLens leaves its norms of queries and keys out"),
    },
}


def is_parallel(architecture: str, config: Mapping[str, Any]) -> bool:
    """Whether attention and MLP of a block read the same residual stream."""
    if architecture not in _PARALLEL:
        return False
    key = _PARALLEL[architecture]
    return key is None or bool(config.get(key[0], key[1]))


def kv_heads(architecture: str, config: Mapping[str, Any], n_heads: int) -> int:
    """How many key/value heads a layer has."""
    if architecture == "FalconForCausalLM":
        return 1 if config.get("multi_query", True) else n_heads
    return int(config.get("num_key_value_heads") or config.get("n_key_value_heads") or n_heads)


def refusal(architecture: str, config: Mapping[str, Any]) -> str | None:
    """Why `architecture` with this `config.json` is refused, or None if it is supported."""
    if architecture in REFUSED:
        return REFUSED[architecture]
    if architecture not in SUPPORTED:
        return "the engine does not reproduce it"
    for key, (value, reason) in _REFUSED_VALUES.get(architecture, {}).items():
        if key in config and config[key] == value:
            return f"{reason} ({key}: {json.dumps(value)})"
    if config.get("clip_qkv") is not None:
        return "queries, keys and values that are clipped are not reproduced (clip_qkv)"
    if architecture == "OPTForCausalLM" and config.get("word_embed_proj_dim") not in (
        None,
        config.get("hidden_size"),
    ):
        return "its embeddings are projected to the width of the stream"
    if architecture == NATIVE:
        return _native_refusal(config)
    return None


def _native_refusal(config: Mapping[str, Any]) -> str | None:
    if config.get("parallel_attn_mlp"):
        return "TransformerLens native ignores parallel_attn_mlp, so its own output is wrong"
    if str(config.get("act_fn")).startswith("solu"):
        return "SoLU activations are not reproduced"
    return None


def require_supported(architecture: str, config: Mapping[str, Any], where: str) -> None:
    """Raises UnsupportedModel, naming architecture and reason, unless the engine reproduces it."""
    reason = refusal(architecture, config)
    if reason is not None:
        names = [name for name in SUPPORTED if name != NATIVE]
        allowed = f"{', '.join(names)}, or a TransformerLens-format directory"
        raise UnsupportedModel(
            f"architecture '{architecture}' is not supported: {reason}",
            where=where,
            allowed=allowed,
            fix="acdc models list shows what is",
        )
