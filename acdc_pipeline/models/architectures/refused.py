"""Known architectures that the engine does not reproduce, with the reasons.

Every class that transformers lists as a model that generates text, or TransformerLens as an
architecture, is either supported or named here: `acdc models list --coverage` shows both, and a
test fails for a class that is neither.
"""

from __future__ import annotations

from collections.abc import Mapping

_POST_NORM = "its norms act on the residual stream, which is then no sum of outputs"
_ENCODER = "an encoder reads a text from both sides and predicts masked tokens"
_NORMED_ENCODER = f"{_ENCODER}, and {_POST_NORM}"
_BOTH_SIDES = "it attends to later tokens too, and to prompt tokens of its own"
_TWO_STREAMS = "an encoder-decoder has two residual streams"
_DECODER_HALF = "the decoder of an encoder-decoder reads a second residual stream"
_NORMED_DECODER_HALF = f"{_DECODER_HALF}, and {_POST_NORM}"
_CODEBOOKS = "it predicts the tokens of several codebooks of sound at once"
_NO_HEADS = "it has no attention heads: only states that are carried from token to token"
_STREAMS = "it keeps several residual streams"
_BETWEEN_LAYERS = "its layers attend to earlier layers instead of adding to a residual stream"
_PERMUTED = "it predicts tokens in permuted orders, with two streams of attention"
_HASHED = "it keeps two residual streams, and hashes choose the keys of a query"
_RECURRENT_DEPTH = "its layers run several times, each time with another input"
_SHARED_BLOCK = "layers share a block of attention, which also reads the embeddings"
_SKIPPING = "a mixture of experts writes after the next attention, not where it reads"
_CONVOLVED = "convolutions along the text mix the keys, or the outputs, of several tokens"
_ROUTED_HEADS = "a router chooses the attention heads of each token, so a head is no fixed node"
_VALUES_IN_SCORES = "its scores depend on values, and channels of the stream are scaled"
_GATED_NORMS = "its norms multiply what they normalise by gates that are computed from it"
_NUMBERS_OF_HEADS = "its layers have different numbers of heads"
_SHARED_KEYS = "layers attend to the keys and values of earlier layers"
_HEAD_OF_LOGITS = "a non-linear layer turns the residual stream into logits"
_PATCHES = "three models and cross-attention between them turn bytes into patches and back"
_DRAFTER = "it drafts tokens from the hidden states and keys of another model"
_NEEDS_AN_IMAGE = "it reads no text without an image, or a protein"
_WITH_SOUND = "it reads sound together with each token of text"
_SCALED_CHANNELS = "its layers scale the channels of the residual stream, each by its own factor"
_PREFIX = "it reads a whole prompt from both sides, as one prefix"
_SPEAKS = "it speaks through two further models; its thinker, which writes, is a class of its own"
_MOVES = "it predicts the movements of a robot instead of a next token"
_NEEDS_TIMM = "transformers makes it only with the package timm"
_TEXT_PART = "the text model inside it is of a kind of its own, which is not reproduced yet"
_DIFFUSION = "it removes noise from a whole text instead of predicting the next token"
_NO_TEXT = "it reads images or sound alone, and does not predict a next token"
_CODE_ON_HUB = "its code is not part of transformers, and code from the hub is never executed"
_OTHER_FORMAT = "TransformerLens's name for models of other code; 'acdc models convert' reads many"

