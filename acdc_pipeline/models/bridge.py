"""The one place where torch meets TransformerLens: directories in, bridges out.

A bridge is loader and oracle. The engine takes its weights once and never drives its hooks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from acdc_pipeline.errors import InvalidInput, UnsupportedModel

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerBase

NATIVE = "TransformerLensNative"


def read_config(directory: Path) -> dict[str, Any]:
    """The `config.json` of a model directory.

    Raises:
        InvalidInput: the directory or its config is missing or unreadable.
    """
    if not directory.is_dir():
        raise InvalidInput(f"no such model directory: {directory}", fix="check the path after dir:")
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidInput(
            "this directory holds no config.json, so it is not a model",
            where=str(directory),
            fix="point at a save_pretrained directory or a TransformerLens-format one",
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"cannot be read: {error}", where=str(path)) from error
    if not isinstance(config, dict):
        raise InvalidInput("is not a JSON object", where=str(path))
    return config


def architecture_of(config: dict[str, Any]) -> str:
    """The architecture a `config.json` describes: a Hugging Face class name, or NATIVE."""
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures:
        return str(architectures[0])
    if "d_model" in config and "n_heads" in config and "model_type" not in config:
        return NATIVE
    return str(config.get("model_type", "unknown"))


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a model directory, sorted.

    Raises:
        InvalidInput: there are none; pickled checkpoints are refused, since loading runs code.
    """
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        pickles = sorted(p.name for p in (*directory.glob("*.bin"), *directory.glob("*.pt*")))
        found = f" (only {', '.join(pickles)}, which would run code on load)" if pickles else ""
        raise InvalidInput(
            f"no .safetensors weights in {directory}{found}",
            fix="save the model with save_pretrained(..., safe_serialization=True)",
        )
    return files


def load_bridge(directory: Path, *, dtype: torch.dtype) -> TransformerBridge:
    """A bridge on the CPU around the model in `directory`, of either format, in `dtype`.

    Raises:
        InvalidInput: the directory does not hold a loadable model.
    """
    weight_files(directory)
    config = read_config(directory)
    if architecture_of(config) == NATIVE:
        return _load_native(directory, config, dtype)
    return _load_hugging_face(directory, dtype)


def _load_hugging_face(directory: Path, dtype: torch.dtype) -> TransformerBridge:
    from safetensors import SafetensorError
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module
    from transformers import AutoModelForCausalLM
    from transformers import logging as hf_logging

    # The weight-loading bar would land between our own progress lines.
    hf_logging.disable_progress_bar()
    try:
        loader: Any = AutoModelForCausalLM
        model, loading = loader.from_pretrained(
            directory,
            output_loading_info=True,
            dtype=dtype,
            attn_implementation="eager",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InvalidInput(f"cannot be loaded: {error}", where=str(directory)) from error
    if loading["missing_keys"]:
        # The library would fill these with random numbers, and go on.
        raise InvalidInput(
            f"tensors missing: {', '.join(sorted(loading['missing_keys'])[:4])}",
            where=str(directory),
        )
    model.eval().requires_grad_(False)
    name = type(model).__name__
    try:
        return build_bridge_from_module(model, name, hf_config=model.config, model_name=name)
    except (ValueError, KeyError, AttributeError) as error:
        raise UnsupportedModel(f"TransformerLens cannot wrap {name}: {error}") from error


def _load_native(directory: Path, config: dict[str, Any], dtype: torch.dtype) -> TransformerBridge:
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources.native import boot
    from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

    where = str(directory / "config.json")
    try:
        # The tensors are about to be overwritten; initialising them would only cost time.
        bridge_config = TransformerBridgeConfig.from_dict(
            {**config, "init_weights": False, "dtype": dtype}
        )
        bridge = boot(bridge_config, dtype=dtype)
    except (TypeError, ValueError, KeyError) as error:
        raise InvalidInput(f"is not a TransformerBridgeConfig: {error}", where=where) from error
    try:
        state = {}
        for file in weight_files(directory):
            state.update(load_file(file))
        converted = convert_tl_checkpoint(state, bridge.cfg)
        converted = {name: tensor.to(dtype) for name, tensor in converted.items()}
        missing = bridge.load_state_dict(converted, strict=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        problem = f"weights do not fit config.json: {error}"
        raise InvalidInput(problem, where=str(directory)) from error
    if missing.missing_keys or missing.unexpected_keys:
        raise InvalidInput(
            f"tensors missing: {sorted(missing.missing_keys)[:4]}, "
            f"not expected: {sorted(missing.unexpected_keys)[:4]}",
            where=str(directory),
        )
    bridge.requires_grad_(False)
    return bridge.eval()


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer saved beside the weights, or None where there is none.

    Raises:
        InvalidInput: there is one, but it cannot be loaded.
    """
    from transformers import AutoTokenizer

    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
    if not any((directory / name).is_file() for name in names):
        return None
    try:
        return AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(f"tokenizer cannot be loaded: {error}", where=str(directory)) from error
