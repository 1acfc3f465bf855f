"""Models that hold a text model: its fields, those of small encoders, and where its parts are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from tests.every_class.hybrids import DELTA_LAYER, DELTA_NETS
from tests.every_class.tiny import PARTIAL_ROTARY, ROTARY, SIZES, TinyModel
from tests.oracles.hugging_face_parts import Family, Layer

INNER = "model.language_model"
ONE_KEY: dict[str, Any] = {**SIZES, "num_key_value_heads": 1, "rope_parameters": ROTARY}
# Three axes of positions, which are equal for text.
AXES: dict[str, Any] = {**ROTARY, "mrope_section": [1, 1, 2]}
PARTIAL_AXES: dict[str, Any] = {**PARTIAL_ROTARY, "mrope_section": [1, 1, 0]}

# One layer of a text model that other classes show in full.
LLAMA: dict[str, Any] = {"model_type": "llama", **ONE_KEY, "num_hidden_layers": 1}
QWEN2: dict[str, Any] = {**LLAMA, "model_type": "qwen2"}
QWEN3: dict[str, Any] = {**LLAMA, "model_type": "qwen3", "head_dim": 8}
DELTA: dict[str, Any] = {
    "model_type": "qwen3_5_text",
    **DELTA_NETS,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "rope_parameters": PARTIAL_AXES,
}
DELTA_LAYERS = DELTA_LAYER
# Its attention alone.
GATED: dict[str, Any] = {**DELTA, "num_hidden_layers": 1, "layer_types": ["full_attention"]}

ENCODER: dict[str, Any] = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
}
CLIP: dict[str, Any] = {"vision_config": {"model_type": "clip_vision_model", **ENCODER}}
SIGLIP: dict[str, Any] = {"vision_config": {"model_type": "siglip_vision_model", **ENCODER}}
PLAIN: dict[str, Any] = {"vision_config": ENCODER}
PAIRS: dict[str, Any] = {"vision_config": {**ENCODER, "image_size": [8, 8], "patch_size": [4, 4]}}
QWEN_ENCODER: dict[str, Any] = {
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
QWEN: dict[str, Any] = {"vision_config": QWEN_ENCODER}
GLM: dict[str, Any] = {"vision_config": {**QWEN_ENCODER, "image_size": 8}}

_SOUND: dict[str, Any] = {
    "num_mel_bins": 4,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_source_positions": 4,
}
SOUND: dict[str, Any] = {"audio_config": _SOUND}
FLAMINGO: dict[str, Any] = {"audio_config": {"model_type": "audioflamingo3_encoder", **_SOUND}}
FUN: dict[str, Any] = {
    "audio_config": {
        **_SOUND,
        "num_timestamp_prediction_layers": 1,
        "num_stacked_frames": 1,
        "max_position_embeddings": 9,
    },
    "adaptor_config": {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 4,
        "num_hidden_layers": 1,
        "projector_hidden_size": 8,
    },
}
WHISPER: dict[str, Any] = {
    "audio_config": {
        "num_mel_bins": 4,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 8,
        "d_model": 8,
        "max_source_positions": 4,
        "output_dim": 16,
        "n_window": 2,
        "downsample_hidden_size": 4,
    }
}
CONFORMER: dict[str, Any] = {
    "encoder_config": {
        "input_dim": 4,
        "num_layers": 1,
        "hidden_dim": 8,
        "num_heads": 2,
        "dim_head": 4,
        "output_dim": 4,
        "context_size": 2,
        "max_pos_emb": 4,
        "conv_kernel_size": 3,
    },
    "projector_config": {
        "model_type": "blip_2_qformer",
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "encoder_hidden_size": 8,
    },
}


def inside(
    name: str,
    text: Mapping[str, Any],
    others: Mapping[str, Any],
    layer: Layer | None = None,
    *,
    inner: str = INNER,
    final: str = "norm",
    unused: str = "",
    threshold: float | None = None,
) -> TinyModel:
    """A class whose text model has the fields `text` and is at `inner`."""
    if threshold is None:
        threshold = 0.05 if text["num_hidden_layers"] > 1 else 0.15
    family = Family(layer or Layer(), f"{inner}.layers", f"{inner}.{final}", unused)
    return TinyModel(name, {"text_config": dict(text), **others}, family, threshold)


def around(
    name: str,
    tiny: TinyModel,
    others: Mapping[str, Any],
    *,
    inner: str = INNER,
    kind: str = "",
    changes: Mapping[str, Any] | None = None,
) -> TinyModel:
    """A class around a text model that has a class of its own, with the `model_type` `kind`."""
    text = {**tiny.fields, **(changes or {}), **({"model_type": kind} if kind else {})}
    family = replace(
        tiny.family,
        layers=tiny.family.layers.replace("model", inner, 1),
        final=tiny.family.final.replace("model", inner, 1),
    )

    def prepare(model: Any) -> None:
        tiny.prepare(SimpleNamespace(model=model.get_submodule(inner)))

    return replace(
        tiny, name=name, fields={"text_config": text, **others}, family=family, prepare=prepare
    )
