"""Known architectures that the engine does not reproduce, with the reasons."""

from __future__ import annotations

from collections.abc import Mapping

_LATENT = "multi-head latent attention has no per-head key input"
_EXPERTS = "a mixture of experts routes tokens, so an MLP is not one node"
_SINKS = "attention sinks and a mixture of experts are not reproduced"
_ALIBI = "ALiBi position biases are not reproduced"
_STATE_SPACE = "a state-space model has no attention heads"
_HYBRID = "layers that carry a state from token to token have no attention heads"
_ENCODER = "an encoder predicts masked tokens, not the next one"
_TWO_STREAMS = "an encoder-decoder has two residual streams"
_MULTIMODAL = "a model that also reads images or sound is not reproduced; its text part may be"
_STREAMS = "it keeps several residual streams, or adds embeddings in every layer"

_BY_REASON: Mapping[str, tuple[str, ...]] = {
    _LATENT: (
        "DeepseekV2ForCausalLM",
        "DeepseekV3ForCausalLM",
        "DeepseekV32ForCausalLM",
        "MiniCPM3ForCausalLM",
        "Glm4MoeLiteForCausalLM",
        "LongcatFlashForCausalLM",
    ),
    _EXPERTS: (
        "Qwen2MoeForCausalLM",
        "Qwen3MoeForCausalLM",
        "OlmoeForCausalLM",
        "FlexOlmoForCausalLM",
        "DbrxForCausalLM",
        "PhimoeForCausalLM",
        "GraniteMoeForCausalLM",
        "GraniteMoeSharedForCausalLM",
        "Glm4MoeForCausalLM",
        "Ernie4_5_MoeForCausalLM",
        "HunYuanMoEV1ForCausalLM",
        "Dots1ForCausalLM",
        "JetMoeForCausalLM",
        "MiniMaxM2ForCausalLM",
        "Llama4ForCausalLM",
    ),
    _SINKS: ("GptOssForCausalLM",),
    _ALIBI: ("BloomForCausalLM", "MptForCausalLM"),
    _STATE_SPACE: (
        "MambaForCausalLM",
        "Mamba2ForCausalLM",
        "FalconMambaForCausalLM",
        "RwkvForCausalLM",
        "xLSTMForCausalLM",
    ),
    _HYBRID: (
        "JambaForCausalLM",
        "BambaForCausalLM",
        "ZambaForCausalLM",
        "Zamba2ForCausalLM",
        "FalconH1ForCausalLM",
        "NemotronHForCausalLM",
        "GraniteMoeHybridForCausalLM",
        "RecurrentGemmaForCausalLM",
        "Qwen3NextForCausalLM",
        "OlmoHybridForCausalLM",
        "KimiLinearForCausalLM",
        "MiniMaxForCausalLM",
        "Lfm2ForCausalLM",
        "Lfm2MoeForCausalLM",
    ),
    _ENCODER: ("BertForMaskedLM", "RobertaForMaskedLM", "ModernBertForMaskedLM"),
    _TWO_STREAMS: (
        "T5ForConditionalGeneration",
        "BartForConditionalGeneration",
        "BartForCausalLM",
        "MarianMTModel",
        "WhisperForConditionalGeneration",
    ),
    _MULTIMODAL: (
        "Gemma3ForConditionalGeneration",
        "Llama4ForConditionalGeneration",
        "LlavaForConditionalGeneration",
        "MllamaForConditionalGeneration",
        "Mistral3ForConditionalGeneration",
        "Phi4MultimodalForCausalLM",
        "Qwen2VLForConditionalGeneration",
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen3VLForConditionalGeneration",
    ),
    _STREAMS: ("Gemma3nForCausalLM", "Gemma3nForConditionalGeneration"),
}

REFUSED: Mapping[str, str] = {
    name: reason for reason, names in _BY_REASON.items() for name in names
}
"""Class name in config.json, and the reason for refusing it."""
