"""The one place where torch meets TransformerLens: directories in, bridges out.

A bridge is loader and oracle. The engine takes its weights once and never drives its hooks.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.models.config_values import check_hugging_face, check_sizes
from acdc_pipeline.models.conversion.quantised import dequantised, unpacking
from acdc_pipeline.models.directory import (
    DAMAGED,
    NATIVE,
    architecture_of,
    read_config,
    weight_files,
)
from acdc_pipeline.models.fit import TOGETHER, named, refuse_misfits, refuse_not_finite
from acdc_pipeline.models.tl_format import check_native_config, check_shapes, expected_shapes

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerBase


def load_bridge(directory: Path, *, dtype: torch.dtype) -> TransformerBridge:
    """A bridge on the CPU around the model in `directory`, of either format, in `dtype`.

    Raises:
        InvalidInput: the directory does not hold a loadable model.
    """
    weight_files(directory)
    config = read_config(directory)
    architecture, where = architecture_of(config), str(directory / "config.json")
    check_sizes(config, where)
    if architecture == NATIVE:
        return _load_native(directory, config, dtype)
    check_hugging_face(config, architecture, where)
    return _load_hugging_face(directory, dtype)


def load_pretrained(directory: Path, *, dtype: torch.dtype) -> Any:
    """The transformers model in `directory`, whole and dequantised, on the CPU in `dtype`.

    Raises:
        InvalidInput: it cannot be loaded, or tensors are missing, left over or of another shape.
    """
    config = read_config(directory)
    model, loading = _pretrained(directory, config, dtype)
    refuse_misfits(loading, directory)
    return dequantised(model, config)


def _load_hugging_face(directory: Path, dtype: torch.dtype) -> TransformerBridge:
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    model = load_pretrained(directory, dtype=dtype)
    refuse_not_finite(model.named_parameters(), directory)
    model.eval().requires_grad_(False)
    name = type(model).__name__
    try:
        return build_bridge_from_module(model, name, hf_config=model.config, model_name=name)
    except (ValueError, KeyError, AttributeError) as error:
        raise UnsupportedModel(f"TransformerLens cannot wrap {name}: {error}") from error


def _pretrained(
    directory: Path, config: dict[str, Any], dtype: torch.dtype
) -> tuple[Any, dict[str, Any]]:
    """The Hugging Face model, and what its library reports of the load."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM

    loader: Any = AutoModelForCausalLM
    try:
        with quiet_transformers():
            described: dict[str, Any] = {}
            if (settings := unpacking(config)) is not None:
                changed: Any = AutoConfig.from_pretrained(directory, local_files_only=True)
                changed.quantization_config = settings
                described["config"] = changed
            return loader.from_pretrained(
                directory,
                **described,
                output_loading_info=True,
                dtype=dtype,
                attn_implementation="eager",
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                # Reported then, and refused by name; otherwise the error names no tensor.
                ignore_mismatched_sizes=True,
            )
    except StrictDataclassError as error:
        problem = " ".join(str(error).split())
        raise InvalidInput(problem, where=str(directory / "config.json")) from error
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        ArithmeticError,
        RuntimeError,
        SafetensorError,
    ) as error:
        fix = DAMAGED if isinstance(error, SafetensorError) else TOGETHER
        raise InvalidInput(
            f"cannot be loaded: {_told(error)}", where=str(directory), fix=fix
        ) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without the loading bar and the load report, which would land between our own lines."""
    from transformers import logging as hf_logging

    hf_logging.disable_progress_bar()
    level = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)


def _load_native(directory: Path, config: dict[str, Any], dtype: torch.dtype) -> TransformerBridge:
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources.native import boot
    from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

    where = str(directory / "config.json")
    check_native_config(config, _native_fields(), where)
    state = {}
    for file in weight_files(directory):
        try:
            state.update(load_file(file))
        except (OSError, ValueError, SafetensorError) as error:
            raise InvalidInput(f"cannot be read: {error}", where=str(file), fix=DAMAGED) from error
    check_shapes(config, state, str(directory))
    try:
        # The tensors are about to be overwritten; initialising them would only cost time.
        bridge_config = TransformerBridgeConfig.from_dict(
            {**config, "init_weights": False, "dtype": dtype}
        )
        bridge = boot(bridge_config, dtype=dtype)
    except (TypeError, ValueError, KeyError, ArithmeticError) as error:
        problem = f"is not a TransformerBridgeConfig: {_told(error)}"
        raise InvalidInput(problem, where=where) from error
    try:
        refuse_not_finite(state.items(), directory)
        converted = convert_tl_checkpoint(state, bridge.cfg)
        converted = {name: tensor.to(dtype) for name, tensor in converted.items()}
        missing = bridge.load_state_dict(converted, strict=False)
    except (OSError, ValueError, RuntimeError) as error:
        problem = f"weights do not fit config.json: {error}"
        raise InvalidInput(problem, where=str(directory), fix=TOGETHER) from error
    if missing.missing_keys or missing.unexpected_keys:
        absent = sorted(expected_shapes(config).keys() - state.keys())
        wrong = absent or sorted({*missing.missing_keys, *missing.unexpected_keys})
        problem = f"tensors {'missing' if absent else 'that do not fit'}: {named(wrong)}"
        raise InvalidInput(problem, where=str(directory), fix=TOGETHER)
    bridge.requires_grad_(False)
    return bridge.eval()


def _native_fields() -> frozenset[str]:
    """The keys that TransformerLens knows in a TransformerLens-format `config.json`.

    It would leave any other out without a word.
    """
    from transformer_lens.config import TransformerBridgeConfig

    parents = [kind for kind in TransformerBridgeConfig.__mro__ if kind is not object]
    names = {name for kind in parents for name in inspect.signature(kind).parameters}
    return frozenset(names - {"kwargs"})


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer saved beside the weights, or None where there is none.

    Raises:
        InvalidInput: there is one, but it cannot be loaded.
    """
    from transformers import AutoTokenizer

    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
    found = [directory / name for name in names if (directory / name).is_file()]
    if not found:
        return None
    try:
        return AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # what the tokenizers library raises has no class of its own
        raise InvalidInput(
            f"is not a tokenizer that can be loaded: {_told(error)}",
            where=str(found[0]),
            fix="save it again with tokenizer.save_pretrained",
        ) from error


def _told(error: Exception) -> str:
    """What `error` says, with its kind where the text alone says nothing."""
    text = " ".join(str(error).split())
    plain = isinstance(error, OSError | ValueError | RuntimeError) or type(error) is Exception
    return text if plain and text else f"{type(error).__name__}: {text}"
