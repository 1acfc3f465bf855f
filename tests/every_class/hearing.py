"""Text models of classes that also read sound, some of them images too."""

from __future__ import annotations

from typing import Any

from tests.every_class.inside import (
    AXES,
    CONFORMER,
    ENCODER,
    FLAMINGO,
    FUN,
    LLAMA,
    ONE_KEY,
    QWEN,
    QWEN2,
    QWEN3,
    SOUND,
    WHISPER,
    around,
    inside,
)
from tests.every_class.later import LATER
from tests.every_class.tiny import PARTIAL_ROTARY, SIZES, TinyModel
from tests.oracles.hugging_face_parts import Family

_TEXT = {tiny.name: tiny for tiny in reversed(LATER)}
_GRANITE: dict[str, Any] = {
    **LLAMA,
    "model_type": "granite",
    "embedding_multiplier": 2.0,
    "attention_multiplier": 0.5,
    "residual_multiplier": 0.7,
    "logits_scaling": 0.5,  # without effect inside the larger classes
}
_SCALED = Family(
    layers="model.language_model.layers",
    final="model.language_model.norm",
    scale=lambda config: config.residual_multiplier,
)
_TOKENIZER = {"depths": [1, 1], "downsampling_ratios": [2], "num_filters": 2, "hidden_size": 4}

HEARING: tuple[TinyModel, ...] = (
    inside("Qwen2AudioForConditionalGeneration", QWEN2, WHISPER),
    inside("Qwen3ASRForConditionalGeneration", QWEN3, WHISPER),
    inside("AudioFlamingo3ForConditionalGeneration", QWEN2, SOUND),
    inside("MusicFlamingoForConditionalGeneration", QWEN2, FLAMINGO),
    inside("GlmAsrForConditionalGeneration", LLAMA, SOUND),
    inside("MossTranscribeDiarizeForConditionalGeneration", QWEN3, SOUND),
    inside("VoxtralForConditionalGeneration", LLAMA, SOUND),
    inside(
        "VibeVoiceAsrForConditionalGeneration",
        QWEN2,
        {
            "acoustic_tokenizer_encoder_config": _TOKENIZER,
            "semantic_tokenizer_encoder_config": _TOKENIZER,
        },
    ),
    inside("FunAsrNanoForConditionalGeneration", QWEN3, FUN),
    *(
        TinyModel(name, {"text_config": _GRANITE, **CONFORMER}, _SCALED)
        for name in (
            "GraniteSpeechForConditionalGeneration",
            "GraniteSpeechPlusForConditionalGeneration",
        )
    ),
    inside(
        "Qwen2_5OmniThinkerForConditionalGeneration",
        {**QWEN2, "model_type": "qwen2_5_omni_text", "rope_parameters": AXES},
        {**QWEN, **WHISPER},
    ),
    inside(
        "Qwen3OmniMoeThinkerForConditionalGeneration",
        {
            **ONE_KEY,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
            "mlp_only_layers": [0],
            "rope_parameters": AXES,
        },
        {**QWEN, **WHISPER},
    ),
    TinyModel(
        "Phi4MultimodalForCausalLM",
        {
            **SIZES,
            "num_key_value_heads": 1,
            "rope_parameters": PARTIAL_ROTARY,
            "sliding_window": 3,
            "vision_config": {**ENCODER, "crop_size": 8},
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
    around(
        "Gemma4ForConditionalGeneration",
        _TEXT["Gemma4ForCausalLM"],
        {
            "vision_config": {
                **ENCODER,
                "num_key_value_heads": 1,
                "head_dim": 4,
                "position_embedding_size": 4,
            }
        },
    ),
    around(
        "Gemma4UnifiedForConditionalGeneration",
        _TEXT["Gemma4UnifiedForCausalLM"],
        {
            "vision_config": {
                "mm_embed_dim": 8,
                "mm_posemb_size": 4,
                "output_proj_dims": 8,
                "patch_size": 2,
            },
            "audio_config": {"audio_embed_dim": 8},
        },
    ),
    around(
        "NemotronH_Omni_Reasoning_V3",
        _TEXT["NemotronHForCausalLM"],
        {
            "vision_config": {
                "model_type": "radio",
                **ENCODER,
                "max_img_size": 8,
                "video_temporal_patch_size": 2,
            }
        },
        kind="nemotron_h",
        inner="language_model.model",
    ),
)
