"""Text models of classes that also read images: those of later and rarer kinds."""

from __future__ import annotations

from typing import Any

from tests.every_class.dense import DENSE
from tests.every_class.hybrids import HYBRIDS
from tests.every_class.inside import (
    AXES,
    ENCODER,
    ONE_KEY,
    QWEN,
    QWEN_ENCODER,
    SIGLIP,
    around,
    inside,
)
from tests.every_class.latent import LATENT
from tests.every_class.later import LATER
from tests.every_class.mixtures import MIXTURES
from tests.every_class.tiny import BOTH_NORMS, ROTARY, TinyModel
from tests.oracles.hugging_face_parts import Family, Layer

_TEXT = {tiny.name: tiny for tiny in reversed((*DENSE, *MIXTURES, *HYBRIDS, *LATENT, *LATER))}
_WINDOWS = {"sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]}
_FEW_HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1}
_MIXTURE: dict[str, Any] = {
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 12,
    "n_shared_experts": 1,
    "mlp_layer_types": ["dense", "sparse"],
}
_GRANITE = TinyModel(
    "",
    {
        **ONE_KEY,
        "embedding_multiplier": 2.0,
        "attention_multiplier": 0.5,
        "residual_multiplier": 0.7,
        "logits_scaling": 0.5,
    },
    Family(scale=lambda config: config.residual_multiplier),
)

