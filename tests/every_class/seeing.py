"""Text models of classes that also read images."""

from __future__ import annotations

from typing import Any

from tests.every_class.dense import DENSE
from tests.every_class.hybrids import GATED_MIXTURE, HYBRIDS
from tests.every_class.inside import (
    AXES,
    CLIP,
    DELTA,
    DELTA_LAYERS,
    ENCODER,
    GATED,
    GLM,
    LLAMA,
    ONE_KEY,
    PAIRS,
    PARTIAL_AXES,
    PLAIN,
    QWEN,
    QWEN2,
    QWEN3,
    QWEN_ENCODER,
    SIGLIP,
    around,
    inside,
)
from tests.every_class.latent import LATENT
from tests.every_class.later import LATER
from tests.every_class.mixtures import MIXTURES
from tests.every_class.tiny import BOTH_NORMS, PARTIAL_ROTARY, ROTARY, SIZES, TinyModel
from tests.oracles.hugging_face_parts import Family, Layer

_TEXT = {tiny.name: tiny for tiny in reversed((*DENSE, *MIXTURES, *HYBRIDS, *LATENT, *LATER))}
_WINDOWS = {"sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]}
_FEW_HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1}
_FOUR_NORMS = Layer(writes={"post_mlp_layernorm": "m"}, after_heads="post_self_attn_layernorm")
_PIXTRAL = {"vision_config": {"model_type": "pixtral", **ENCODER}}
_INSERTED = {"vision_config": {**ENCODER, "insert_layer_id": 0}}
_QUANTISER: dict[str, Any] = {
    "codebook_size": 4,
    "base_channels": 32,
    "channel_multiplier": [1],
    "num_res_blocks": 1,
    "hidden_size": 32,
    "attn_resolutions": [],
}
_GROWING: dict[str, Any] = {
    **ROTARY,
    "rope_type": "yarn",
    "factor": 2.0,
    "original_max_position_embeddings": 2,
    "llama_4_scaling_beta": 0.5,
}
_CROSSED: dict[str, Any] = {**ONE_KEY, "num_hidden_layers": 3, "cross_attention_layers": [1]}
SEEING: tuple[TinyModel, ...] = (
    inside(
        "Gemma3ForConditionalGeneration",
        {
            "model_type": "gemma3_text",
            **ONE_KEY,
            **_WINDOWS,
            "head_dim": 8,
            "query_pre_attn_scalar": 4,
            "final_logit_softcapping": 1.0,  # without effect inside the larger class
            "rope_parameters": {
                "full_attention": {**ROTARY, "rope_theta": 1000.0},
                "sliding_attention": ROTARY,
            },
        },
        {**SIGLIP, "mm_tokens_per_image": 4},
        BOTH_NORMS,
    ),
    inside(
        "LlavaForConditionalGeneration",
        {"model_type": "mistral", **ONE_KEY, "sliding_window": 3},
        CLIP,
    ),
    inside(
        "LlavaForConditionalGeneration",
        {"model_type": "phi3", **ONE_KEY, "sliding_window": 3, "num_key_value_heads": 2},
        CLIP,
    ),
    inside(
        "LlavaForConditionalGeneration",
        {"model_type": "phi", **ONE_KEY, "rope_parameters": PARTIAL_ROTARY},
        CLIP,
        Layer(reads={"input_layernorm": "am"}, output="self_attn.dense"),
        final="final_layernorm",
    ),
    inside("LlavaForConditionalGeneration", {"model_type": "gemma", **LLAMA, "head_dim": 8}, CLIP),
    inside(
        "LlavaForConditionalGeneration",
        {
            "model_type": "gemma2",
            **ONE_KEY,
            **_WINDOWS,
            "head_dim": 8,
            "attn_logit_softcapping": 1.0,
        },
        CLIP,
        BOTH_NORMS,
    ),
    inside(
        "LlavaForConditionalGeneration",
        {"model_type": "smollm3", **ONE_KEY, "no_rope_layers": [1, 0]},
        CLIP,
    ),
    inside("LlavaNextForConditionalGeneration", {**LLAMA, "attention_bias": True}, CLIP),
    inside(
        "LlavaOnevisionForConditionalGeneration",
        {**QWEN2, "tie_word_embeddings": True},
        {**SIGLIP, "tie_word_embeddings": True},
    ),
    inside(
        "Mistral3ForConditionalGeneration",
        {"model_type": "ministral3", **ONE_KEY, "head_dim": 8, "rope_parameters": _GROWING},
        _PIXTRAL,
    ),
    inside(
        "Qwen2VLForConditionalGeneration",
        {**ONE_KEY, **_WINDOWS, "use_sliding_window": True, "rope_parameters": AXES},
        QWEN,
    ),
    inside("Qwen2_5_VLForConditionalGeneration", {**ONE_KEY, "rope_parameters": AXES}, QWEN),
    inside(
        "Qwen3VLForConditionalGeneration", {**ONE_KEY, "head_dim": 8, "rope_parameters": AXES}, QWEN
    ),
    inside(
        "Qwen3VLMoeForConditionalGeneration",
        {
            **ONE_KEY,
            "head_dim": 8,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
            "mlp_only_layers": [0],
            "rope_parameters": AXES,
        },
        QWEN,
    ),
    inside("Qwen3_5ForConditionalGeneration", DELTA, QWEN, DELTA_LAYERS),
    inside("Qwen3_5MoeForConditionalGeneration", {**DELTA, **GATED_MIXTURE}, QWEN, DELTA_LAYERS),
    inside("MiniCPMV4_6ForConditionalGeneration", GATED, _INSERTED),
    inside("MiniCPMV4_7ForConditionalGeneration", GATED, _INSERTED),
    inside("MiniCPMOcrForConditionalGeneration", GATED, _INSERTED),
    inside(
        "Cosmos3OmniForConditionalGeneration",
        {**QWEN3, "model_type": "qwen3_vl_text", "rope_parameters": AXES},
        {"vision_config": {"model_type": "qwen3_vl_vision", **QWEN_ENCODER}},
    ),
    inside(
        "Glm4vForConditionalGeneration",
        {**ONE_KEY, "rope_parameters": PARTIAL_AXES},
        GLM,
        _FOUR_NORMS,
    ),
    inside(
        "Glm46VForConditionalGeneration",
        {**ONE_KEY, "model_type": "glm4v_text", "rope_parameters": PARTIAL_AXES},
        {"vision_config": {"model_type": "glm4v_vision", **GLM["vision_config"]}},
        _FOUR_NORMS,
    ),
    inside(
        "GlmOcrForConditionalGeneration", {**ONE_KEY, "rope_parameters": AXES}, GLM, _FOUR_NORMS
    ),
    around(
        "Glm4vMoeForConditionalGeneration",
        _TEXT["Glm4MoeForCausalLM"],
        GLM,
        changes={**_FEW_HEADS, "head_dim": 8, "rope_parameters": PARTIAL_AXES},
    ),
    inside(
        "Idefics2ForConditionalGeneration",
        {**LLAMA, "model_type": "mistral", "sliding_window": 3},
        {
            **PLAIN,
            "perceiver_config": {
                "hidden_size": 16,
                "resampler_n_latents": 2,
                "resampler_depth": 1,
                "resampler_n_heads": 2,
                "resampler_head_dim": 4,
                "num_key_value_heads": 1,
            },
        },
        inner="model.text_model",
    ),
    inside("Idefics3ForConditionalGeneration", LLAMA, PLAIN, inner="model.text_model"),
    inside("SmolVLMForConditionalGeneration", LLAMA, PLAIN, inner="model.text_model"),
    inside(
        "GotOcr2ForConditionalGeneration",
        QWEN2,
        {"vision_config": {**ENCODER, "mlp_dim": 8, "output_channels": 4}},
    ),
    inside(
        "Emu3ForConditionalGeneration",
        {**LLAMA, "model_type": "emu3_text_model"},
        {"vq_config": _QUANTISER, "vocabulary_map": {"<|extra|>": 1}},
        inner="model.text_model",
    ),
    inside(
        "JanusForConditionalGeneration",
        LLAMA,
        {
            "vision_config": {**ENCODER, "projection_dim": 16},
            "vq_config": {
                "embed_dim": 4,
                "num_embeddings": 4,
                "base_channels": 32,
                "channel_multiplier": [1],
                "num_res_blocks": 1,
                "num_patches": 2,
                "projection_dim": 16,
                "image_token_embed_dim": 16,
                "latent_channels": 4,
            },
        },
    ),
    inside(
        "FuyuForCausalLM",
        {"model_type": "persimmon", **SIZES, "rope_parameters": PARTIAL_ROTARY},
        {"patch_size": 2},
        Layer(output="self_attn.dense"),
        final="final_layernorm",
    ),
    inside(
        "MllamaForConditionalGeneration",
        _CROSSED,
        {
            "vision_config": {
                **ENCODER,
                "num_global_layers": 1,
                "attention_heads": 2,
                "vision_output_dim": 16,
                "intermediate_layers_indices": [0],
                "max_num_tiles": 4,
            }
        },
        unused="cross_attn",
    ),
    TinyModel("MllamaForCausalLM", _CROSSED, Family(unused="cross_attn")),
    inside("DeepseekVLForConditionalGeneration", LLAMA, SIGLIP),
    inside(
        "DeepseekVLHybridForConditionalGeneration",
        LLAMA,
        {
            **SIGLIP,
            "high_res_vision_config": {
                "model_type": "sam_vision_model",
                **ENCODER,
                "mlp_dim": 8,
                "output_channels": 4,
                "global_attn_indexes": [0],
            },
        },
    ),
    inside("FastVlmForConditionalGeneration", QWEN2, CLIP),
    inside("InternVLForConditionalGeneration", QWEN2, PAIRS),
    inside("QianfanOCRForConditionalGeneration", QWEN3, PAIRS),
    inside("LightOnOcrForConditionalGeneration", QWEN3, _PIXTRAL),
    inside("LlavaNextVideoForConditionalGeneration", LLAMA, CLIP),
    inside("VipLlavaForConditionalGeneration", LLAMA, CLIP),
    inside("VideoLlavaForConditionalGeneration", LLAMA, CLIP),
    inside("VideoLlama3ForConditionalGeneration", QWEN2, PLAIN),
    inside("Ovis2ForConditionalGeneration", QWEN2, {"vision_config": {**ENCODER, "vocab_size": 8}}),
    inside(
        "PaddleOCRVLForConditionalGeneration",
        {**ONE_KEY, "head_dim": 8, "rope_parameters": AXES},
        PLAIN,
    ),
)
