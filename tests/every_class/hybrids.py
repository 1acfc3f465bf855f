"""Hybrids: one layer with a mixer, one with attention."""

from __future__ import annotations

from typing import Any

from tests.every_class.tiny import GROUPED, PARTIAL_ROTARY, ROTARY, TinyModel
from tests.oracles.hugging_face_parts import Family, Layer

_LAYERS = {"layer_types": ["linear_attention", "full_attention"]}
_MIXER_OR_HEADS = {"input_layernorm": "ar", "post_attention_layernorm": "m"}
DELTA_NETS: dict[str, Any] = {
    **GROUPED,
    **_LAYERS,
    "head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "linear_conv_kernel_dim": 2,
    "rope_parameters": PARTIAL_ROTARY,
}
GATED_MIXTURE = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 12,
    "shared_expert_intermediate_size": 8,
}
DELTA_LAYER = Layer(reads=_MIXER_OR_HEADS, writes={"linear_attn": "r", "mlp": "m"})
_DELTA_FAMILY = Family(DELTA_LAYER)
_LFM2: dict[str, Any] = {
    **GROUPED,
    "layer_types": ["conv", "full_attention"],
    "conv_L_cache": 3,
    "conv_bias": True,
    "rope_parameters": ROTARY,
}
_LFM2_FAMILY = Family(
    Layer(
        reads={"operator_norm": "ar", "ffn_norm": "m"},
        writes={"conv": "r", "feed_forward": "m"},
        output="self_attn.out_proj",
    ),
    final="model.embedding_norm",
)
_MAMBA: dict[str, Any] = {
    **GROUPED,
    "mamba_d_state": 4,
    "mamba_d_conv": 2,
    "mamba_expand": 2,
    "rope_parameters": PARTIAL_ROTARY,
}
_MAMBA2: dict[str, Any] = {
    **_MAMBA,
    "mamba_n_heads": 4,
    "mamba_d_head": 8,
    "mamba_n_groups": 2,
    "mamba_chunk_size": 4,
}
_MAMBA_FAMILY = Family(
    Layer(
        reads={"input_layernorm": "ar", "pre_ff_layernorm": "m"},
        writes={"mamba": "r", "feed_forward": "m"},
    ),
    final="model.final_layernorm",
)


def _olmo_layer(index: int, config: Any) -> Layer:
    if config.layer_types[index] == "linear_attention":
        return Layer(
            reads={"input_layernorm": "r", "post_attention_layernorm": "m"},
            writes={"linear_attn": "r", "mlp": "m"},
        )
    return Layer(
        reads={"self_attn": "a", "mlp": "m"},
        writes={"post_feedforward_layernorm": "m"},
        after_heads="post_attention_layernorm",
        spans=("self_attn.q_norm", "self_attn.k_norm"),
    )


HYBRIDS: tuple[TinyModel, ...] = (
    TinyModel("Qwen3NextForCausalLM", {**DELTA_NETS, **GATED_MIXTURE}, _DELTA_FAMILY),
    TinyModel("Qwen3_5ForCausalLM", DELTA_NETS, _DELTA_FAMILY),
    TinyModel("Qwen3_5MoeForCausalLM", {**DELTA_NETS, **GATED_MIXTURE}, _DELTA_FAMILY),
    TinyModel("Lfm2ForCausalLM", _LFM2, _LFM2_FAMILY),
    TinyModel(
        "Lfm2MoeForCausalLM",
        {
            **_LFM2,
            "num_dense_layers": 1,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
        },
        _LFM2_FAMILY,
    ),
    TinyModel("BambaForCausalLM", {**_MAMBA2, "attn_layer_indices": [1]}, _MAMBA_FAMILY),
    TinyModel(
        "JambaForCausalLM",
        {
            **_MAMBA,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "mamba_dt_rank": 4,
        },
        _MAMBA_FAMILY,
    ),
    TinyModel(
        "GraniteMoeHybridForCausalLM",
        {
            **_MAMBA2,
            **_LAYERS,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 8,
            "embedding_multiplier": 2.0,
            "attention_multiplier": 0.5,
            "residual_multiplier": 0.7,
            "logits_scaling": 0.5,
            "position_embedding_type": "nope",
        },
        Family(
            Layer(
                reads=_MIXER_OR_HEADS,
                writes={"mamba": "r", "block_sparse_moe": "m", "shared_mlp": "m"},
            ),
            scale=lambda config: config.residual_multiplier,
        ),
    ),
    TinyModel(
        "OlmoHybridForCausalLM",
        {**DELTA_NETS, "linear_allow_neg_eigval": True, "rope_parameters": ROTARY},
        Family(_olmo_layer),
        dtype="float32",  # of the delta net's states, whatever the type of the model
    ),
)
