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

<<<<<<< HEAD:tests/every_class/known.py
KNOWN: tuple[TinyModel, ...] = (
=======
TOKENS: dict[str, Any] = {
    "vocab_size": VOCAB,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
SIZES: dict[str, Any] = {
    **TOKENS,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "hidden_size": 16,
    "intermediate_size": 24,
    "max_position_embeddings": POSITIONS,
}
ROTARY: dict[str, Any] = {"rope_type": "default", "rope_theta": 100.0}
PARTIAL_ROTARY: dict[str, Any] = {**ROTARY, "partial_rotary_factor": 0.5}
GROUPED: dict[str, Any] = {**SIZES, "num_attention_heads": 4, "num_key_value_heads": 2}

SHARED_NORM = {"input_layernorm": "am"}
BOTH_NORMS = Layer(
    reads={"input_layernorm": "a", "pre_feedforward_layernorm": "m"},
    writes={"post_feedforward_layernorm": "m"},
    after_heads="post_attention_layernorm",
)


@dataclass(frozen=True)
class TinyModel:
    """A model of class `name` with these fields of its config.

    Args:
        family: where its parts are, for the oracle.
        threshold: of ACDC, in nats; one that keeps some edges and removes some.
        dtype: float32 for classes that compute something in no wider type.
        prepare: called with the model after its weights are drawn.
    """

    name: str
    fields: Mapping[str, Any]
    family: Family = field(default_factory=Family)
    threshold: float = 0.05
    dtype: str = "float64"
    prepare: Callable[[Any], None] = lambda model: None

    def save(self, directory: Path) -> Path:
        """Write a checkpoint with random weights."""
        import transformers

        model_class = getattr(transformers, self.name)
        model = model_class(model_class.config_class(**self.fields))
        randomised(model, directory)
        self.prepare(model)
        model.save_pretrained(directory)
        return directory

    def load(self, directory: Path) -> Any:
        """Return the model as transformers reads it."""
        import torch
        import transformers

        return getattr(transformers, self.name).from_pretrained(
            directory,
            dtype=getattr(torch, self.dtype),
            attn_implementation="eager",
            experts_implementation="eager",
        )


EVERY_CLASS: tuple[TinyModel, ...] = (
>>>>>>> 52ca3b6 (The reader of modules knows latents, gates, sinks, clipping, more norms, and text parts of larger models):tests/every_class.py
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
