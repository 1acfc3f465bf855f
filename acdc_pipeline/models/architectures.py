"""Which architectures the engine reproduces, and why the others are refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from acdc_pipeline.errors import UnsupportedModel, with_suggestion
from acdc_pipeline.models.bridge import NATIVE

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
    "Olmo2ForCausalLM": "OLMo 2",
    "Olmo3ForCausalLM": "OLMo 3",
    "Gemma2ForCausalLM": "Gemma 2",
    "Gemma3ForCausalLM": "Gemma 3",
    NATIVE: "TransformerLens native",
}

# Known families with a reason that tells the user something.
REFUSED: Mapping[str, str] = {
    "DeepseekV2ForCausalLM": "multi-head latent attention has no per-head key input",
    "DeepseekV3ForCausalLM": "multi-head latent attention has no per-head key input",
    "MixtralForCausalLM": "a mixture of experts routes tokens, so an MLP is not one node",
    "Qwen2MoeForCausalLM": "a mixture of experts routes tokens, so an MLP is not one node",
    "Qwen3MoeForCausalLM": "a mixture of experts routes tokens, so an MLP is not one node",
    "OlmoeForCausalLM": "a mixture of experts routes tokens, so an MLP is not one node",
    "GptOssForCausalLM": "attention sinks and a mixture of experts are not reproduced",
    "BloomForCausalLM": "ALiBi position biases are not reproduced",
    "MptForCausalLM": "ALiBi position biases are not reproduced",
    "MambaForCausalLM": "a state-space model has no attention heads",
    "Mamba2ForCausalLM": "a state-space model has no attention heads",
    "JambaForCausalLM": "state-space layers have no attention heads",
    "BertForMaskedLM": "an encoder predicts masked tokens, not the next one",
    "T5ForConditionalGeneration": "an encoder-decoder has two residual streams",
}


# Attention and MLP of a block read the same stream: always, or where this key of config.json
# says so (with what holds where the key is missing).
_PARALLEL: Mapping[str, tuple[str, bool] | None] = {
    "GPTJForCausalLM": None,
    "PhiForCausalLM": None,
    "CohereForCausalLM": None,
    "GPTNeoXForCausalLM": ("use_parallel_residual", True),
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


def refusal(architecture: str, config: Mapping[str, Any]) -> str | None:
    """Why `architecture` with this `config.json` is refused, or None if it is supported."""
    if architecture in REFUSED:
        return REFUSED[architecture]
    if architecture not in SUPPORTED:
        return "the engine does not reproduce it"
    for key, (value, reason) in _REFUSED_VALUES.get(architecture, {}).items():
        if key in config and config[key] == value:
            return f"{reason} ({key}: {json.dumps(value)})"
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
            allowed=with_suggestion(allowed, architecture, names),
            fix="acdc models list shows what is",
        )