_BY_REASON: Mapping[str, tuple[str, ...]] = {
    _POST_NORM: (
        "GitForCausalLM",
        "MiniMaxForCausalLM",
        "OpenAIGPTLMHeadModel",
        "XLMWithLMHeadModel",
    ),
    _NORMED_ENCODER: (
        "BertForMaskedLM",
        "BertLMHeadModel",
        "BigBirdForCausalLM",
        "CamembertForCausalLM",
        "Data2VecTextForCausalLM",
        "ElectraForCausalLM",
        "ErnieForCausalLM",
        "RemBertForCausalLM",
        "RoCBertForCausalLM",
        "RoFormerForCausalLM",
        "RobertaForCausalLM",
        "RobertaForMaskedLM",
        "XLMRobertaForCausalLM",
        "XmodForCausalLM",
    ),
    _ENCODER: ("ModernBertForMaskedLM",),
    _BOTH_SIDES: ("CpmAntForCausalLM",),
    _TWO_STREAMS: (
        "BartForConditionalGeneration",
        "BlenderbotForConditionalGeneration",
        "Florence2ForConditionalGeneration",
        "LEDForConditionalGeneration",
        "LongT5ForConditionalGeneration",
        "M2M100ForConditionalGeneration",
        "MBartForConditionalGeneration",
        "MT5ForConditionalGeneration",
        "MarianMTModel",
        "PegasusForConditionalGeneration",
        "SwitchTransformersForConditionalGeneration",
        "T5ForConditionalGeneration",
        "T5Gemma2ForConditionalGeneration",
        "T5GemmaForConditionalGeneration",
        "T5WithLMHeadModel",
        "Pix2StructForConditionalGeneration",
        "UdopForConditionalGeneration",
        "VisionEncoderDecoderModel",
        "PPFormulaNetForConditionalGeneration",
        "WhisperForConditionalGeneration",
    ),
    _DECODER_HALF: (
        "BigBirdPegasusForCausalLM",
        "BlenderbotForCausalLM",
        "MBartForCausalLM",
        "PegasusForCausalLM",
        "WhisperForCausalLM",
    ),
    _NORMED_DECODER_HALF: (
        "BartForCausalLM",
        "BertGenerationDecoder",
        "BlenderbotSmallForCausalLM",
        "MarianForCausalLM",
        "MvpForCausalLM",
        "PLBartForCausalLM",
        "ProphetNetForCausalLM",
        "TrOCRForCausalLM",
    ),
    _CODEBOOKS: ("MusicgenForCausalLM", "MusicgenMelodyForCausalLM"),
    _NO_HEADS: (
        "FalconMambaForCausalLM",
        "Mamba2ForCausalLM",
        "MambaForCausalLM",
        "RwkvForCausalLM",
        "xLSTMForCausalLM",
    ),
    _STREAMS: (
        "DeepseekV4ForCausalLM",
        "Gemma3nForCausalLM",
        "Gemma3nForConditionalGeneration",
        "Glm5NextForConditionalGeneration",
        "HYV4ForCausalLM",
        "Qwen4ExpForCausalLM",
        "Qwen4ExpForConditionalGeneration",
    ),
    _BETWEEN_LAYERS: (
        "Inkling2ForCausalLM",
        "Inkling2ForConditionalGeneration",
    ),
    _PERMUTED: ("XLNetLMHeadModel",),
    _HASHED: ("ReformerModelWithLMHead",),
    _RECURRENT_DEPTH: ("HrmTextForCausalLM",),
    _SHARED_BLOCK: ("Zamba2ForCausalLM", "ZambaForCausalLM"),
    _SKIPPING: ("LongcatFlashForCausalLM",),
    _CONVOLVED: (
        "InklingForCausalLM",
        "InklingForConditionalGeneration",
        "ZayaForCausalLM",
    ),
    _ROUTED_HEADS: ("JetMoEForCausalLM", "JetMoeForCausalLM"),
    _VALUES_IN_SCORES: ("DogeForCausalLM",),
    _GATED_NORMS: ("AXK2ForCausalLM",),
    _NUMBERS_OF_HEADS: (
        "Dots3NoteForCausalLM",
        "Dots3NoteForConditionalGeneration",
        "Step3p7ForConditionalGeneration",
    ),
    _SHARED_KEYS: ("MistralLarge4ForConditionalGeneration",),
    _HEAD_OF_LOGITS: (
        "MegatronBertForCausalLM",
        "ModernBertDecoderForCausalLM",
        "RobertaPreLayerNormForCausalLM",
        "XLMRobertaXLForCausalLM",
    ),
    _PATCHES: ("BltForCausalLM",),
    _DRAFTER: ("Gemma4AssistantForCausalLM", "Gemma4UnifiedAssistantForCausalLM"),
    _NEEDS_AN_IMAGE: (
        "Blip2ForConditionalGeneration",
        "BlipForConditionalGeneration",
        "EvollaForProteinText2Text",
        "IdeficsForVisionText2Text",
        "InstructBlipForConditionalGeneration",
        "InstructBlipVideoForConditionalGeneration",
    ),
    _WITH_SOUND: (
        "KyutaiSpeechToTextForConditionalGeneration",
        "VoxtralRealtimeForConditionalGeneration",
    ),
    _SCALED_CHANNELS: ("MuseSparkForConditionalGeneration",),
    _PREFIX: ("PaliGemmaForConditionalGeneration",),
    _SPEAKS: (
        "Qwen2_5OmniForConditionalGeneration",
        "Qwen3OmniMoeForConditionalGeneration",
    ),
    _MOVES: ("PI0ForConditionalGeneration",),
    _NEEDS_TIMM: ("PerceptionLMForConditionalGeneration",),
    _TEXT_PART: (
        "ChameleonForConditionalGeneration",
        "Kosmos2ForConditionalGeneration",
        "Kosmos2_5ForConditionalGeneration",
        "Nemotron3_5TranscribeForConditionalGeneration",
        "UnlimitedOcrForConditionalGeneration",
    ),
    _DIFFUSION: (
        "BD3LM",
        "DiffusionGemmaForBlockDiffusion",
        "DreamModel",
        "GiddForDiffusionLM",
        "LLaDA2MoeModelLM",
        "LLaDAModelLM",
    ),
    _NO_TEXT: (
        "ASTForAudioClassification",
        "DeiTForImageClassification",
        "DeiTModel",
        "HubertForCTC",
        "HubertModel",
        "ViTForImageClassification",
        "ViTModel",
        "Wav2Vec2ForCTC",
        "Wav2Vec2ForPreTraining",
        "Wav2Vec2Model",
    ),
    _CODE_ON_HUB: (
        "BaiChuanForCausalLM",
        "BaichuanForCausalLM",
        "ExaoneForCausalLM",
        "GPT2LMHeadCustomModel",
        "HyenaDNAForCausalLM",
        "InternLM2ForCausalLM",
        "OpenELMForCausalLM",
        "OuroForCausalLM",
        "QwenForCausalLM",
        "RWKV7ForCausalLM",
        "RavenForCausalLM",
    ),
    _OTHER_FORMAT: (
        "Gemma1ForCausalLM",
        "MinGPTForCausalLM",
        "NanoGPTForCausalLM",
        "NeelSoluOldForCausalLM",
        "NeoForCausalLM",
        "NeoXForCausalLM",
        "TransformerLensPretrain",
    ),
}

REFUSED: Mapping[str, str] = {
    name: reason for reason, names in _BY_REASON.items() for name in names
}
"""Class name in config.json, and the reason for refusing it."""
