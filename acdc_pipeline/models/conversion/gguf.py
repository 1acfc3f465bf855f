"""`gguf:PATH/FILE.gguf`: files of llama.cpp, read by transformers and dequantised to float32.

The package `gguf` (extra `gguf`) must be installed: its version is part of what a converted model
is found by in the cache.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.models.conversion.cache import (
    Converted,
    convert_once,
    file_sha256,
    save_plain,
)
from acdc_pipeline.models.directory import unreadable

RECIPE = 1
"""Increased whenever this module makes other weights or tokenizers from the same file."""

_log = logging.getLogger(__name__)

_MAGIC = b"GGUF"
_DAMAGED = "download it again: it is cut off or damaged"
_USE_SAFETENSORS = "use the model's safetensors repository: hf:ORG/NAME or dir:PATH"


def convert_gguf(path: Path) -> tuple[Converted, str]:
    """Return the file converted into a cached folder of plain weights, and the revision.

    The revision is a hash over the bytes of the file and the converted weights.

    Raises:
        UnsupportedModel: transformers cannot read this architecture from GGUF, or not completely.
        InvalidInput: no such file, not a GGUF file, damaged, or the package is missing.
    """
    _require_file(path)
    _require_package(path)
    digest = file_sha256(path)
    parts = {
        "kind": "gguf",
        "file": digest,
        "recipe": str(RECIPE),
        **{name: version(name) for name in ("gguf", "transformers", "tokenizers")},
    }
    found = convert_once(path.name, parts, partial(_convert, path))
    revision = hashlib.sha256(f"gguf {RECIPE}\n{digest}\n{found.weights}\n".encode()).hexdigest()
    return found, revision[:20]


def _require_file(path: Path) -> None:
    if path.is_dir():
        names = sorted(file.name for file in path.glob("*.gguf"))
        raise InvalidInput(
            "is a folder",
            where=str(path),
            allowed=f"the file in it: {', '.join(names)}" if names else "a .gguf file",
            fix=f"gguf:{path / names[0]}" if names else "check the path after gguf:",
        )
    if not path.exists():
        raise InvalidInput(f"no such file: {path}", fix="check the path after gguf:")
    if not path.is_file():  # reading a pipe would block
        raise InvalidInput("is not a file", where=str(path), fix="check the path after gguf:")
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
    except OSError as error:
        raise unreadable(path, error) from error
    if magic != _MAGIC:
        raise InvalidInput(
            "is not a GGUF file: it does not begin with the letters GGUF",
            where=str(path),
            fix="name a .gguf file; a folder of safetensors is dir:PATH",
        )


def _require_package(path: Path) -> None:
    if find_spec("gguf") is None:
        raise InvalidInput(
            "reading a GGUF file needs the package gguf, which is not installed",
            where=str(path),
            fix="pip install 'acdc-pipeline[gguf]'",
        )


def _convert(path: Path, directory: Path) -> None:
    names = _read_tensor_names(path)
    megabytes = path.stat().st_size / 1e6
    _log.info(
        "converting %s (%.0f MB) to float32, once; kept in %s",
        path.name,
        megabytes,
        directory.parent,
    )
    model, tokenizer = _load_pretrained(path)
    _refuse_ignored(path, names, model)
    save_plain(model, tokenizer, directory)


def _read_tensor_names(path: Path) -> list[str]:
    """Return the names of all tensors, after checking that the file is complete and readable.

    Raises:
        InvalidInput: it is cut off, damaged, or one of several parts.
        UnsupportedModel: transformers cannot read its architecture or its positions.
    """
    from gguf import GGUFReader
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    try:
        reader: Any = GGUFReader(path)
        fields = {
            name: field.contents() for name, field in reader.fields.items() if len(field.data) == 1
        }
        names = [tensor.name for tensor in reader.tensors]
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError, TypeError) as error:
        # The reader may fail anywhere at the end of a truncated file.
        raise InvalidInput("cannot be read to its end", where=str(path), fix=_DAMAGED) from error
    parts = fields.get("split.count", 1)
    if parts > 1:
        raise InvalidInput(
            f"is one of {parts} parts of a model",
            where=str(path),
            fix="put them together: llama-gguf-split --merge FIRST-PART WHOLE.gguf",
        )
    architecture = str(fields.get("general.architecture", "unknown"))
    if architecture not in GGUF_SUPPORTED_ARCHITECTURES:
        known = set(GGUF_SUPPORTED_ARCHITECTURES) - {"general", "tokenizer"}
        raise UnsupportedModel(
            f"transformers {version('transformers')} does not read the architecture "
            f"'{architecture}' from GGUF files",
            where=str(path),
            allowed=", ".join(sorted(known)),
            fix=_USE_SAFETENSORS,
        )
    if (scaling := fields.get(f"{architecture}.rope.scaling.type", "none")) != "none":
        raise UnsupportedModel(
            f"its rotary positions are rescaled ({scaling}), which transformers does not read from "
            "GGUF files",
            where=str(path),
            fix=_USE_SAFETENSORS,
        )
    return names


def _load_pretrained(path: Path) -> tuple[Any, Any]:
    """Return model and tokenizer in float32, as transformers reads them."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from acdc_pipeline.models.bridge import quiet_transformers, refuse_mismatches

    loader: Any = AutoModelForCausalLM
    tokenizers: Any = AutoTokenizer
    with quiet_transformers(), _disable_progress_bar(), _translate_reading_errors(path):
        model, loading = loader.from_pretrained(
            path.parent,
            gguf_file=path.name,
            output_loading_info=True,
            dtype=torch.float32,
            # Otherwise weights stay packed where kernels for them are installed.
            quantization_config=GgufConfig(dequantize=True),
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # mismatches are then reported by name
        )
        tokenizer = tokenizers.from_pretrained(
            path.parent, gguf_file=path.name, local_files_only=True, trust_remote_code=False
        )
    refuse_mismatches(loading, path)
    return model, tokenizer


def _refuse_ignored(path: Path, names: list[str], model: Any) -> None:
    """Refuse a file with tensors that transformers ignores.

    Examples are frequencies of rescaled rotary positions, and biases of a Llama.
    """
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    from acdc_pipeline.models.bridge import list_some

    kind = TENSOR_PROCESSORS.get(model.config.model_type.removesuffix("_text"), TensorProcessor)
    places = get_gguf_hf_weights_map(model, kind(config=model.config.to_dict()))
    if ignored := sorted(set(names) - set(places)):
        raise UnsupportedModel(
            f"transformers leaves out tensors of this file: {list_some(ignored)}",
            where=str(path),
            fix=_USE_SAFETENSORS,
        )


@contextmanager
def _translate_reading_errors(path: Path) -> Iterator[None]:
    """Turn the errors of transformers for a complete but unusual file into InvalidInput."""
    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        ArithmeticError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        text = " ".join(str(error).split())
        raise InvalidInput(
            f"transformers cannot read it: {type(error).__name__}: {text}",
            where=str(path),
            fix=_USE_SAFETENSORS,
        ) from error


@contextmanager
def _disable_progress_bar() -> Iterator[None]:
    """Disable the progress bar of the GGUF loader, for which transformers has no setting."""
    from transformers import modeling_gguf_pytorch_utils

    loader: Any = modeling_gguf_pytorch_utils
    shown = loader.tqdm
    loader.tqdm = partial(shown, disable=True)
    try:
        yield
    finally:
        loader.tqdm = shown
