"""The smallest configurations that show what is peculiar about each architecture.

Prompts in tests have six tokens or more, so a window of three hides keys; soft caps are small
enough to bite; two query heads share one key/value head where an architecture groups them.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    """`{family}Config` with these fields, for a `{model}ForCausalLM`."""

    family: str
    fields: dict[str, Any]
    layers: str = "num_hidden_layers"
    model: str = ""

    def build(self, n_layers: int) -> Any:
        """The model, freshly initialised."""
        import transformers

        config = getattr(transformers, f"{self.family}Config")
        name = self.model or f"{self.family}ForCausalLM"
        return getattr(transformers, name)(config(**self.fields, **{self.layers: n_layers}))


MODELS: dict[str, HuggingFaceModel] = {
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
}
