"""Checkpoints whose weights were quantised: dequantised on load, or refused by name.

`config.json` says so under `quantization_config`. Transformers reads many methods, but runs most of
them packed, which is not what the engine reproduces. Dequantised here are those that it can unpack
on a CPU: fine-grained FP8 (DeepSeek's format), and bitsandbytes where that package is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from acdc_pipeline.errors import UnsupportedModel

FP8 = "fp8"
BITSANDBYTES = "bitsandbytes"

# quant_method as config.json states it, and what its authors call it
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


def quantisation(config: Mapping[str, Any]) -> str | None:
    """The quantisation method that `config.json` names; None where the weights are plain."""
    settings = config.get("quantization_config") or config.get("compression_config")
    if not settings:
        return None
    if not isinstance(settings, Mapping):
        return "unknown"
    # older files of bitsandbytes name no method
    old = settings.get("load_in_4bit") or settings.get("load_in_8bit")
    return str(settings.get("quant_method") or (BITSANDBYTES if old else "unknown"))


def require_dequantisable(config: Mapping[str, Any], where: str) -> None:
    """Raises UnsupportedModel, naming the method, where quantised weights cannot be unpacked."""
    method = quantisation(config)
    if method in (None, FP8):
        return
    plain = "the unquantised repository that it was made from, or its GGUF file as gguf:FILE"
    described = f"its weights are quantised with {_described(config, str(method))}"
    if method != BITSANDBYTES:
        raise UnsupportedModel(
            f"{described}, which is not dequantised here", where=where, fix=f"take {plain}"
        )
    if find_spec("bitsandbytes") is None:
        raise UnsupportedModel(
            f"{described}, and dequantising them needs the package bitsandbytes",
            where=where,
            fix=f"pip install bitsandbytes; or take {plain}",
        )


def unpacking(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """`quantization_config` changed so that transformers unpacks on load; None for plain weights.

    bitsandbytes has no such setting: `dequantised` unpacks what was loaded.
    """
    method = quantisation(config)
    if method is None:
        return None
    settings = dict(config["quantization_config"])
    return settings | {"dequantize": True} if method == FP8 else settings


def dequantised(model: Any, config: Mapping[str, Any]) -> Any:
    """`model`, loaded from a quantised checkpoint, with plain weights of its own dtype."""
    if quantisation(config) == BITSANDBYTES:
        model = model.dequantize(dtype=model.dtype)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model


def _described(config: Mapping[str, Any], method: str) -> str:
    title = _TITLES.get(method, method)
    settings = config.get("quantization_config")
    if not isinstance(settings, Mapping):
        return title
    bits = settings.get("bits") or settings.get("w_bit")
    if settings.get("load_in_4bit"):
        bits = 4
    elif settings.get("load_in_8bit"):
        bits = 8
    return f"{title} ({bits} bits)" if bits else title
