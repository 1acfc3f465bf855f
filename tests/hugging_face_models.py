"""The smallest configurations that show what is peculiar about each architecture.

Prompts in tests have six tokens or more, so a window of three hides keys; soft caps are small
enough to bite; two query heads share one key/value head where an architecture groups them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

VOCAB = 23
POSITIONS = 12

_TOKENS = {"vocab_size": VOCAB, "bos_token_id": 0, "eos_token_id": 0}
_SIZES = {
    **_TOKENS,
    "num_attention_heads": 2,
    "hidden_size": 16,
    "intermediate_size": 24,
    "max_position_embeddings": POSITIONS,
}
_ROTARY = {"rope_type": "default", "rope_theta": 100.0}
_PARTIAL_ROTARY = {**_ROTARY, "partial_rotary_factor": 0.5}
_GROUPED = {"num_key_value_heads": 1}
_WINDOW = {"sliding_window": 3}


@dataclass(frozen=True)
class HuggingFaceModel:
    """`{family}Config` with these fields, for a `{family}ForCausalLM` or another `model`.

    `layers` is what the family calls its number of layers; `layer_types` are taken in turn.
    """

    family: str
    fields: dict[str, Any]
    layers: str = "num_hidden_layers"
    model: str = ""

    def build(self, n_layers: int) -> Any:
        """The model, freshly initialised."""
        import transformers

        fields = {**self.fields, self.layers: n_layers}
        if "layer_types" in fields:
            fields["layer_types"] = list(islice(cycle(fields["layer_types"]), n_layers))
        config = getattr(transformers, f"{self.family}Config")
        name = self.model or f"{self.family}ForCausalLM"
        return getattr(transformers, name)(config(**fields))


MODELS: dict[str, HuggingFaceModel] = {
    # Biases on every projection, and rotary frequencies rescaled as in Llama 3.1.
    "llama-biased": HuggingFaceModel(
        "Llama",
        {
            **_SIZES,
            **_GROUPED,
            "attention_bias": True,
            "mlp_bias": True,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 100.0,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        },
    ),
    # Every query sees the last three keys only; heads wider than hidden_size / heads.
    "mistral": HuggingFaceModel(
        "Mistral",
        {**_SIZES, **_GROUPED, **_WINDOW, "head_dim": 12, "rope_parameters": _ROTARY},
    ),
    # Biases on q, k, v but not on the output; the second layer has a window.
    "qwen2": HuggingFaceModel(
        "Qwen2",
        {
            **_SIZES,
            **_GROUPED,
            **_WINDOW,
            "use_sliding_window": True,
            "max_window_layers": 1,
            "rope_parameters": _ROTARY,
        },
    ),
    # LayerNorm with a gated MLP, half of each head rotated.
    "stablelm": HuggingFaceModel(
        "StableLm",
        {
            **_SIZES,
            "num_key_value_heads": 2,
            "use_qkv_bias": True,
            "rope_parameters": _PARTIAL_ROTARY,
        },
    ),
    # LayerNorm, biases everywhere, an MLP without a gate.
    "starcoder2": HuggingFaceModel(
        "Starcoder2", {**_SIZES, **_GROUPED, **_WINDOW, "rope_parameters": _ROTARY}
    ),
    # Attention and MLP behind one norm; neighbouring dimensions rotate; a bias on the logits.
    "gptj": HuggingFaceModel(
        "GPTJ",
        {**_TOKENS, "n_head": 2, "n_embd": 16, "n_positions": POSITIONS, "rotary_dim": 4},
        layers="n_layer",
    ),
    # Scores without a scale, a window in the second layer.
    "gpt-neo": HuggingFaceModel(
        "GPTNeo",
        {
            **_TOKENS,
            "num_heads": 2,
            "hidden_size": 16,
            "max_position_embeddings": POSITIONS,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 3,
        },
        layers="num_layers",
    ),
    # Position embeddings start at row 2.
    "opt": HuggingFaceModel(
        "OPT",
        {
            **_TOKENS,
            "num_attention_heads": 2,
            "hidden_size": 16,
            "word_embed_proj_dim": 16,
            "ffn_dim": 24,
            "max_position_embeddings": POSITIONS,
            "pad_token_id": 1,
        },
    ),
    # Norms scale by 1 + weight, embeddings by the root of the width.
    "gemma": HuggingFaceModel(
        "Gemma",
        {**_SIZES, **_GROUPED, "hidden_size": 12, "head_dim": 8, "rope_parameters": _ROTARY},
    ),
    # One matrix for q, k, v and one for gate and up.
    "phi3": HuggingFaceModel(
        "Phi3", {**_SIZES, **_GROUPED, **_WINDOW, "pad_token_id": 0, "rope_parameters": _ROTARY}
    ),
    # Queries and keys are normalised head by head; rotary tables are stretched and scaled by YaRN.
    "qwen3": HuggingFaceModel(
        "Qwen3",
        {
            **_SIZES,
            **_GROUPED,
            "head_dim": 8,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 100.0,
                "factor": 3.0,
                "original_max_position_embeddings": 4,
            },
        },
    ),
    # Attention and MLP behind one norm, LayerNorms of queries and keys with a weight per head.
    "stablelm-parallel": HuggingFaceModel(
        "StableLm",
        {
            **_SIZES,
            "num_key_value_heads": 2,
            "use_parallel_residual": True,
            "qk_layernorm": True,
            "rope_parameters": _PARTIAL_ROTARY,
        },
    ),
    # Attention and MLP behind one norm, biases everywhere, on the logits too.
    "phi": HuggingFaceModel(
        "Phi", {**_SIZES, "num_key_value_heads": 2, "rope_parameters": _PARTIAL_ROTARY}
    ),
    # Attention and MLP behind one norm, neighbouring dimensions rotate, logits are scaled.
    "cohere": HuggingFaceModel(
        "Cohere",
        {
            **_SIZES,
            **_GROUPED,
            "logit_scale": 3.0,
            "use_qk_norm": True,
            "pad_token_id": 0,
            "rope_parameters": _ROTARY,
        },
    ),
    # Norms after attention and MLP only; one norm across all queries of a layer, one for the keys.
    "olmo2": HuggingFaceModel(
        "Olmo2", {**_SIZES, **_GROUPED, "pad_token_id": 0, "rope_parameters": _ROTARY}
    ),
    # OLMo 2 with windows; layers that see everything rotate otherwise.
    "olmo3": HuggingFaceModel(
        "Olmo3",
        {
            **_SIZES,
            **_WINDOW,
            "num_key_value_heads": 2,
            "pad_token_id": 0,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {
                "sliding_attention": _ROTARY,
                "full_attention": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 8.0},
            },
        },
    ),
    # Norms before and after, soft caps on scores and logits, a window in the first layer, a
    # scale of the scores of its own.
    "gemma2": HuggingFaceModel(
        "Gemma2",
        {
            **_SIZES,
            **_GROUPED,
            **_WINDOW,
            "head_dim": 8,
            "query_pre_attn_scalar": 5,
            "attn_logit_softcapping": 1.0,
            "final_logit_softcapping": 2.0,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": _ROTARY,
        },
    ),
    # Queries and keys normalised head by head, two rotary bases, the wider one stretched.
    "gemma3": HuggingFaceModel(
        "Gemma3Text",
        {
            **_SIZES,
            **_GROUPED,
            **_WINDOW,
            "head_dim": 8,
            "query_pre_attn_scalar": 5,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {
                "sliding_attention": _ROTARY,
                "full_attention": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 8.0},
            },
        },
        model="Gemma3ForCausalLM",
    ),
    # One key/value head, q, k and v in one matrix, attention and MLP behind one norm.
    "falcon": HuggingFaceModel(
        "Falcon",
        {
            **_TOKENS,
            "num_attention_heads": 2,
            "hidden_size": 16,
            "ffn_hidden_size": 24,
            "max_position_embeddings": POSITIONS,
            "bias": True,
            "rope_parameters": _ROTARY,
        },
    ),
    # A sequential Falcon with keys and values for every head.
    "falcon-sequential": HuggingFaceModel(
        "Falcon",
        {
            **_TOKENS,
            "num_attention_heads": 2,
            "hidden_size": 16,
            "ffn_hidden_size": 24,
            "max_position_embeddings": POSITIONS,
            "multi_query": False,
            "parallel_attn": False,
            "rope_parameters": _ROTARY,
        },
    ),
    # Embeddings, scores, outputs and logits are all scaled.
    "granite": HuggingFaceModel(
        "Granite",
        {
            **_SIZES,
            **_GROUPED,
            "embedding_multiplier": 2.0,
            "attention_multiplier": 0.5,
            "residual_multiplier": 0.7,
            "logits_scaling": 0.5,
            "attention_bias": True,
            "rope_parameters": _ROTARY,
        },
    ),
    # The second layer does not rotate.
    "smollm3": HuggingFaceModel(
        "SmolLM3",
        {
            **_SIZES,
            **_GROUPED,
            "no_rope_layers": [1, 0],
            "pad_token_id": 0,
            "rope_parameters": _ROTARY,
        },
    ),
    # LayerNorms without weights.
    "olmo": HuggingFaceModel(
        "Olmo",
        {**_SIZES, "num_key_value_heads": 2, "pad_token_id": 0, "rope_parameters": _ROTARY},
    ),
}
