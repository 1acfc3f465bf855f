"""Classes of `hugging_face_models`, which TransformerLens reads, and the simplest of others."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
from tests.oracles.hugging_face_patching import HuggingFacePatching

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


def _neox(*, parallel: bool) -> Family:
    layer = Layer(output="attention.dense", parallel=parallel)
    return Family(layer, "gpt_neox.layers", "gpt_neox.final_layer_norm")


def _gpt(layer: Layer) -> Family:
    return Family(layer, "transformer.h", "transformer.ln_f")


FAMILIES: dict[str, Family] = {
    "gpt2": _gpt(Layer(reads=GPT, output="attn.c_proj")),
    "neox": _neox(parallel=True),
    "neox-sequential": _neox(parallel=False),
    "llama": Family(),
    "llama-biased": Family(),
    "mistral": Family(),
    "qwen2": Family(),
    "qwen3": Family(),
    "stablelm": Family(),
    "stablelm-parallel": Family(Layer(reads=SHARED_NORM)),
    "starcoder2": Family(),
    "smollm3": Family(),
    "granite": Family(scale=lambda config: config.residual_multiplier),
    "phi": Family(
        Layer(reads=SHARED_NORM, output="self_attn.dense"), final="model.final_layernorm"
    ),
    "phi3": Family(),
    "cohere": Family(Layer(reads=SHARED_NORM)),
    "olmo": Family(),
    "olmo2": OLMO2,
    "olmo3": OLMO2,
    "gemma": Family(),
    "gemma2": Family(BOTH_NORMS),
    "gemma3": Family(BOTH_NORMS),
    "gptj": _gpt(Layer(reads={"ln_1": "am"}, output="attn.out_proj", method="_attn")),
    "gpt-neo": _gpt(Layer(reads=GPT, output="attn.attention.out_proj", method="_attn")),
    "falcon": _gpt(FALCON),
    "falcon-sequential": _gpt(replace(FALCON, reads=Layer().reads)),
    "opt": Family(
        Layer(
            reads={"self_attn_layer_norm": "a", "final_layer_norm": "m"},
            writes={"fc2": "m"},
            output="self_attn.out_proj",
        ),
        "model.decoder.layers",
        "model.decoder.final_layer_norm",
    ),
}
"""Where the parts of the models in `checkpoints.HUGGING_FACE` are."""


def load_patching(
    directory: Path, clean: Tensor, corrupted: Tensor, ablation: str = "corrupted"
) -> HuggingFacePatching:
    """The oracle of the model of `FAMILIES` that the directory is named after."""
    model = load_original(directory)
    return HuggingFacePatching(model, FAMILIES[directory.name], clean, corrupted, ablation)


def load_original(directory: Path) -> Any:
    """The model in a directory, in float64."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float64, attn_implementation="eager"
    )


def _of(name: str) -> TinyModel:
    """The model of that name, with two layers."""
    model = MODELS[name]
    fields = {**model.fields, model.layers: 2}
    if "layer_types" in fields:
        fields["layer_types"] = list(islice(cycle(fields["layer_types"]), 2))
    return TinyModel(model.model or f"{model.family}ForCausalLM", fields, FAMILIES[name])


KNOWN: tuple[TinyModel, ...] = (
    *(_of(name) for name in MODELS if name != "llama-biased"),
    TinyModel(
        "LlamaForCausalLM",
        {**GROUPED, "attention_bias": True, "mlp_bias": True, "rope_parameters": ROTARY},
    ),
    TinyModel(
        "GPT2LMHeadModel",
        {**TOKENS, "n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": POSITIONS},
        FAMILIES["gpt2"],
    ),
    *(
        TinyModel(
            "GPTNeoXForCausalLM",
            {**SIZES, "use_parallel_residual": parallel, "rope_parameters": PARTIAL_ROTARY},
            _neox(parallel=parallel),
        )
        for parallel in (True, False)
    ),
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
