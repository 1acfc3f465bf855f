"""Mixtures of experts: four experts or more, of which each token uses two."""

from __future__ import annotations

from typing import Any

from tests.every_class.tiny import GROUPED, PARTIAL_ROTARY, ROTARY, TinyModel
from tests.oracles.hugging_face_parts import Family, Layer

_MIXTURE: dict[str, Any] = {
    **GROUPED,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 12,
    "rope_parameters": ROTARY,
}
_WINDOWS = {"sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]}
_GROUPS = {"n_routed_experts": 6, "n_shared_experts": 1, "n_group": 2, "topk_group": 1}
_OTHER_ROTARY = {**ROTARY, "rope_theta": 1000.0}
_GRANITE: dict[str, Any] = {
    **GROUPED,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "embedding_multiplier": 2.0,
    "attention_multiplier": 0.5,
    "residual_multiplier": 0.7,
    "logits_scaling": 0.5,
    "rope_parameters": ROTARY,
}


def _scale(config: Any) -> float:
    return float(config.residual_multiplier)


def _tie(model: Any) -> None:
    """Give three of four experts the same score for every token, of which two are chosen."""
    for layer in model.model.layers:
        weight = layer.mlp.gate.weight.data
        weight[1:3] = weight[:1]


def _crowd(model: Any) -> None:
    """Send every token to the same two experts."""
    model.model.layers[1].mlp.gate.e_score_correction_bias[:2] = 5.0


_GLM: dict[str, Any] = {
    **_MIXTURE,
    **_GROUPS,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 1.5,
    "attention_bias": True,
    "use_qk_norm": True,
    "rope_parameters": PARTIAL_ROTARY,
}

MIXTURES: tuple[TinyModel, ...] = (
    TinyModel(
        "Qwen2MoeForCausalLM",
        {
            **_MIXTURE,
            **_WINDOWS,
            "use_sliding_window": True,
            "num_experts": 4,
            "shared_expert_intermediate_size": 8,
            "mlp_only_layers": [1],
        },
    ),
    TinyModel(
        "Qwen3MoeForCausalLM",
        {**_MIXTURE, "head_dim": 8, "num_experts": 4, "norm_topk_prob": True},
    ),
    TinyModel(
        "OlmoeForCausalLM",
        {**_MIXTURE, "num_experts": 4, "clip_qkv": 0.8},
        Family(Layer(spans=("self_attn.q_norm", "self_attn.k_norm"))),
    ),
    TinyModel(
        "FlexOlmoForCausalLM",
        {**_MIXTURE, "num_experts": 4},
        Family(
            Layer(
                reads={"self_attn": "a", "mlp": "m"},
                writes={"post_feedforward_layernorm": "m"},
                after_heads="post_attention_layernorm",
                spans=("self_attn.q_norm", "self_attn.k_norm"),
            )
        ),
    ),
    TinyModel("Glm4MoeForCausalLM", _GLM),
    TinyModel("Glm4MoeForCausalLM", _GLM, prepare=_crowd),
    TinyModel(
        "MixtralForCausalLM",
        {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_parameters": ROTARY},
        prepare=_tie,
    ),
    TinyModel(
        "Ernie4_5_MoeForCausalLM",
        {**_MIXTURE, "moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1},
        dtype="float32",  # of the router, whatever the type of the model
    ),
    TinyModel(
        "HunYuanMoEV1ForCausalLM",
        {**_MIXTURE, "head_dim": 4, "num_experts": 4, "moe_topk": 2},
        dtype="float32",  # of the router, whatever the type of the model
    ),
    TinyModel(
        "Dots1ForCausalLM",
        {**_MIXTURE, **_WINDOWS, **_GROUPS, "first_k_dense_replace": 1},
    ),
    TinyModel("SolarOpenForCausalLM", {**_MIXTURE, **_GROUPS, "head_dim": 4}),
    TinyModel(
        "MiniMaxM2ForCausalLM",
        {**_MIXTURE, "head_dim": 4, "num_local_experts": 4, "rope_parameters": PARTIAL_ROTARY},
        Family(Layer(spans=("self_attn.q_norm", "self_attn.k_norm"))),
    ),
    TinyModel(
        "HYV3ForCausalLM",
        {
            **_MIXTURE,
            "head_dim": 4,
            "num_experts": 4,
            "num_shared_experts": 1,
            "mlp_layer_types": ["dense", "sparse"],
        },
    ),
    TinyModel(
        "MellumForCausalLM",
        {
            **_MIXTURE,
            **_WINDOWS,
            "num_experts": 4,
            "mlp_layer_types": ["dense", "sparse"],
            "rope_parameters": {"sliding_attention": ROTARY, "full_attention": _OTHER_ROTARY},
        },
    ),
    TinyModel(
        "ExaoneMoeForCausalLM",
        {**_MIXTURE, **_WINDOWS, "num_experts": 4, "mlp_layer_types": ["dense", "sparse"]},
    ),
    TinyModel(
        "Kolibri1ForCausalLM",
        {
            **_MIXTURE,
            **_WINDOWS,
            "head_dim": 4,
            "num_experts": 4,
            "shared_expert_intermediate_size": 8,
        },
        Family(
            Layer(
                writes={"post_mlp_layernorm": "m"},
                after_heads="post_self_attn_layernorm",
            )
        ),
    ),
    TinyModel(
        "AriaTextForCausalLM",
        {
            **GROUPED,
            "moe_num_experts": 4,
            "moe_topk": 2,
            "moe_num_shared_experts": 1,
            "rope_parameters": ROTARY,
        },
    ),
    TinyModel(
        "GraniteMoeForCausalLM",
        _GRANITE,
        Family(Layer(writes={"block_sparse_moe": "m"}), scale=_scale),
    ),
    TinyModel(
        "GraniteMoeSharedForCausalLM",
        {**_GRANITE, "shared_intermediate_size": 8},
        Family(Layer(writes={"block_sparse_moe": "m", "shared_mlp": "m"}), scale=_scale),
    ),
    TinyModel(
        "MiniMaxM3VLForCausalLM",
        {
            **_MIXTURE,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 8,
            "num_local_experts": 4,
            "dense_intermediate_size": 20,
            "shared_intermediate_size": 8,
            "swiglu_limit": 0.5,
            "mlp_layer_types": ["dense", "sparse"],
            "layer_types": ["full_attention", "minimax_m3_sparse"],
            "index_n_heads": 1,
            "index_head_dim": 4,
            "index_block_size": 2,
            "index_topk_blocks": 3,
            "rope_parameters": PARTIAL_ROTARY,
        },
    ),
)
