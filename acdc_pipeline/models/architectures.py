"""Which architectures the engine reproduces, and why the others are refused by name."""

from __future__ import annotations

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


def refusal(architecture: str, config: Mapping[str, Any]) -> str | None:
    """Why `architecture` with this `config.json` is refused, or None if it is supported."""
    if architecture in REFUSED:
        return REFUSED[architecture]
    if architecture not in SUPPORTED:
        return "the engine does not reproduce it"
    if architecture == "GPT2LMHeadModel" and config.get("add_cross_attention"):
        return "cross-attention has a second residual stream"
    if architecture == NATIVE:
        return _native_refusal(config)
    return None


def _native_refusal(config: Mapping[str, Any]) -> str | None:
    for cap in ("attn_scores_soft_cap", "output_logits_soft_cap"):
        if (config.get(cap) or -1.0) > 0:
            return f"{cap} is not reproduced"
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
