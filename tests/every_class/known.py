"""Classes of `hugging_face_models`, which TransformerLens reads, and the simplest of others."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, islice

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
from tests.hugging_face_models import MODELS, POSITIONS
from tests.oracles.hugging_face_parts import Family, Layer

OLMO2 = Family(
    Layer(
        reads={"self_attn": "a", "mlp": "m"},
        writes={"post_feedforward_layernorm": "m"},
        after_heads="post_attention_layernorm",
        spans=("self_attn.q_norm", "self_attn.k_norm"),
    )
)
FALCON = Layer(reads=SHARED_NORM, output="self_attention.dense", split="_split_heads")
GPT = {"ln_1": "a", "ln_2": "m"}


def _gpt(layer: Layer) -> Family:
    return Family(layer, "transformer.h", "transformer.ln_f")


def _neox(*, parallel: bool) -> TinyModel:
    layer = Layer(output="attention.dense", parallel=parallel)
    return TinyModel(
        "GPTNeoXForCausalLM",
        {**SIZES, "use_parallel_residual": parallel, "rope_parameters": PARTIAL_ROTARY},
        Family(layer, "gpt_neox.layers", "gpt_neox.final_layer_norm"),
    )


def _of(name: str, family: Family | None = None) -> TinyModel:
    """The model of that name, with two layers."""
    model = MODELS[name]
    fields = {**model.fields, model.layers: 2}
    if "layer_types" in fields:
        fields["layer_types"] = list(islice(cycle(fields["layer_types"]), 2))
    return TinyModel(model.model or f"{model.family}ForCausalLM", fields, family or Family())


KNOWN: tuple[TinyModel, ...] = (
    TinyModel(
        "LlamaForCausalLM",
        {**GROUPED, "attention_bias": True, "mlp_bias": True, "rope_parameters": ROTARY},
    ),
    TinyModel(
        "GPT2LMHeadModel",
        {**TOKENS, "n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": POSITIONS},
        _gpt(Layer(reads=GPT, output="attn.c_proj")),
    ),
    _neox(parallel=True),
    _neox(parallel=False),
    _of("mistral"),
    _of("qwen2"),
    _of("qwen3"),
    _of("stablelm"),
    _of("stablelm-parallel", Family(Layer(reads=SHARED_NORM))),
    _of("starcoder2"),
    _of("smollm3"),
    _of("granite", Family(scale=lambda config: config.residual_multiplier)),
    _of(
        "phi",
        Family(Layer(reads=SHARED_NORM, output="self_attn.dense"), final="model.final_layernorm"),
    ),
    _of("phi3"),
    _of("cohere", Family(Layer(reads=SHARED_NORM))),
    _of("olmo"),
    _of("olmo2", OLMO2),
    _of("olmo3", OLMO2),
    _of("gemma"),
    _of("gemma2", Family(BOTH_NORMS)),
    _of("gemma3", Family(BOTH_NORMS)),
    _of("gptj", _gpt(Layer(reads={"ln_1": "am"}, output="attn.out_proj", method="_attn"))),
    _of("gpt-neo", _gpt(Layer(reads=GPT, output="attn.attention.out_proj", method="_attn"))),
    _of("falcon", _gpt(FALCON)),
    _of(
        "falcon-sequential",
        _gpt(replace(FALCON, reads={"input_layernorm": "a", "post_attention_layernorm": "m"})),
    ),
    _of(
        "opt",
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
