"""Load a model directory as a model of TransformerLens or transformers; refuse unfit weights.

That model is loader and oracle; the engine reads its weights once and never uses its hooks.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.models.architectures import find_architecture
from acdc_pipeline.models.config import (
    check_hugging_face,
    check_sizes,
    dequantise,
    unpacking_settings,
)
from acdc_pipeline.models.directory import (
    DAMAGED,
    NATIVE,
    SHOW_SUPPORTED,
    WEIGHTS_MISMATCH,
    architecture_of,
    read_config,
    weight_files,
)
from acdc_pipeline.models.tl_format import check_native_config, check_shapes, expected_shapes

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerBase


def load_bridge(directory: Path, *, dtype: torch.dtype) -> TransformerBridge:
    """Load the model in `directory`, of either format, as a bridge on the CPU in `dtype`.

    Raises:
        InvalidInput: the directory does not hold a loadable model.
    """
    config = read_config(directory)
    if architecture_of(config) != NATIVE:
        return wrap_pretrained(load_module(directory, dtype=dtype))
    weight_files(directory)
    check_sizes(config, str(directory / "config.json"))
    return _load_native(directory, config, dtype)


def load_module(directory: Path, *, dtype: torch.dtype, **placing: Any) -> Any:
    """Load the transformers model in `directory` for inference, on the CPU in `dtype`.

    Args:
        placing: arguments of `from_pretrained` for modules that are not to be read yet.

    Raises:
        InvalidInput: the directory does not hold a loadable model.
    """
    weight_files(directory)
    config = read_config(directory)
    found, where = find_architecture(architecture_of(config)), str(directory / "config.json")
    check_sizes(found.text_fields(config), where)
    check_hugging_face(config, found.class_name, where)
    model = load_pretrained(directory, dtype=dtype, **placing)
    read = (pair for pair in model.named_parameters() if not pair[1].is_meta)
    refuse_not_finite(read, str(directory))
    return model.eval().requires_grad_(False)


def load_pretrained(directory: Path, *, dtype: torch.dtype, **placing: Any) -> Any:
    """Load the transformers model in `directory`, dequantised, on the CPU in `dtype`.

    Raises:
        InvalidInput: loading fails, or tensors are missing, superfluous or of another shape.
    """
    config = read_config(directory)
    model, loading = _load_with_report(directory, config, dtype, placing)
    refuse_mismatches(loading, directory)
    return dequantise(model, config)


def wrap_pretrained(model: Any) -> TransformerBridge:
    """Wrap a transformers model, which is changed in place.

    Raises:
        UnsupportedModel: TransformerLens cannot wrap it.
    """
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    name = type(model).__name__
    try:
        return build_bridge_from_module(model, name, hf_config=model.config, model_name=name)
    except (ValueError, KeyError, AttributeError) as error:
        raise UnsupportedModel(
            f"TransformerLens cannot wrap {name}: {_describe_error(error)}",
            fix=SHOW_SUPPORTED,
        ) from error


def _load_with_report(
    directory: Path, config: dict[str, Any], dtype: torch.dtype, placing: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Return the Hugging Face model, and the loading report of its library."""
    import transformers
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    found = find_architecture(architecture_of(config), config)
    by_name = found.source == "module"
    loader: Any = getattr(transformers, found.class_name if by_name else "AutoModelForCausalLM")
    loader = found.loaded_class(loader)
    try:
        with quiet_transformers():
            described: dict[str, Any] = {}
            if (settings := unpacking_settings(config)) is not None:
                changed: Any = transformers.AutoConfig.from_pretrained(
                    directory, local_files_only=True
                )
                changed.quantization_config = settings
                described["config"] = changed
            return loader.from_pretrained(
                directory,
                **described,
                **placing,
                output_loading_info=True,
                dtype=dtype,
                attn_implementation=found.attn_implementation,
                # The grouped kernels lack float64, and sum in another order.
                experts_implementation="eager",
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                # Mismatches are then reported by name; otherwise the error names no tensor.
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
        fix = WEIGHTS_MISMATCH
        if isinstance(error, SafetensorError):
            fix = DAMAGED
        elif isinstance(error, OSError):
            fix = "copy or download the model again: some of its files are missing"
        raise InvalidInput(
            f"cannot be loaded: {_describe_error(error)}", where=str(directory), fix=fix
        ) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Suppress the progress bar and the loading report of transformers, and notes of accelerate."""
    from transformers import logging as hf_logging

    hf_logging.disable_progress_bar()
    level, placing = hf_logging.get_verbosity(), logging.getLogger("accelerate.big_modeling")
    hf_logging.set_verbosity_error()
    placing.disabled = True
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        placing.disabled = False


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
        # The tensors are overwritten below; initialising them would only cost time.
        bridge_config = TransformerBridgeConfig.from_dict(
            {**config, "init_weights": False, "dtype": dtype}
        )
        bridge = boot(bridge_config, dtype=dtype)
    except (TypeError, ValueError, KeyError, ArithmeticError) as error:
        problem = f"is not a TransformerBridgeConfig: {_describe_error(error)}"
        raise InvalidInput(problem, where=where) from error
    try:
        refuse_not_finite(state.items(), str(directory))
        converted = convert_tl_checkpoint(state, bridge.cfg)
        converted = {name: tensor.to(dtype) for name, tensor in converted.items()}
        missing = bridge.load_state_dict(converted, strict=False)
    except (OSError, ValueError, RuntimeError) as error:
        problem = f"weights do not fit config.json: {error}"
        raise InvalidInput(problem, where=str(directory), fix=WEIGHTS_MISMATCH) from error
    if missing.missing_keys or missing.unexpected_keys:
        absent = sorted(expected_shapes(config).keys() - state.keys())
        left = {*missing.missing_keys, *missing.unexpected_keys}
        wrong = absent or sorted(_WRAPPER.sub("", name) for name in left)
        problem = f"tensors {'missing' if absent else 'that do not fit'}: {list_some(wrong)}"
        raise InvalidInput(problem, where=str(directory), fix=WEIGHTS_MISMATCH)
    bridge.requires_grad_(False)
    return bridge.eval()


def _native_fields() -> frozenset[str]:
    """Return the fields of `config.json` that TransformerLens reads; it ignores all others."""
    from transformer_lens.config import TransformerBridgeConfig

    parents = [kind for kind in TransformerBridgeConfig.__mro__ if kind is not object]
    names = {name for kind in parents for name in inspect.signature(kind).parameters}
    return frozenset(names - {"kwargs"})


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase | None:
    """Load the tokenizer saved beside the weights; None if there is none.

    Raises:
        InvalidInput: it cannot be loaded.
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
    except Exception as error:  # the tokenizers library raises bare exceptions
        raise InvalidInput(
            f"is not a tokenizer that can be loaded: {_describe_error(error)}",
            where=str(found[0]),
            fix="save it again with tokenizer.save_pretrained",
        ) from error


def _describe_error(error: Exception) -> str:
    """Return the text of `error`, with its class where the text alone is not informative."""
    text = " ".join(str(error).split())
    plain = isinstance(error, OSError | ValueError | RuntimeError) or type(error) is Exception
    return text if plain and text else f"{type(error).__name__}: {text}"


_MOST_LISTED = 4

# Masks and rotary tables that older versions of transformers saved and newer ones compute.
_COMPUTED = re.compile(
    r"(?:attn|attention)\.(?:bias|masked_bias|embed_positions)"
    r"|(?:rotary_emb|attn|attention)\.(?:inv_freq|cos_cached|sin_cached)"
)


def refuse_mismatches(loading: Mapping[str, Any], directory: Path) -> None:
    """Refuse weights that transformers would have initialised or ignored.

    Args:
        loading: loading report of transformers.
        directory: place that errors name.

    Raises:
        InvalidInput: a tensor is missing, of another shape, or not part of the model.
    """
    where, fix = str(directory), WEIGHTS_MISMATCH
    for name, stored, expected in sorted(loading["mismatched_keys"]):
        raise InvalidInput(
            f"has the shape {list(stored)} in the weights",
            where=where,
            field=name,
            allowed=f"{list(expected)}, as config.json requires",
            fix=fix,
        )
    if missing := sorted(loading["missing_keys"]):
        raise InvalidInput(f"tensors missing: {list_some(missing)}", where=where, fix=fix)
    if extra := sorted(name for name in loading["unexpected_keys"] if not _is_table(name)):
        raise InvalidInput(
            f"tensors that are not part of config.json: {list_some(extra)}", where=where, fix=fix
        )


# Modules that TransformerLens puts between those of the model.
_WRAPPER = re.compile(r"\b_?original_(?:component|model)\.")


def checkpoint_name(name: str, tensor: Tensor, directory: Path) -> str:
    """Return the name under which a file of weights holds the largest value of `tensor`.

    Args:
        name: of the tensor in the bridge, where a tensor of the file may be in parts.
        directory: place of the files.

    Returns:
        `name` without the modules of TransformerLens, if no file holds that value.
    """
    from safetensors import safe_open

    plain = _WRAPPER.sub("", name)
    largest = float(tensor.abs().max())
    found = []
    for file in weight_files(directory):
        with safe_open(file, framework="pt") as stored:
            for key in stored.keys():  # noqa: SIM118  (not a dict)
                values = stored.get_tensor(key)
                if values.is_floating_point() and bool((values.abs() == largest).any()):
                    found.append(key)
    return next((key for key in found if key == plain), found[0] if found else plain)


def refuse_not_finite(tensors: Iterable[tuple[str, Tensor]], where: str) -> None:
    """Raise InvalidInput for the first of `tensors` that holds a NaN or an infinity."""
    for name, tensor in tensors:
        if not tensor.is_floating_point() or tensor.numel() == 0:
            continue
        low, high = tensor.aminmax()  # one pass without a copy; NaN propagates
        if not bool(low.isfinite() & high.isfinite()):
            bad = int((~tensor.isfinite()).sum())
            raise InvalidInput(
                f"{bad} of {tensor.numel()} values are NaN or infinite",
                where=where,
                field=name,
                fix="use weights from before the training diverged",
            )


def _is_table(name: str) -> bool:
    return _COMPUTED.fullmatch(".".join(name.split(".")[-2:])) is not None


def list_some(names: list[str]) -> str:
    """Return the first few of `names`, and the number of the others."""
    more = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