SEEING_LATER: tuple[TinyModel, ...] = (
    around(
        "AyaVisionForConditionalGeneration",
        _TEXT["Cohere2ForCausalLM"],
        SIGLIP,
        kind="cohere2",
        changes=_FEW_HEADS,
    ),
    around(
        "Cohere2VisionForConditionalGeneration",
        _TEXT["Cohere2ForCausalLM"],
        {**SIGLIP, "alignment_intermediate_size": 8},
        kind="cohere2",
        changes=_FEW_HEADS,
    ),
    around(
        "CohereCompassForConditionalGeneration",
        _TEXT["CohereCompassForCausalLM"],
        QWEN,
        changes=_FEW_HEADS,
    ),
    around(
        "AriaForConditionalGeneration",
        _TEXT["AriaTextForCausalLM"],
        {
            "vision_config": {"model_type": "idefics3_vision", **ENCODER},
            "projector_patch_to_query_dict": {4: 2},
        },
        kind="aria_text",
        changes=_FEW_HEADS,
    ),
    around(
        "Exaone4_5_ForConditionalGeneration",
        _TEXT["Exaone4ForCausalLM"],
        {"vision_config": {**QWEN_ENCODER, "num_key_value_heads": 2}},
        kind="exaone4",
        changes=_FEW_HEADS,
    ),
    around(
        "HyperCLOVAXVisionV2ForConditionalGeneration",
        _TEXT["HyperCLOVAXForCausalLM"],
        {"vision_config": {"model_type": "qwen2_5_vl_vision", **QWEN_ENCODER}},
        kind="hyperclovax",
        changes=_FEW_HEADS,
    ),
    around(
        "HunYuanVLForConditionalGeneration",
        _TEXT["HunYuanDenseV1ForCausalLM"],
        {
            "vision_config": {
                **ENCODER,
                "out_hidden_size": 16,
                "text_hidden_size": 16,
                "max_image_size": 32,
                "min_image_size": 8,
                "img_max_token_num": 4,
            }
        },
        changes={**_FEW_HEADS, "rope_parameters": {**ROTARY, "xdrope_section": [1, 1, 1, 1]}},
    ),
    around(
        "Kimi_K25ForConditionalGeneration",
        _TEXT["DeepseekV3ForCausalLM"],
        {"vision_config": {**ENCODER, "pos_emb_height": 2, "pos_emb_width": 2}},
        kind="deepseek_v3",
    ),
    around(
        "Lfm2VlForConditionalGeneration",
        _TEXT["Lfm2ForCausalLM"],
        {
            "vision_config": {"model_type": "siglip2_vision_model", **ENCODER, "num_patches": 4},
            "projector_hidden_size": 8,
        },
        kind="lfm2",
        changes=_FEW_HEADS,
    ),
    around(
        "Lfm3VlForConditionalGeneration",
        _TEXT["Lfm3ForCausalLM"],
        {"vision_config": {**ENCODER, "num_key_value_heads": 1}, "projector_hidden_size": 8},
        kind="lfm3",
        changes=_FEW_HEADS,
    ),
    around(
        "Llama4ForConditionalGeneration",
        _TEXT["Llama4ForCausalLM"],
        {
            "vision_config": {
                **ENCODER,
                "vision_output_dim": 16,
                "projector_input_dim": 8,
                "projector_output_dim": 8,
            }
        },
        inner="language_model.model",
        changes=_FEW_HEADS,
    ),
    around(
        "DeepseekOcr2ForConditionalGeneration",
        TinyModel("", {**ONE_KEY, **_MIXTURE, "n_routed_experts": 4}),
        {
            "vision_config": {
                "sam_config": {
                    **ENCODER,
                    "output_channels": 4,
                    "mlp_dim": 8,
                    "global_attn_indexes": [0],
                    "downsample_channels": [4, 8],
                },
                "encoder_config": {**ENCODER, "num_key_value_heads": 1},
            }
        },
    ),
    around(
        "Ernie4_5_VLMoeForConditionalGeneration",
        TinyModel(
            "",
            {
                **ONE_KEY,
                "moe_num_experts": 4,
                "moe_k": 2,
                "moe_num_shared_experts": 1,
                "moe_intermediate_size": [12, 8],
                "mlp_layer_types": ["dense", "sparse"],
                "rope_parameters": AXES,
            },
            dtype="float32",  # its router
        ),
        QWEN,
    ),
    around(
        "MuseGlimmerForConditionalGeneration",
        TinyModel(
            "",
            {
                **ONE_KEY,
                **_WINDOWS,
                "head_dim": 8,
                "final_logit_softcapping": 1.0,
                "layer_rope_theta": [100.0, 0],
            },
            Family(BOTH_NORMS),
            threshold=0.005,
        ),
        {
            "vision_config": {
                **ENCODER,
                "pos_emb_height": 2,
                "pos_emb_width": 2,
                "max_position_embeddings": 4,
            },
            "out_hidden_size": 16,
            "projector_hidden_size": 8,
        },
    ),
    inside(
        "Cosmos3EdgeForConditionalGeneration",
        {**ONE_KEY, "head_dim": 8, "rope_parameters": {**AXES, "rope_theta": 10.0}},
        {"vision_config": {**ENCODER, "num_patches": 4}, "projector_hidden_size": 8},
    ),
    *(
        around(
            "Molmo2ForConditionalGeneration",
            TinyModel(
                "",
                {
                    **ONE_KEY,
                    "head_dim": 8,
                    "additional_vocab_size": 4,
                    "rope_parameters": {**ROTARY, "rope_type": "linear", "factor": 2.0},
                    "rope_scaling_layers": [1],
                    **changes,
                },
                family,
            ),
            {
                "vision_config": {**ENCODER, "image_size": [8, 8], "head_dim": 4},
                "adapter_config": {
                    "vision_feature_layer": [0],
                    "hidden_size": 8,
                    "num_attention_heads": 2,
                    "num_key_value_heads": 2,
                    "head_dim": 4,
                    "intermediate_size": 8,
                    "text_hidden_size": 16,
                },
            },
        )
        for changes, family in (
            (
                {"norm_after": True, "qk_norm_type": "olmo"},
                Family(
                    Layer(
                        reads={"self_attn": "a", "mlp": "m"},
                        writes={"post_attention_layernorm": "m"},
                        after_heads="input_layernorm",
                        spans=("self_attn.q_norm", "self_attn.k_norm"),
                    )
                ),
            ),
            ({"attention_bias": True}, Family()),
        )
    ),
    around(
        "GraniteDoclingForConditionalGeneration",
        _GRANITE,
        {
            "vision_config": {**ENCODER, "out_hidden_size": 16, "scale_factor": 2},
            "pad_token_id": 0,
        },
        inner="model.text_model",
    ),
    around(
        "Granite4VisionForConditionalGeneration",
        _GRANITE,
        {
            "vision_config": {**SIGLIP["vision_config"], "hidden_size": 64},
            "downsample_rate": "1/2",
            "qformer_config": {
                "model_type": "blip_2_qformer",
                "hidden_size": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 8,
                "encoder_hidden_size": 8,
            },
            "deepstack_layer_map": [[0, 0]],
            "spatial_target_layers": [1],
        },
    ),
    around(
        "MiniMaxM3SparseForConditionalGeneration",
        _TEXT["MiniMaxM3VLForCausalLM"],
        {"vision_config": ENCODER, "projector_hidden_size": 8},
    ),
)
