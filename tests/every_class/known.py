"""Classes that are read through TransformerLens."""

from __future__ import annotations

from tests.every_class.tiny import (
    BOTH_NORMS,
    GROUPED,
    PARTIAL_ROTARY,
    ROTARY,
    SHARED_NORM,
    SIZES,
    TOKENS,
    TinyModel,
)
from tests.hugging_face_models import POSITIONS
from tests.oracles.hugging_face_patching import Family, Layer

KNOWN: tuple[TinyModel, ...] = (
    TinyModel(
        "LlamaForCausalLM",
        {**GROUPED, "attention_bias": True, "mlp_bias": True, "rope_parameters": ROTARY},
    ),
    TinyModel("Qwen3ForCausalLM", {**GROUPED, "head_dim": 8, "rope_parameters": ROTARY}),
    TinyModel(
        "GPTNeoXForCausalLM",
        {**SIZES, "rope_parameters": PARTIAL_ROTARY},
        Family(
            Layer(output="attention.dense", parallel=True),
            "gpt_neox.layers",
            "gpt_neox.final_layer_norm",
        ),
    ),
    TinyModel(
        "Gemma3ForCausalLM",
        {
            **GROUPED,
            "head_dim": 8,
            "query_pre_attn_scalar": 5,
            "sliding_window": 3,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {
                "sliding_attention": ROTARY,
                "full_attention": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 8.0},
            },
        },
        Family(BOTH_NORMS),
    ),
    TinyModel(
        "CohereForCausalLM",
        {**GROUPED, "logit_scale": 3.0, "use_qk_norm": True, "rope_parameters": ROTARY},
        Family(Layer(reads=SHARED_NORM)),
    ),
    TinyModel(
        "Olmo2ForCausalLM",
        {**GROUPED, "rope_parameters": ROTARY},
        Family(
            Layer(
                reads={"self_attn": "a", "mlp": "m"},
                writes={"post_feedforward_layernorm": "m"},
                after_heads="post_attention_layernorm",
                spans=("self_attn.q_norm", "self_attn.k_norm"),
            )
        ),
    ),
    TinyModel(
        "GPTJForCausalLM",
        {
            **TOKENS,
            "n_layer": 2,
            "n_head": 2,
            "n_embd": 16,
            "n_positions": POSITIONS,
            "rotary_dim": 4,
        },
        Family(
            Layer(reads={"ln_1": "am"}, output="attn.out_proj", method="_attn"),
            "transformer.h",
            "transformer.ln_f",
        ),
    ),
    TinyModel(
        "FalconForCausalLM",
        {**SIZES, "bias": True, "rope_parameters": ROTARY},
        Family(
            Layer(reads=SHARED_NORM, output="self_attention.dense", split="_split_heads"),
            "transformer.h",
            "transformer.ln_f",
        ),
    ),
    TinyModel(
        "OPTForCausalLM",
        {**SIZES, "word_embed_proj_dim": 16, "ffn_dim": 24, "pad_token_id": 1},
        Family(
            Layer(
                reads={"self_attn_layer_norm": "a", "final_layer_norm": "m"},
                writes={"fc2": "m"},
                output="self_attn.out_proj",
            ),
            "model.decoder.layers",
            "model.decoder.final_layer_norm",
        ),
    ),
    TinyModel(
        "GraniteForCausalLM",
        {
            **GROUPED,
            "embedding_multiplier": 2.0,
            "attention_multiplier": 0.5,
            "residual_multiplier": 0.7,
            "logits_scaling": 0.5,
            "attention_bias": True,
            "rope_parameters": ROTARY,
        },
        Family(scale=lambda config: config.residual_multiplier),
    ),
    TinyModel("ArceeForCausalLM", {**GROUPED, "rope_parameters": ROTARY}),
    TinyModel(
        "MixtralForCausalLM",
        {
            **GROUPED,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "sliding_window": 3,
            "rope_parameters": ROTARY,
        },
    ),
)
