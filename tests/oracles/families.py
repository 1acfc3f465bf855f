"""What sets apart the families that `hand_written` knows: tensor names, norms, rotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Config = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """Sizes, and whether attention and MLP of a layer read the same stream."""

    layers: int
    heads: int
    kv_heads: int
    d_head: int
    eps: float
    parallel: bool


def _shape(config: Config) -> Shape:
    heads = config["num_attention_heads"]
    return Shape(
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        d_head=config.get("head_dim") or config["hidden_size"] // heads,
        eps=config.get("rms_norm_eps", config.get("layer_norm_eps", 0.0)),
        parallel=False,
    )


def _parallel(config: Config) -> Shape:
    return replace(_shape(config), parallel=True)


def _gptj_shape(config: Config) -> Shape:
    heads = config["n_head"]
    d_head = config["n_embd"] // heads
    eps = config["layer_norm_epsilon"]
    return Shape(config["n_layer"], heads, heads, d_head, eps, parallel=True)


def _root(products: Tensor, config: Config, d_head: int) -> Tensor:
    return products / d_head**0.5


def _frequencies(base: float, width: int) -> tuple[int, Tensor]:
    return width, 1.0 / (base ** (torch.arange(0, width, 2).float() / width))


def _partial(config: Config, d_head: int, layer: int) -> tuple[int, Tensor]:
    rope = config["rope_parameters"]
    return _frequencies(rope["rope_theta"], int(d_head * rope.get("partial_rotary_factor", 1.0)))


def _neo_shape(config: Config) -> Shape:
    heads = config["num_heads"]
    d_head = config["hidden_size"] // heads
    eps = config["layer_norm_epsilon"]
    return Shape(config["num_layers"], heads, heads, d_head, eps, parallel=False)


def _opt_shape(config: Config) -> Shape:
    return replace(_shape(config), eps=1e-5)


def _no_rotation(config: Config, d_head: int, layer: int) -> tuple[int, Tensor]:
    return 0, torch.zeros(0)


def _unscaled(products: Tensor, config: Config, d_head: int) -> Tensor:
    return products


def _every_second(config: Config, layer: int) -> int | None:
    return config["window_size"] if layer % 2 else None


def _per_layer_type(config: Config, d_head: int, layer: int) -> tuple[int, Tensor]:
    """Gemma 3: another base for layers that see everything, stretched by a factor."""
    rope = config["rope_parameters"][config["layer_types"][layer]]
    width, frequencies = _frequencies(rope["rope_theta"], d_head)
    return width, frequencies / rope.get("factor", 1.0)


def _in_sliding_layers(config: Config, layer: int) -> int | None:
    sliding = config["layer_types"][layer] == "sliding_attention"
    return config["sliding_window"] if sliding else None


def _gemma_score(products: Tensor, config: Config, d_head: int) -> Tensor:
    scores = products / config["query_pre_attn_scalar"] ** 0.5
    cap = config["attn_logit_softcapping"]
    return scores if cap is None else cap * (scores / cap).tanh()


def _gemma_finish(logits: Tensor, config: Config) -> Tensor:
    cap = config["final_logit_softcapping"]
    return logits if cap is None else cap * (logits / cap).tanh()


def _gemma_embed_scale(config: Config) -> float:
    # The model keeps it in float32.
    return float(torch.tensor(config["hidden_size"] ** 0.5))


def _gptj_frequencies(config: Config, d_head: int, layer: int) -> tuple[int, Tensor]:
    return _frequencies(10000, config["rotary_dim"])


def _no_window(config: Config, layer: int) -> int | None:
    return None


def _gelu_tanh(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


def _unchanged(logits: Tensor, config: Config) -> Tensor:
    return logits


def _as_saved(tensors: dict[str, Tensor], config: Config) -> dict[str, Tensor]:
    return tensors


def _falcon_split(tensors: dict[str, Tensor], config: Config) -> dict[str, Tensor]:
    """All queries, then the one key, then the one value."""
    d_head = config["hidden_size"] // config["num_attention_heads"]
    out = dict(tensors)
    for name, fused in tensors.items():
        if "query_key_value" in name:
            parts = fused.split([config["hidden_size"], d_head, d_head])
            for slot, part in zip("qkv", parts, strict=True):
                out[name.replace("query_key_value", f"{slot}_proj")] = part
    return out


def _falcon_shape(config: Config) -> Shape:
    shape = replace(_parallel(config), kv_heads=1, eps=config["layer_norm_epsilon"])
    assert config["multi_query"]
    assert config["parallel_attn"]
    return shape


def _one(config: Config) -> float:
    return 1.0


@dataclass(frozen=True)
class Family:
    """`{}` in a name stands for the layer, a second one for `q` or `k`. None: no such part."""

    slots: Mapping[str, str]
    o: str
    norm_attn: str | None
    norm_mlp: str | None
    up: str
    down: str
    gate: str | None
    embed: str = "model.embed_tokens.weight"
    final: str = "model.norm.weight"
    unembed: str = "lm_head.weight"
    positions: str | None = None
    first_position: int = 0
    post_attn: str | None = None
    post_mlp: str | None = None
    head_norm: str | None = None
    norms_span_layer: bool = False
    rms: bool = False
    offset: float = 0.0
    adjacent: bool = False
    shape: Callable[[Config], Shape] = _shape
    activation: Callable[[Tensor], Tensor] = functional.silu
    score: Callable[[Tensor, Config, int], Tensor] = _root
    frequencies: Callable[[Config, int, int], tuple[int, Tensor]] = _partial
    window: Callable[[Config, int], int | None] = _no_window
    finish: Callable[[Tensor, Config], Tensor] = _unchanged
    embed_scale: Callable[[Config], float] = _one
    prepare: Callable[[dict[str, Tensor], Config], dict[str, Tensor]] = _as_saved


def _split(prefix: str) -> dict[str, str]:
    return {slot: f"{prefix}.{slot}_proj.weight" for slot in "qkv"}


_COMMON: dict[str, Any] = {
    "slots": _split("model.layers.{}.self_attn"),
    "o": "model.layers.{}.self_attn.o_proj.weight",
    "up": "model.layers.{}.mlp.up_proj",
    "down": "model.layers.{}.mlp.down_proj",
    "gate": "model.layers.{}.mlp.gate_proj",
}
_SHARED_NORM: dict[str, Any] = {
    "norm_attn": "model.layers.{}.input_layernorm.weight",
    "norm_mlp": "model.layers.{}.input_layernorm.weight",
    "shape": _parallel,
}

_GEMMA: dict[str, Any] = {
    **_COMMON,
    "norm_attn": "model.layers.{}.input_layernorm.weight",
    "norm_mlp": "model.layers.{}.pre_feedforward_layernorm.weight",
    "post_attn": "model.layers.{}.post_attention_layernorm.weight",
    "post_mlp": "model.layers.{}.post_feedforward_layernorm.weight",
    "rms": True,
    "offset": 1.0,
    "activation": _gelu_tanh,
    "score": _gemma_score,
    "finish": _gemma_finish,
    "embed_scale": _gemma_embed_scale,
    "window": _in_sliding_layers,
}

FAMILIES: dict[str, Family] = {
    "GPTJForCausalLM": Family(
        slots=_split("transformer.h.{}.attn"),
        o="transformer.h.{}.attn.out_proj.weight",
        norm_attn="transformer.h.{}.ln_1.weight",
        norm_mlp="transformer.h.{}.ln_1.weight",
        up="transformer.h.{}.mlp.fc_in",
        down="transformer.h.{}.mlp.fc_out",
        gate=None,
        embed="transformer.wte.weight",
        final="transformer.ln_f.weight",
        adjacent=True,
        shape=_gptj_shape,
        activation=_gelu_tanh,
        frequencies=_gptj_frequencies,
    ),
    "StableLmForCausalLM": Family(
        **_COMMON, **_SHARED_NORM, head_norm="model.layers.{}.self_attn.{}_layernorm"
    ),
    "PhiForCausalLM": Family(
        **{
            **_COMMON,
            **_SHARED_NORM,
            "o": "model.layers.{}.self_attn.dense.weight",
            "up": "model.layers.{}.mlp.fc1",
            "down": "model.layers.{}.mlp.fc2",
            "gate": None,
        },
        final="model.final_layernorm.weight",
        activation=_gelu_tanh,
    ),
    "CohereForCausalLM": Family(
        **_COMMON,
        **_SHARED_NORM,
        head_norm="model.layers.{}.self_attn.{}_norm",
        adjacent=True,
        finish=lambda logits, config: logits * config["logit_scale"],
    ),
    "GPTNeoForCausalLM": Family(
        slots=_split("transformer.h.{}.attn.attention"),
        o="transformer.h.{}.attn.attention.out_proj.weight",
        norm_attn="transformer.h.{}.ln_1.weight",
        norm_mlp="transformer.h.{}.ln_2.weight",
        up="transformer.h.{}.mlp.c_fc",
        down="transformer.h.{}.mlp.c_proj",
        gate=None,
        embed="transformer.wte.weight",
        final="transformer.ln_f.weight",
        positions="transformer.wpe.weight",
        shape=_neo_shape,
        activation=_gelu_tanh,
        score=_unscaled,
        frequencies=_no_rotation,
        window=_every_second,
    ),
    "OPTForCausalLM": Family(
        slots=_split("model.decoder.layers.{}.self_attn"),
        o="model.decoder.layers.{}.self_attn.out_proj.weight",
        norm_attn="model.decoder.layers.{}.self_attn_layer_norm.weight",
        norm_mlp="model.decoder.layers.{}.final_layer_norm.weight",
        up="model.decoder.layers.{}.fc1",
        down="model.decoder.layers.{}.fc2",
        gate=None,
        embed="model.decoder.embed_tokens.weight",
        final="model.decoder.final_layer_norm.weight",
        positions="model.decoder.embed_positions.weight",
        first_position=2,
        shape=_opt_shape,
        activation=functional.relu,
        frequencies=_no_rotation,
    ),
    "Olmo2ForCausalLM": Family(
        **_COMMON,
        norm_attn=None,
        norm_mlp=None,
        post_attn="model.layers.{}.post_attention_layernorm.weight",
        post_mlp="model.layers.{}.post_feedforward_layernorm.weight",
        head_norm="model.layers.{}.self_attn.{}_norm",
        norms_span_layer=True,
        rms=True,
    ),
    "Olmo3ForCausalLM": Family(
        **_COMMON,
        norm_attn=None,
        norm_mlp=None,
        post_attn="model.layers.{}.post_attention_layernorm.weight",
        post_mlp="model.layers.{}.post_feedforward_layernorm.weight",
        head_norm="model.layers.{}.self_attn.{}_norm",
        norms_span_layer=True,
        rms=True,
        frequencies=_per_layer_type,
        window=_in_sliding_layers,
    ),
    "Gemma2ForCausalLM": Family(**_GEMMA),
    "Gemma3ForCausalLM": Family(
        **_GEMMA,
        head_norm="model.layers.{}.self_attn.{}_norm",
        frequencies=_per_layer_type,
    ),
    "FalconForCausalLM": Family(
        slots=_split("transformer.h.{}.self_attention"),
        o="transformer.h.{}.self_attention.dense.weight",
        norm_attn="transformer.h.{}.input_layernorm.weight",
        norm_mlp="transformer.h.{}.input_layernorm.weight",
        up="transformer.h.{}.mlp.dense_h_to_4h",
        down="transformer.h.{}.mlp.dense_4h_to_h",
        gate=None,
        embed="transformer.word_embeddings.weight",
        final="transformer.ln_f.weight",
        shape=_falcon_shape,
        activation=functional.gelu,
        prepare=_falcon_split,
    ),
}
