"""Latent attention, sinks and gates."""

from __future__ import annotations

from typing import Any

from tests.every_class.tiny import GROUPED, ROTARY, SIZES, TinyModel
from tests.oracles.hugging_face_parts import Family, Layer

_LATENT: dict[str, Any] = {
    **SIZES,
    "num_key_value_heads": 2,
    "q_lora_rank": 6,
    "kv_lora_rank": 5,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "rope_parameters": ROTARY,
}
_MIXTURE: dict[str, Any] = {
    "n_routed_experts": 6,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 12,
    "n_group": 2,
    "topk_group": 1,
}
_WINDOWS = {"sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]}
_MIXED = {"mlp_layer_types": ["dense", "sparse"]}

LATENT: tuple[TinyModel, ...] = (
    TinyModel(
        "DeepseekV2ForCausalLM",
        {
            **_LATENT,
            **_MIXTURE,
            "q_lora_rank": None,
            "kv_lora_rank": 6,  # its rotation needs an even stride
            "first_k_dense_replace": 1,
            "topk_method": "greedy",
        },
    ),
    TinyModel("DeepseekV3ForCausalLM", {**_LATENT, **_MIXTURE, "first_k_dense_replace": 1}),
    *(
        TinyModel(
            name,
            {
                **_LATENT,
                **_MIXTURE,
                **_MIXED,
                "index_topk": 5,
                "index_n_heads": 2,
                "index_head_dim": 6,
                **more,
            },
        )
        for name, more in (
            ("DeepseekV32ForCausalLM", {}),
            ("GlmMoeDsaForCausalLM", {"indexer_types": ["full", "shared"]}),
        )
    ),
    TinyModel(
        "Mistral4ForCausalLM",
        {
            **_LATENT,
            **_MIXTURE,
            "first_k_dense_replace": 1,
            "rope_parameters": {
                **ROTARY,
                "rope_type": "yarn",
                "factor": 2.0,
                "original_max_position_embeddings": 2,
                "llama_4_scaling_beta": 0.5,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
            },
        },
    ),
    TinyModel("Glm4MoeLiteForCausalLM", {**_LATENT, **_MIXTURE, **_MIXED}),
    TinyModel("AXK1ForCausalLM", {**_LATENT, **_MIXTURE, **_MIXED}),
    TinyModel("YoutuForCausalLM", {**_LATENT, "rope_interleave": False}),
    TinyModel(
        "MiniCPM3ForCausalLM",
        {**_LATENT, "scale_emb": 2.0, "scale_depth": 1.1, "dim_model_base": 8},
        Family(scale=lambda config: config.scale_depth / config.num_hidden_layers**0.5),
    ),
    TinyModel(
        "GptOssForCausalLM",
        {
            **GROUPED,
            **_WINDOWS,
            "head_dim": 8,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "swiglu_limit": 1.0,
            "rope_parameters": ROTARY,
        },
    ),
    TinyModel(
        "AfmoeForCausalLM",
        {
            **GROUPED,
            **_WINDOWS,
            "head_dim": 8,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "num_shared_experts": 1,
            "num_dense_layers": 1,
            "moe_intermediate_size": 12,
            "route_scale": 1.5,
            "mup_enabled": True,
            "rope_parameters": ROTARY,
        },
        Family(
            Layer(
                reads={"input_layernorm": "a", "pre_mlp_layernorm": "m"},
                writes={"post_mlp_layernorm": "m"},
                after_heads="post_attention_layernorm",
            )
        ),
    ),
)
