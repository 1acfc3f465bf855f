"""Later decoders, each with an attention, a stream or parts of its own."""

from __future__ import annotations

from typing import Any

from tests.every_class.tiny import GROUPED, PARTIAL_ROTARY, ROTARY, SHARED_NORM, TOKENS, TinyModel
from tests.oracles.hugging_face_parts import Family, Layer

_OTHER_ROTARY = {**PARTIAL_ROTARY, "rope_theta": 1000.0}
_WINDOWS = {"sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]}
_BOTH_ROTARIES = {"rope_parameters": {"sliding_attention": ROTARY, "full_attention": _OTHER_ROTARY}}
_ROTARY_IN_WINDOWS = {"rope_parameters": {"sliding_attention": ROTARY, "full_attention": None}}
_MIXTURE: dict[str, Any] = {
    **GROUPED,
    "head_dim": 8,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 12,
    "shared_expert_intermediate_size": 8,
    "mlp_layer_types": ["dense", "sparse"],
    "rope_parameters": ROTARY,
}
_GRANITE: dict[str, Any] = {
    **GROUPED,
    **_WINDOWS,
    "embedding_multiplier": 2.0,
    "attention_multiplier": 0.5,
    "residual_multiplier": 0.7,
    "logits_scaling": 0.5,
    "rope_parameters": ROTARY,
    "layer_rope_theta": [100.0, 0.0],
}
_FOUR_NORMS = {"input_layernorm": "a", "pre_feedforward_layernorm": "m"}
_GEMMA4: dict[str, Any] = {
    **GROUPED,
    **_WINDOWS,
    **_BOTH_ROTARIES,
    "head_dim": 4,
    "global_head_dim": 8,
    "attention_k_eq_v": True,
    "num_global_key_value_heads": 1,
    "final_logit_softcapping": 2.0,
}
_KIMI: dict[str, Any] = {
    **GROUPED,
    "num_key_value_heads": 4,
    "kv_lora_rank": 6,
    "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 4,
    "v_head_dim": 6,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "moe_intermediate_size": 12,
    "layer_types": ["linear_attention", "full_attention"],
    "mlp_layer_types": ["dense", "sparse"],
}


def _residual_multiplier(config: Any) -> float:
    return float(config.residual_multiplier)


def _gemma4_family(**more: Any) -> Family:
    def stream(layer: Any) -> tuple[float, float, float, float]:
        return 1.0, 1.0, float(layer.layer_scalar), float(layer.layer_scalar)

    layer = Layer(
        reads=_FOUR_NORMS,
        writes={"post_feedforward_layernorm": "m"},
        after_heads="post_attention_layernorm",
        **more,
    )
    return Family(layer, stream=stream)


def _beam_stream(layer: Any) -> tuple[float, float, float, float]:
    first, second = layer.attn_residual_add_idx, layer.mlp_residual_add_idx
    return ((first - 1) / first) ** 0.5, first**-0.5, ((second - 1) / second) ** 0.5, second**-0.5


def _scale_stream(model: Any) -> None:
    for index, layer in enumerate(model.model.layers):
        layer.layer_scalar.fill_(0.6 + index)


def _fill_sinks(model: Any) -> None:
    for layer in model.model.layers:
        layer.self_attn.sinks.data.normal_()


def _nemotron_layer(index: int, config: Any) -> Layer:
    kinds = {"linear_attention": "r", "full_attention": "a"}
    part = kinds.get(config.layers_block_type[index], "m")
    writes = {} if part == "a" else {"mixer": part}
    return Layer(reads={"norm": part}, writes=writes, output="mixer.o_proj")


def _griffin_layer(index: int, config: Any) -> Layer:
    part = "r" if config.layers_block_type[index] == "linear_attention" else "a"
    mixer = {"temporal_block": "r"} if part == "r" else {}
    return Layer(
        reads={"temporal_pre_norm": part, "channel_pre_norm": "m"},
        writes={**mixer, "mlp_block": "m"},
        output="temporal_block.o_proj",
    )


def _kimi_layer(index: int, config: Any) -> Layer:
    part = "r" if config.layer_types[index] == "linear_attention" else "a"
    mixer = {"self_attn": "r"} if part == "r" else {}
    return Layer(
        reads={"input_layernorm": part, "post_attention_layernorm": "m"},
        writes={**mixer, "mlp": "m"},
        output="self_attn.o_proj" if part == "a" else "none",
    )


LATER: tuple[TinyModel, ...] = (
    TinyModel(
        "Llama4ForCausalLM",
        {
            **_MIXTURE,
            "num_local_experts": 4,
            "intermediate_size_mlp": 20,
            "moe_layers": [1],
            "no_rope_layers": [1, 0],
            "attention_chunk_size": 3,
            "floor_scale": 2,
            "attn_scale": 0.5,
            "attention_bias": True,
        },
        Family(Layer(writes={"feed_forward": "m"})),
    ),
    TinyModel(
        "PhimoeForCausalLM",
        {
            **GROUPED,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "router_jitter_noise": 0.3,
            "attention_bias": True,
            "lm_head_bias": True,
            "sliding_window": 3,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 100.0,
                "short_factor": [1.0, 1.5],
                "long_factor": [2.0, 3.0],
                "short_mscale": 1.2,
                "long_mscale": 1.4,
                "original_max_position_embeddings": 8,
            },
        },
    ),
    TinyModel(
        "DbrxForCausalLM",
        {
            **TOKENS,
            "n_layers": 2,
            "n_heads": 4,
            "d_model": 16,
            "max_seq_len": 12,
            "attn_config": {"clip_qkv": 0.8, "kv_n_heads": 2, "rope_theta": 100.0},
            "ffn_config": {"ffn_hidden_size": 12, "moe_num_experts": 4, "moe_top_k": 2},
            "rope_parameters": ROTARY,
        },
        Family(
            Layer(
                reads={"norm_attn_norm.norm_1": "a", "norm_attn_norm.norm_2": "m"},
                writes={"ffn": "m"},
                output="norm_attn_norm.attn.out_proj",
            ),
            layers="transformer.blocks",
            final="transformer.norm_f",
        ),
    ),
    TinyModel(
        "Cohere2MoeForCausalLM",
        {
            **_MIXTURE,
            **_WINDOWS,
            "prefix_dense_intermediate_size": 20,
            "prefix_dense_sliding_window_pattern": 2,
            "num_shared_experts": 1,
            "logit_scale": 0.5,
            "attention_bias": True,
        },
        Family(Layer(reads=SHARED_NORM)),
    ),
    TinyModel(
        "GraniteSWAForCausalLM",
        {**_GRANITE, "attention_bias": True},
        Family(scale=_residual_multiplier),
        prepare=_fill_sinks,
    ),
    TinyModel(
        "GraniteMoeSWAForCausalLM",
        {
            **_GRANITE,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 8,
        },
        Family(
            Layer(writes={"block_sparse_moe": "m", "shared_mlp": "m"}), scale=_residual_multiplier
        ),
        prepare=_fill_sinks,
    ),
    TinyModel(
        "FlintForCausalLM",
        {**_MIXTURE, **_WINDOWS, "mlp_only_layers": [0], "attention_bias": True},
        dtype="float32",
    ),
    TinyModel(
        "MiMoV2FlashForCausalLM",
        {
            **_MIXTURE,
            **_WINDOWS,
            **_BOTH_ROTARIES,
            "num_key_value_heads": 1,
            "v_head_dim": 6,
            "n_routed_experts": 4,
            "n_group": 2,
            "topk_group": 1,
            "attention_value_scale": 0.6,
            "attention_bias": True,
        },
    ),
    TinyModel(
        "LagunaForCausalLM",
        {
            **_MIXTURE,
            **_WINDOWS,
            **_BOTH_ROTARIES,
            "attention_bias": True,
            "moe_router_logit_softcapping": 1.0,
            "moe_routed_scaling_factor": 1.5,
        },
    ),
    TinyModel(
        "LagunaForCausalLM",
        {**_MIXTURE, **_WINDOWS, **_BOTH_ROTARIES, "gating": "per-element"},
    ),
    TinyModel(
        "BeamForCausalLM",
        {
            **_MIXTURE,
            **_WINDOWS,
            **_ROTARY_IN_WINDOWS,
            "n_group": 2,
            "topk_group": 1,
            "final_logit_softcapping": 2.0,
        },
        Family(
            Layer(
                reads=_FOUR_NORMS,
                writes={"post_feedforward_layernorm": "m"},
                after_heads="post_attention_layernorm",
            ),
            stream=_beam_stream,
        ),
    ),
    TinyModel(
        "Gemma4ForCausalLM",
        {**_GEMMA4, "hidden_size_per_layer_input": 0},
        _gemma4_family(),
        prepare=_scale_stream,
    ),
    TinyModel(
        "Gemma4ForCausalLM",
        {
            **_GEMMA4,
            "hidden_size_per_layer_input": 0,
            "enable_moe_block": True,
            "num_experts": 4,
            "top_k_experts": 2,
            "moe_intermediate_size": 12,
        },
        _gemma4_family(rereads={"router": "m", "pre_feedforward_layernorm_2": "m"}),
        prepare=_scale_stream,
    ),
    TinyModel("Gemma4UnifiedForCausalLM", _GEMMA4, _gemma4_family(), prepare=_scale_stream),
    TinyModel(
        "FalconH1ForCausalLM",
        {
            **GROUPED,
            "mamba_d_ssm": 32,
            "mamba_d_state": 4,
            "mamba_d_conv": 2,
            "mamba_n_heads": 4,
            "mamba_d_head": 8,
            "mamba_n_groups": 2,
            "mamba_chunk_size": 4,
            "embedding_multiplier": 2.0,
            "lm_head_multiplier": 0.5,
            "mlp_multipliers": [0.8, 1.3],
            "key_multiplier": 0.6,
            "attention_in_multiplier": 1.2,
            "attention_out_multiplier": 1.3,
            "ssm_multipliers": [0.7, 0.8, 0.9, 1.1, 1.2],
            "ssm_in_multiplier": 0.9,
            "ssm_out_multiplier": 0.7,
            "attention_bias": True,
            "rope_parameters": ROTARY,
        },
        Family(
            Layer(
                reads={"input_layernorm": "ar", "pre_ff_layernorm": "m"},
                writes={"mamba": "r", "feed_forward": "m"},
            ),
            final="model.final_layernorm",
            scale=lambda config: {
                "a": config.attention_out_multiplier,
                "r": config.ssm_out_multiplier,
                "m": 1.0,
            },
        ),
        threshold=0.005,
    ),
    TinyModel(
        "NemotronHForCausalLM",
        {
            **{key: value for key, value in GROUPED.items() if key != "num_hidden_layers"},
            "layers_block_type": ["linear_attention", "full_attention", "moe", "mlp"],
            "mamba_num_heads": 4,
            "mamba_head_dim": 8,
            "ssm_state_size": 4,
            "n_groups": 2,
            "conv_kernel": 2,
            "chunk_size": 4,
            "head_dim": 8,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
            "moe_shared_expert_intermediate_size": 8,
            "mlp_bias": True,
        },
        Family(_nemotron_layer, final="model.norm_f"),
    ),
    TinyModel(
        "RecurrentGemmaForCausalLM",
        {
            **GROUPED,
            "lru_width": 16,
            "conv1d_width": 2,
            "block_types": ["recurrent", "attention"],
            "attention_window_size": 3,
            "logits_soft_cap": 2.0,
            "attention_bias": True,
            "rope_parameters": PARTIAL_ROTARY,
        },
        Family(_griffin_layer, final="model.final_norm"),
    ),
    TinyModel(
        "Lfm3ForCausalLM",
        {
            **GROUPED,
            "num_hidden_layers": 3,
            "layer_types": ["conv", "sliding_attention", "full_attention"],
            "sliding_window": 3,
            "head_dim": 8,
            "conv_L_cache": 3,
            "conv_bias": True,
            "rope_parameters": {
                "sliding_attention": ROTARY,
                "full_attention": {**_OTHER_ROTARY, "rope_type": "proportional"},
            },
        },
        Family(
            lambda index, config: Layer(
                reads={"operator_norm": "ar", "ffn_norm": "m"},
                writes={"post_operator_norm": "r", "post_ffn_norm": "m"}
                if config.layer_types[index] == "conv"
                else {"post_ffn_norm": "m"},
                after_heads="" if config.layer_types[index] == "conv" else "post_operator_norm",
            ),
            final="model.embedding_norm",
        ),
    ),
    TinyModel(
        "KimiLinearForCausalLM",
        {**_KIMI, "linear_num_heads": 2, "linear_head_dim": 8},
        Family(_kimi_layer),
    ),
    TinyModel(
        "BailingHybridForCausalLM",
        {**_KIMI, "head_dim": 4, "rope_parameters": ROTARY},
        Family(_kimi_layer),
    ),
)
