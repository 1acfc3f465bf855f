"""Text models of classes that also read images or sound, inside small models of the whole class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.every_class.hybrids import DELTA_LAYER, DELTA_NETS, GATED_MIXTURE
from tests.every_class.tiny import (
    BOTH_NORMS,
    GROUPED,
    PARTIAL_ROTARY,
    ROTARY,
    SIZES,
    TinyModel,
)
from tests.oracles.hugging_face_parts import Family, Layer

_INNER = "model.language_model"
_WINDOWS = {"sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]}
_ONE_KEY = {**SIZES, "num_key_value_heads": 1, "rope_parameters": ROTARY}
# Three axes of positions, which are equal for text.
_AXES = {**ROTARY, "rope_type": "default", "mrope_section": [1, 1, 2]}

_ENCODER: dict[str, Any] = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
}
_CLIP = {"model_type": "clip_vision_model", **_ENCODER}
_SIGLIP = {"model_type": "siglip_vision_model", **_ENCODER}
_QWEN_ENCODER: dict[str, Any] = {
    "depth": 1,
    "hidden_size": 8,
    "embed_dim": 8,
    "out_hidden_size": 16,
    "intermediate_size": 8,
    "num_heads": 2,
    "patch_size": 2,
    "num_position_embeddings": 4,
    "deepstack_visual_indexes": [0],
}
_SOUND: dict[str, Any] = {
    "num_mel_bins": 4,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_source_positions": 4,
}


def _inside(
    name: str,
    text: Mapping[str, Any],
    others: Mapping[str, Any],
    layer: Layer | None = None,
    inner: str = _INNER,
    final: str = "norm",
    unused: str = "",
) -> TinyModel:
    """A class whose text model has the fields `text` and is at `inner`."""
    family = Family(layer or Layer(), f"{inner}.layers", f"{inner}.{final}", unused)
    return TinyModel(name, {"text_config": dict(text), **others}, family)


TEXT_PARTS: tuple[TinyModel, ...] = (
    _inside(
        "Gemma3ForConditionalGeneration",
        {
            "model_type": "gemma3_text",
            **GROUPED,
            **_WINDOWS,
            "head_dim": 8,
            "query_pre_attn_scalar": 4,
            "rope_parameters": {
                "full_attention": {**ROTARY, "rope_theta": 1000.0},
                "sliding_attention": ROTARY,
            },
        },
        {"vision_config": _SIGLIP, "mm_tokens_per_image": 4},
        BOTH_NORMS,
    ),
    _inside(
        "LlavaForConditionalGeneration",
        {"model_type": "mistral", **_ONE_KEY, "sliding_window": 3},
        {"vision_config": _CLIP},
    ),
    _inside(
        "LlavaNextForConditionalGeneration",
        {"model_type": "llama", **_ONE_KEY, "attention_bias": True},
        {"vision_config": _CLIP},
    ),
    _inside(
        "LlavaOnevisionForConditionalGeneration",
        {"model_type": "qwen2", **_ONE_KEY, "tie_word_embeddings": True},
        {"vision_config": _SIGLIP, "tie_word_embeddings": True},
    ),
    _inside(
        "Mistral3ForConditionalGeneration",
        {
            "model_type": "ministral3",
            **_ONE_KEY,
            "head_dim": 8,
            "rope_parameters": {
                **ROTARY,
                "rope_type": "yarn",
                "factor": 2.0,
                "original_max_position_embeddings": 2,
                "llama_4_scaling_beta": 0.5,
            },
        },
        {"vision_config": {"model_type": "pixtral", **_ENCODER}},
    ),
    _inside(
        "Qwen2VLForConditionalGeneration",
        {
            **_ONE_KEY,
            **_WINDOWS,
            "use_sliding_window": True,
            "rope_parameters": _AXES,
        },
        {"vision_config": _QWEN_ENCODER},
    ),
    _inside(
        "Qwen2_5_VLForConditionalGeneration",
        {**_ONE_KEY, "rope_parameters": _AXES},
        {"vision_config": _QWEN_ENCODER},
    ),
    _inside(
        "Qwen3VLForConditionalGeneration",
        {**_ONE_KEY, "head_dim": 8, "rope_parameters": _AXES},
        {"vision_config": _QWEN_ENCODER},
    ),
    _inside(
        "Qwen3VLMoeForConditionalGeneration",
        {
            **_ONE_KEY,
            "head_dim": 8,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
            "mlp_only_layers": [0],
            "rope_parameters": _AXES,
        },
        {"vision_config": _QWEN_ENCODER},
    ),
    *(
        _inside(
            name,
            {
                **DELTA_NETS,
                **more,
                "rope_parameters": {**PARTIAL_ROTARY, "mrope_section": [1, 1, 0]},
            },
            {"vision_config": _QWEN_ENCODER},
            DELTA_LAYER,
        )
        for name, more in (
            ("Qwen3_5ForConditionalGeneration", {}),
            ("Qwen3_5MoeForConditionalGeneration", GATED_MIXTURE),
        )
    ),
    _inside(
        "Glm4vForConditionalGeneration",
        {**_ONE_KEY, "rope_parameters": {**PARTIAL_ROTARY, "mrope_section": [1, 1, 0]}},
        {"vision_config": {**_QWEN_ENCODER, "image_size": 8}},
        Layer(
            writes={"post_mlp_layernorm": "m"},
            after_heads="post_self_attn_layernorm",
        ),
    ),
    _inside(
        "Idefics3ForConditionalGeneration",
        {"model_type": "llama", **_ONE_KEY, "pad_token_id": 0},
        {"vision_config": _ENCODER},
        inner="model.text_model",
    ),
    _inside(
        "GotOcr2ForConditionalGeneration",
        {"model_type": "qwen2", **_ONE_KEY},
        {"vision_config": {**_ENCODER, "mlp_dim": 8, "output_channels": 4}},
    ),
    _inside(
        "Emu3ForConditionalGeneration",
        _ONE_KEY,
        {
            "vq_config": {
                "codebook_size": 4,
                "base_channels": 32,
                "channel_multiplier": [1],
                "num_res_blocks": 1,
                "hidden_size": 32,
                "attn_resolutions": [],
            },
            "vocabulary_map": {"<|extra|>": 1},
        },
        inner="model.text_model",
    ),
    _inside(
        "FuyuForCausalLM",
        {
            "model_type": "persimmon",
            **SIZES,
            "rope_parameters": PARTIAL_ROTARY,
            "qk_layernorm": True,
        },
        {"patch_size": 2},
        Layer(output="self_attn.dense"),
        final="final_layernorm",
    ),
    _inside(
        "MllamaForConditionalGeneration",
        {**_ONE_KEY, "num_hidden_layers": 3, "cross_attention_layers": [1]},
        {
            "vision_config": {
                **_ENCODER,
                "num_global_layers": 1,
                "attention_heads": 2,
                "vision_output_dim": 16,
                "intermediate_layers_indices": [0],
                "max_num_tiles": 4,
            }
        },
        unused="cross_attn",
    ),
    TinyModel(
        "MllamaForCausalLM",
        {**_ONE_KEY, "num_hidden_layers": 3, "cross_attention_layers": [1]},
        Family(unused="cross_attn"),
    ),
    TinyModel(
        "Phi4MultimodalForCausalLM",
        {
            **SIZES,
            "num_key_value_heads": 1,
            "rope_parameters": {**PARTIAL_ROTARY},
            "sliding_window": 3,
            "vision_config": {**_ENCODER, "crop_size": 8},
            "audio_config": {
                "hidden_size": 8,
                "intermediate_size": 8,
                "num_blocks": 1,
                "num_attention_heads": 2,
                "input_size": 80,
                "nemo_conv_channels": 8,
                "ext_pw_out_channel": 8,
                "time_reduction": 2,
            },
        },
    ),
    _inside(
        "Qwen2AudioForConditionalGeneration",
        {"model_type": "qwen2", **_ONE_KEY},
        {
            "audio_config": {
                "num_mel_bins": 4,
                "encoder_layers": 1,
                "encoder_attention_heads": 2,
                "encoder_ffn_dim": 8,
                "d_model": 8,
                "max_source_positions": 4,
            }
        },
    ),
    _inside(
        "AudioFlamingo3ForConditionalGeneration",
        {"model_type": "qwen2", **_ONE_KEY},
        {"audio_config": _SOUND},
    ),
    _inside(
        "MusicFlamingoForConditionalGeneration",
        {"model_type": "qwen2", **_ONE_KEY},
        {"audio_config": {"model_type": "audioflamingo3_encoder", **_SOUND}},
    ),
    _inside(
        "GlmAsrForConditionalGeneration",
        {"model_type": "llama", **_ONE_KEY},
        {"audio_config": _SOUND},
    ),
    _inside(
        "MossTranscribeDiarizeForConditionalGeneration",
        {"model_type": "qwen3", **_ONE_KEY, "head_dim": 8},
        {"audio_config": _SOUND},
    ),
)
