"""The classes of transformers whose text models are reproduced."""

from __future__ import annotations

from collections.abc import Mapping

from acdc_pipeline.models.architectures.text_parts.part import TextPart

_SEES = "The text model of a class that also reads images"
_HEARS = "The text model of a class that also reads sound"

_TITLES: Mapping[str, Mapping[str, str]] = {
    _SEES: {
        "Emu3ForConditionalGeneration": "Emu3",
        "FuyuForCausalLM": "Fuyu",
        "Gemma3ForConditionalGeneration": "Gemma 3 (images)",
        "Glm4vForConditionalGeneration": "GLM-4V",
        "GotOcr2ForConditionalGeneration": "GOT-OCR2",
        "Idefics3ForConditionalGeneration": "Idefics 3",
        "LlavaForConditionalGeneration": "LLaVA",
        "LlavaNextForConditionalGeneration": "LLaVA-NeXT",
        "LlavaOnevisionForConditionalGeneration": "LLaVA-OneVision",
        "Mistral3ForConditionalGeneration": "Mistral 3 (images)",
        "Qwen2VLForConditionalGeneration": "Qwen2-VL",
        "Qwen2_5_VLForConditionalGeneration": "Qwen2.5-VL",
        "Qwen3VLForConditionalGeneration": "Qwen3-VL",
        "Qwen3VLMoeForConditionalGeneration": "Qwen3-VL MoE",
        "Qwen3_5ForConditionalGeneration": "Qwen 3.5 (images)",
        "Qwen3_5MoeForConditionalGeneration": "Qwen 3.5 MoE (images)",
    },
    _HEARS: {
        "AudioFlamingo3ForConditionalGeneration": "Audio Flamingo 3",
        "GlmAsrForConditionalGeneration": "GLM-ASR",
        "MossTranscribeDiarizeForConditionalGeneration": "MOSS Transcribe",
        "MusicFlamingoForConditionalGeneration": "Music Flamingo",
        "Qwen2AudioForConditionalGeneration": "Qwen2-Audio",
    },
}

_MLLAMA = "Llama 3.2 Vision on text; layers are counted without those of cross-attention to images"


def _text_part(class_name: str, title: str, peculiar: str) -> type[TextPart]:
    members = {"class_name": class_name, "title": title, "__doc__": peculiar}
    return type(class_name, (TextPart,), members)


ARCHITECTURES = (
    *(
        _text_part(class_name, title, peculiar)
        for peculiar, titles in _TITLES.items()
        for class_name, title in titles.items()
    ),
    _text_part(
        "Phi4MultimodalForCausalLM",
        "Phi-4 multimodal",
        "The text model of a class that also reads images and sound",
    ),
    _text_part("MllamaForCausalLM", "Llama 3.2 Vision (text)", _MLLAMA),
    _text_part("MllamaForConditionalGeneration", "Llama 3.2 Vision", _MLLAMA),
)
