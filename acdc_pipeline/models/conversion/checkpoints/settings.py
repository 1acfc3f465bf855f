"""Settings of a model that its tensors cannot tell, under the names of TransformerLens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acdc_pipeline.errors import InvalidInput, UnsupportedModel, suggestion
from acdc_pipeline.models.config import (
    HEAD_WIDTH,
    HEADS,
    LAYERS,
    MLP_WIDTH,
    VOCABULARY,
    WIDTH,
)

FROM_TENSORS, ASSUMED = "tensors", "assumed"
"""Sources of a setting, beside options, files and checkpoints."""


@dataclass(frozen=True)
class Setting:
    """A setting of a model, and where its value comes from."""

    value: Any
    source: str


_SAME_FIELD = {
    **{
        name: names[0]
        for names in (LAYERS, HEADS, WIDTH, VOCABULARY, HEAD_WIDTH, MLP_WIDTH)
        for name in names
    },
    "block_size": "n_ctx",
    "n_positions": "n_ctx",
    "max_position_embeddings": "n_ctx",
    "act_type": "act_fn",
    "activation_function": "act_fn",
    "layer_norm_epsilon": "eps",
}
SIZES = (
    "n_layers",
    "d_model",
    "n_heads",
    "n_key_value_heads",
    "d_head",
    "d_mlp",
    "n_ctx",
    "d_vocab",
    "d_vocab_out",
)
_CHOICES = {
    "act_fn": ("gelu", "gelu_new", "relu", "silu"),
    "normalization_type": ("LN", "LNPre", "RMS", "RMSPre", "none"),
    "positional_embedding_type": ("standard", "rotary", "none"),
    "attention_dir": ("causal", "bidirectional"),
}
ACTIVATIONS, NORMALIZATIONS, POSITIONS, _ = _CHOICES.values()
_NUMBERS = ("eps", "rotary_base", "attn_scale", "attn_scores_soft_cap", "output_logits_soft_cap")
_FLAGS = ("attn_only", "gated_mlp", "final_rms", "use_attn_scale", "rotary_adjacent_pairs")
_FIELDS = (*SIZES, *_CHOICES, *_NUMBERS, *_FLAGS, "rotary_dim")

_SAME_VALUE = {
    "swish": "silu",
    "gelu_fast": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "ln": "LN",
    "lnpre": "LNPre",
    "rms": "RMS",
    "rmspre": "RMSPre",
}
# Features that are reproduced only where they are switched off.
_OFF = (
    "parallel_attn_mlp",
    "use_local_attn",
    "window_size",
    "attn_types",
    "use_qk_norm",
    "qk_norm_after_rope",
    "scale_attn_by_inverse_layer_idx",
    "num_experts",
    "experts_per_token",
    "post_embedding_ln",
    "relative_attention_max_distance",
    "relative_attention_num_buckets",
    "scale_embedding",
    "use_normalization_before_and_after",
    "use_NTK_by_parts_rope",
    "rmsnorm_uses_offset",
    "rotary_interleaved_cos_sin",
    "rope_scaling",
    "uses_rms_norm",
)
# Fields of a HookedTransformerConfig, a TransformerBridgeConfig or nanoGPT's arguments without
# influence on the outputs; whether there are biases is seen in the tensors.
_WITHOUT_INFLUENCE = frozenset(
    [
        "architecture",
        "architectures",
        "bias",
        "checkpoint_index",
        "checkpoint_label_type",
        "checkpoint_value",
        "decoder_start_token_id",
        "default_padding_side",
        "default_prepend_bos",
        "device",
        "dropout",
        "dtype",
        "from_checkpoint",
        "init_mode",
        "init_weights",
        "initializer_range",
        "layer_norm_folding",
        "load_in_4bit",
        "model_name",
        "model_type",
        "n_devices",
        "n_params",
        "NTK_by_parts_factor",
        "NTK_by_parts_high_freq_factor",
        "NTK_by_parts_low_freq_factor",
        "original_architecture",
        "seed",
        "split_attention_weights",
        "tie_word_embeddings",
        "tokenizer_appends_eos",
        "tokenizer_name",
        "tokenizer_prepends_bos",
        "trust_remote_code",
        "ungroup_grouped_query_attention",
        "use_attn_in",
        "use_attn_result",
        "use_hook_mlp_in",
        "use_hook_tokens",
        "use_split_qkv_input",
        "weight_init_mode",
    ]
)


def read_settings(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the settings in `given`, under the names of TransformerLens.

    Values that mean "not set" (None, and -1 for numbers) are left out, except that a normalization
    of None is `none`.

    Raises:
        InvalidInput: an unknown field, or a value that is none of its field.
        UnsupportedModel: a feature that models of this format do not have is switched on.
    """
    known = {*_FIELDS, *_SAME_FIELD, *_OFF, *_WITHOUT_INFLUENCE}
    for name in given:
        if name not in known:
            raise InvalidInput(
                f"unknown key{suggestion(name, known)}",
                where=where,
                field=name,
                allowed=", ".join(_FIELDS),
            )
    return read_known_settings(given, where)


def read_known_settings(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the same as `read_settings`, ignoring unknown fields: those of the training."""
    out: dict[str, Any] = {}
    for key, value in given.items():
        name = _SAME_FIELD.get(key, key)
        if name in _OFF and value not in (None, False, -1) and value:
            raise UnsupportedModel(
                f"models with {name} ({value!r}) are not reproduced", where=where, field=key
            )
        if name not in _FIELDS or (value in (None, -1) and name != "normalization_type"):
            continue
        read = _read_value(name, value, where, key)
        if out.setdefault(name, read) != read:
            raise InvalidInput(f"{read!r} contradicts {out[name]!r}", where=where, field=key)
    return out


def _read_value(name: str, value: Any, where: str, key: str) -> Any:
    flag = isinstance(value, bool)
    if name in _FLAGS:
        valid, allowed = flag, "true, false"
    elif name in SIZES or name == "rotary_dim":
        valid = isinstance(value, int) and not flag and value > 0
        allowed = "a whole number above 0"
    elif name in _NUMBERS:
        valid = isinstance(value, int | float) and not flag and 0 < value < float("inf")
        allowed = "a number above 0"
    else:
        value = "none" if value is None else value
        lower = str(value).lower()
        value = _SAME_VALUE.get(lower, lower)
        valid, allowed = value in _CHOICES[name], ", ".join(_CHOICES[name])
    if not valid:
        raise InvalidInput(
            f"{value!r} is not a value of {name}", where=where, field=key, allowed=allowed
        )
    return value
