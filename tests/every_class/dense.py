"""Dense decoders that are read from their own modules."""

from __future__ import annotations

from tests.every_class.tiny import (
    GROUPED,
    PARTIAL_ROTARY,
    ROTARY,
    SHARED_NORM,
    SIZES,
    TinyModel,
)
from tests.oracles.hugging_face_parts import Family, Layer

WINDOWS = {"sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]}

DENSE: tuple[TinyModel, ...] = (
    TinyModel(
        "ArceeForCausalLM",
        {**GROUPED, "attention_bias": True, "mlp_bias": True, "rope_parameters": ROTARY},
    ),
    TinyModel("CwmForCausalLM", {**GROUPED, **WINDOWS, "head_dim": 8, "rope_parameters": ROTARY}),
    TinyModel(
        "Emu3ForCausalLM",
        {**GROUPED, "attention_bias": True, "mlp_bias": True, "rope_parameters": ROTARY},
    ),
    TinyModel(
        "SeedOssForCausalLM",
        {**GROUPED, "attention_out_bias": True, "head_dim": 8, "rope_parameters": ROTARY},
    ),
    TinyModel("HeliumForCausalLM", {**GROUPED, "head_dim": 4, "rope_parameters": ROTARY}),
    TinyModel(
        "Ernie4_5ForCausalLM",
        {**GROUPED, "use_bias": True, "head_dim": 8, "rope_parameters": ROTARY},
    ),
    TinyModel(
        "NemotronForCausalLM",
        {**GROUPED, "attention_bias": True, "mlp_bias": True, "rope_parameters": PARTIAL_ROTARY},
    ),
    TinyModel("Jais2ForCausalLM", {**GROUPED, "rope_parameters": ROTARY}),
    TinyModel(
        "HunYuanDenseV1ForCausalLM",
        {**GROUPED, "head_dim": 8, "attention_bias": True, "rope_parameters": ROTARY},
    ),
    TinyModel(
        "ApertusForCausalLM",
        {**GROUPED, "attention_bias": True, "rope_parameters": ROTARY},
        Family(Layer(reads={"attention_layernorm": "a", "feedforward_layernorm": "m"})),
    ),
    TinyModel(
        "NanoChatForCausalLM",
        {**GROUPED, "final_logit_softcapping": 1.5, "rope_parameters": ROTARY},
    ),
    TinyModel(
        "BitNetForCausalLM",
        {**GROUPED, "attention_bias": True, "rope_parameters": ROTARY},
        Family(Layer(joined="self_attn.attn_sub_norm")),
    ),
    TinyModel(
        "MoshiForCausalLM",
        {
            **GROUPED,
            "ffn_dim": 48,
            "sliding_window": 3,
            "audio_encoder_config": {"model_type": "mimi"},
            "rope_parameters": ROTARY,
        },
    ),
    TinyModel(
        "MinistralForCausalLM", {**GROUPED, **WINDOWS, "head_dim": 8, "rope_parameters": ROTARY}
    ),
    TinyModel(
        "Ministral3ForCausalLM",
        {
            **GROUPED,
            "head_dim": 8,
            "sliding_window": 4,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 100.0,
                "factor": 6.0,
                "original_max_position_embeddings": 2,
                "llama_4_scaling_beta": 0.7,
                "mscale": 1.0,
                "mscale_all_dim": 0.5,
            },
        },
    ),
    TinyModel("GlmForCausalLM", {**GROUPED, "head_dim": 8, "rope_parameters": PARTIAL_ROTARY}),
    TinyModel(
        "Glm4ForCausalLM",
        {**GROUPED, "head_dim": 8, "rope_parameters": PARTIAL_ROTARY},
        Family(
            Layer(
                writes={"post_mlp_layernorm": "m"},
                after_heads="post_self_attn_layernorm",
            )
        ),
    ),
    TinyModel(
        "Cohere2ForCausalLM",
        {
            **GROUPED,
            **WINDOWS,
            "attention_bias": True,
            "logit_scale": 3.0,
            "rope_parameters": ROTARY,
        },
        Family(Layer(reads=SHARED_NORM)),
    ),
    TinyModel(
        "PhiForCausalLM",
        {**GROUPED, "qk_layernorm": True, "rope_parameters": PARTIAL_ROTARY},
        Family(Layer(reads=SHARED_NORM, output="self_attn.dense"), final="model.final_layernorm"),
    ),
    TinyModel(
        "CohereCompassForCausalLM",
        {
            **GROUPED,
            **WINDOWS,
            "logit_scale": 3.0,
            "rope_parameters": {"sliding_attention": ROTARY, "full_attention": None},
        },
        Family(Layer(reads=SHARED_NORM)),
    ),
    TinyModel(
        "Exaone4ForCausalLM",
        {**GROUPED, **WINDOWS, "rope_parameters": ROTARY},
        Family(
            Layer(
                reads={"self_attn": "a", "mlp": "m"},
                writes={"post_feedforward_layernorm": "m"},
                after_heads="post_attention_layernorm",
            )
        ),
    ),
    TinyModel(
        "HyperCLOVAXForCausalLM",
        {
            **GROUPED,
            "head_dim": 8,
            "embedding_multiplier": 2.0,
            "attention_multiplier": 0.5,
            "residual_multiplier": 0.7,
            "logits_scaling": 0.6,
            "mlp_bias": True,
            "rope_parameters": ROTARY,
        },
        Family(
            Layer(writes={"post_norm2": "m"}, after_heads="post_norm1"),
            scale=lambda config: config.residual_multiplier,
        ),
        threshold=0.003,
    ),
    TinyModel(
        "VaultGemmaForCausalLM",
        {
            **GROUPED,
            **WINDOWS,
            "head_dim": 8,
            "query_pre_attn_scalar": 5,
            "attn_logit_softcapping": 1.0,
            "final_logit_softcapping": 1.5,
            "attention_bias": True,
            "rope_parameters": ROTARY,
        },
        Family(Layer(reads={"input_layernorm": "a", "pre_feedforward_layernorm": "m"})),
    ),
    TinyModel(
        "DiffLlamaForCausalLM",
        {
            **SIZES,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "hidden_size": 32,
            "attention_bias": True,
            "rope_parameters": ROTARY,
        },
        Family(query_heads=2),
    ),
)
