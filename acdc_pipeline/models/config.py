"""Fields of a `config.json`: sizes, model type, activation, quantisation; invalid ones are refused.

Libraries would misread such fields, or fail without naming them. Quantised weights are supported
only where they can be unpacked on a CPU: fine-grained FP8 (DeepSeek's format), and bitsandbytes if
that package is installed. Transformers reads more methods, but computes with packed weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from acdc_pipeline.errors import InvalidInput, UnsupportedModel, unknown

# Names of the same size in different families.
LAYERS = ("n_layers", "num_hidden_layers", "n_layer", "num_layers")
HEADS = ("n_heads", "num_attention_heads", "n_head", "num_heads", "attention_heads")
WIDTH = ("d_model", "hidden_size", "n_embd")
VOCABULARY = ("d_vocab", "vocab_size")
HEAD_WIDTH = ("d_head", "head_dim")
LATENT_HEAD_WIDTHS = ("qk_nope_head_dim", "qk_rope_head_dim")
EXPERT_WIDTH = ("moe_intermediate_size", "expert_ffn_hidden_size")
MLP_WIDTH = ("d_mlp", "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")

_SIZES = (
    *LAYERS,
    *HEADS,
    *WIDTH,
    *VOCABULARY,
    *HEAD_WIDTH,
    *LATENT_HEAD_WIDTHS,
    "n_ctx",
    "n_positions",
    "max_position_embeddings",
    "intermediate_size",
    "num_key_value_heads",
    "n_key_value_heads",
)
# Far above any model's: a typing error must not make a plan that exhausts the memory.
_MOST_LAYERS = 10_000
_MOST = 2**31 - 1

_ACTIVATION_FIELDS = ("activation_function", "hidden_act", "hidden_activation", "activation")


def read_size(config: Mapping[str, Any], where: str, names: tuple[str, ...]) -> int:
    """Return the size that `config` holds under one of `names`.

    Raises:
        InvalidInput: there is none, or it is not a valid size.
    """
    for name in names:
        if config.get(name) is not None:
            return _check_size(config, where, name)
    raise InvalidInput(f"has none of {', '.join(names)}", where=where)


def read_optional_size(config: Mapping[str, Any], where: str, names: tuple[str, ...]) -> int | None:
    """Return the same size as `read_size`, or None if there is none. Raises InvalidInput."""
    present = tuple(name for name in names if config.get(name) is not None)
    return read_size(config, where, present) if present else None


def check_sizes(config: Mapping[str, Any], where: str) -> None:
    """Raise InvalidInput for the first size in `config` that is not a positive integer."""
    for name in _SIZES:
        if config.get(name) is not None:
            _check_size(config, where, name)


def check_hugging_face(config: Mapping[str, Any], architecture: str, where: str) -> None:
    """Refuse a `config.json` that transformers would read as another model, or cannot read.

    Raises:
        InvalidInput: `model_type` belongs to another architecture, or an activation is unknown.
    """
    _check_model_type(config, architecture, where)
    _check_activation(config, where)


def _check_size(config: Mapping[str, Any], where: str, name: str) -> int:
    value = config[name]
    most = _MOST_LAYERS if name in LAYERS else _MOST
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidInput(
            f"{value!r} is not a size",
            where=where,
            field=name,
            allowed=f"a whole number from 1 to {most:,}",
        )
    return value


def _check_model_type(config: Mapping[str, Any], architecture: str, where: str) -> None:
    import transformers
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    # transformers chooses the configuration by model_type and ignores `architectures`.
    tables = (MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    pairs = [
        (name, one)
        for table in tables
        for name, made in table.items()
        for one in (made if isinstance(made, tuple | list) else (made,))
    ]
    kind = config.get("model_type")
    own = getattr(transformers, architecture, None)
    pairs += [] if own is None else [(own.config_class.model_type, architecture)]
    if (kind, architecture) not in pairs:
        fitting = sorted({name for name, made in pairs if made == architecture})
        raise InvalidInput(
            f"{kind!r} is not the model_type of {architecture}, which 'architectures' names",
            where=where,
            field="model_type",
            allowed=", ".join(fitting) or None,
            fix="use the config.json that was saved together with the weights",
        )


def _check_activation(config: Mapping[str, Any], where: str) -> None:
    from transformers.activations import ACT2FN

    for field in _ACTIVATION_FIELDS:
        value = config.get(field)
        if value is not None and value not in ACT2FN:
            raise InvalidInput(
                unknown("activation", value, ACT2FN),
                where=where,
                field=field,
                allowed=", ".join(sorted(ACT2FN)),
                fix="use the config.json that was saved together with the weights",
            )


FP8 = "fp8"
BITSANDBYTES = "bitsandbytes"

# Values of quant_method, and the names in common use.
_TITLES: Mapping[str, str] = {
    FP8: "FP8",
    BITSANDBYTES: "bitsandbytes",
    "gptq": "GPTQ",
    "awq": "AWQ",
    "aqlm": "AQLM",
    "hqq": "HQQ",
    "quanto": "Quanto",
    "eetq": "EETQ",
    "higgs": "HIGGS",
    "vptq": "VPTQ",
    "spqr": "SpQR",
    "bitnet": "BitNet",
    "torchao": "torchao",
    "auto-round": "AutoRound",
    "compressed-tensors": "compressed-tensors",
    "fbgemm_fp8": "FBGEMM FP8",
    "mxfp4": "MXFP4",
}


def quantisation_method(config: Mapping[str, Any]) -> str | None:
    """Return the quantisation method that `config.json` names; None for plain weights."""
    settings = _quantisation_settings(config)
    if not settings:
        return None
    if not isinstance(settings, Mapping):
        return "unknown"
    # Older files of bitsandbytes name no method.
    old = settings.get("load_in_4bit") or settings.get("load_in_8bit")
    return str(settings.get("quant_method") or (BITSANDBYTES if old else "unknown"))


def require_dequantisable(config: Mapping[str, Any], where: str) -> None:
    """Raise UnsupportedModel, with the method, if quantised weights cannot be unpacked."""
    method = quantisation_method(config)
    if method in (None, FP8):
        return
    plain = "the unquantised repository that it was made from, or its GGUF file as gguf:FILE"
    described = f"its weights are quantised with {_describe_quantisation(config, str(method))}"
    if method != BITSANDBYTES:
        raise UnsupportedModel(
            f"{described}, which is not dequantised here", where=where, fix=f"use {plain}"
        )
    if find_spec("bitsandbytes") is None:
        raise UnsupportedModel(
            f"{described}, and dequantising them needs the package bitsandbytes",
            where=where,
            fix=f"pip install bitsandbytes; or use {plain}",
        )


def unpacking_settings(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a `quantization_config` with which transformers unpacks on load; None if plain.

    bitsandbytes has no such setting; `dequantise` unpacks after loading.
    """
    method = quantisation_method(config)
    if method is None:
        return None
    settings = dict(_quantisation_settings(config))
    return settings | {"dequantize": True} if method == FP8 else settings


def dequantise(model: Any, config: Mapping[str, Any]) -> Any:
    """Return `model`, as loaded, with plain weights of its own dtype."""
    if quantisation_method(config) == BITSANDBYTES:
        model = model.dequantize(dtype=model.dtype)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model


def _quantisation_settings(config: Mapping[str, Any]) -> Any:
    return config.get("quantization_config") or config.get("compression_config")


def _describe_quantisation(config: Mapping[str, Any], method: str) -> str:
    title = _TITLES.get(method, method)
    settings = _quantisation_settings(config)
    if not isinstance(settings, Mapping):
        return title
    bits = settings.get("bits") or settings.get("w_bit")
    if settings.get("load_in_4bit"):
        bits = 4
    elif settings.get("load_in_8bit"):
        bits = 8
    return f"{title} ({bits} bits)" if bits else title
