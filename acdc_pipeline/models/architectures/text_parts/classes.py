"""The classes of transformers whose text models are reproduced."""

from __future__ import annotations

from collections.abc import Mapping

from acdc_pipeline.models.architectures.text_parts.part import TextPart

_SEES = "The text model of a class that also reads images"
_HEARS = "The text model of a class that also reads sound"
_SEES_AND_HEARS = "The text model of a class that also reads images and sound"
_MLLAMA = "Llama 3.2 Vision on text; layers are counted without those of cross-attention to images"

_TITLES: Mapping[str, Mapping[str, str]] = {
    _SEES: {
        "AriaForConditionalGeneration": "Aria",
        "AyaVisionForConditionalGeneration": "Aya Vision",
        "Cohere2VisionForConditionalGeneration": "Cohere 2 Vision (Command A Vision)",
        "Cosmos3EdgeForConditionalGeneration": "Cosmos 3 Edge",
        "Cosmos3OmniForConditionalGeneration": "Cosmos 3 Omni",
        "DeepseekOcr2ForConditionalGeneration": "DeepSeek-OCR 2",
        "DeepseekVLForConditionalGeneration": "DeepSeek-VL",
        "DeepseekVLHybridForConditionalGeneration": "DeepSeek-VL hybrid",
        "Emu3ForConditionalGeneration": "Emu3",
        "Ernie4_5_VLMoeForConditionalGeneration": "ERNIE 4.5 VL",
        "Exaone4_5_ForConditionalGeneration": "EXAONE 4.5",
        "FastVlmForConditionalGeneration": "FastVLM",
        "FuyuForCausalLM": "Fuyu",
        "Gemma3ForConditionalGeneration": "Gemma 3 (images)",
        "Glm46VForConditionalGeneration": "GLM-4.6V",
        "Glm4vForConditionalGeneration": "GLM-4V",
        "Glm4vMoeForConditionalGeneration": "GLM-4.5V",
        "GlmOcrForConditionalGeneration": "GLM-OCR",
        "GotOcr2ForConditionalGeneration": "GOT-OCR2",
        "HunYuanVLForConditionalGeneration": "Hunyuan VL",
        "Idefics2ForConditionalGeneration": "Idefics 2",
        "Idefics3ForConditionalGeneration": "Idefics 3",
        "InternVLForConditionalGeneration": "InternVL",
        "JanusForConditionalGeneration": "Janus",
        "Kimi_K25ForConditionalGeneration": "Kimi K2.5",
        "Lfm2VlForConditionalGeneration": "LFM2-VL",
        "Lfm3VlForConditionalGeneration": "LFM3-VL",
        "LightOnOcrForConditionalGeneration": "LightOnOCR",
        "Llama4ForConditionalGeneration": "Llama 4 (images)",
        "LlavaForConditionalGeneration": "LLaVA",
        "LlavaNextForConditionalGeneration": "LLaVA-NeXT",
        "LlavaNextVideoForConditionalGeneration": "LLaVA-NeXT-Video",
        "LlavaOnevisionForConditionalGeneration": "LLaVA-OneVision",
        "MiniCPMOcrForConditionalGeneration": "MiniCPM-OCR",
        "MiniCPMV4_6ForConditionalGeneration": "MiniCPM-V 4.6",
        "MiniCPMV4_7ForConditionalGeneration": "MiniCPM-V 4.7",
        "MiniMaxM3SparseForConditionalGeneration": "MiniMax M3",
        "Mistral3ForConditionalGeneration": "Mistral 3 (images)",
        "Molmo2ForConditionalGeneration": "Molmo 2",
        "Ovis2ForConditionalGeneration": "Ovis 2",
        "PaddleOCRVLForConditionalGeneration": "PaddleOCR-VL",
        "QianfanOCRForConditionalGeneration": "Qianfan-OCR",
        "Qwen2VLForConditionalGeneration": "Qwen2-VL",
        "Qwen2_5_VLForConditionalGeneration": "Qwen2.5-VL",
        "Qwen3VLForConditionalGeneration": "Qwen3-VL",
        "Qwen3VLMoeForConditionalGeneration": "Qwen3-VL MoE",
        "Qwen3_5ForConditionalGeneration": "Qwen 3.5 (images)",
        "Qwen3_5MoeForConditionalGeneration": "Qwen 3.5 MoE (images)",
        "SmolVLMForConditionalGeneration": "SmolVLM",
        "VideoLlama3ForConditionalGeneration": "VideoLLaMA 3",
        "VideoLlavaForConditionalGeneration": "Video-LLaVA",
        "VipLlavaForConditionalGeneration": "ViP-LLaVA",
    },
    _HEARS: {
        "AudioFlamingo3ForConditionalGeneration": "Audio Flamingo 3",
        "FunAsrNanoForConditionalGeneration": "Fun-ASR Nano",
        "GlmAsrForConditionalGeneration": "GLM-ASR",
        "GraniteSpeechForConditionalGeneration": "Granite Speech",
        "GraniteSpeechPlusForConditionalGeneration": "Granite Speech Plus",
        "MossTranscribeDiarizeForConditionalGeneration": "MOSS Transcribe",
        "MusicFlamingoForConditionalGeneration": "Music Flamingo",
        "Qwen2AudioForConditionalGeneration": "Qwen2-Audio",
        "Qwen3ASRForConditionalGeneration": "Qwen3-ASR",
        "VibeVoiceAsrForConditionalGeneration": "VibeVoice ASR",
        "VoxtralForConditionalGeneration": "Voxtral",
    },
    _SEES_AND_HEARS: {
        "NemotronH_Omni_Reasoning_V3": "Nemotron-H Omni",
        "Phi4MultimodalForCausalLM": "Phi-4 multimodal",
        "Qwen2_5OmniThinkerForConditionalGeneration": "Qwen2.5-Omni (thinker)",
        "Qwen3OmniMoeThinkerForConditionalGeneration": "Qwen3-Omni (thinker)",
    },
    _MLLAMA: {
        "MllamaForCausalLM": "Llama 3.2 Vision (text)",
        "MllamaForConditionalGeneration": "Llama 3.2 Vision",
    },
}

# Classes that scale or cap logits as their text models do; in others these fields have no effect.
_CHANGING_LOGITS: Mapping[str, Mapping[str, str]] = {
    _SEES: {
        "CohereCompassForConditionalGeneration": "Cohere Compass",
        "Granite4VisionForConditionalGeneration": "Granite 4 Vision",
        "GraniteDoclingForConditionalGeneration": "Granite Docling",
        "HyperCLOVAXVisionV2ForConditionalGeneration": "HyperCLOVA X Vision",
        "MuseGlimmerForConditionalGeneration": "Muse Glimmer",
    },
    _SEES_AND_HEARS: {
        "Gemma4ForConditionalGeneration": "Gemma 4",
        "Gemma4UnifiedForConditionalGeneration": "Gemma 4 unified",
    },
}


def _text_part(class_name: str, title: str, peculiar: str, changes_logits: bool) -> type[TextPart]:
    members = {
        "class_name": class_name,
        "title": title,
        "changes_logits": changes_logits,
        "__doc__": peculiar,
    }
    return type(class_name, (TextPart,), members)


ARCHITECTURES = tuple(
    _text_part(class_name, title, peculiar, changes_logits)
    for changes_logits, groups in ((False, _TITLES), (True, _CHANGING_LOGITS))
    for peculiar, titles in groups.items()
    for class_name, title in titles.items()
)
