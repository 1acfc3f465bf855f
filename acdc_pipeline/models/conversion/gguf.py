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
from acdc_pipeline.models.conversion.cache import Converted, converted, file_sha256
from acdc_pipeline.models.directory import unreadable

RECIPE = 1
"""Raised whenever this module makes other weights or another tokenizer of the same file."""

_log = logging.getLogger(__name__)

_MAGIC = b"GGUF"
_DAMAGED = "download it again: it is cut off or damaged"


def convert_gguf(path: Path) -> tuple[Converted, str]:
    """The file as a folder of plain weights with its tokenizer, and the revision of the model.

    The revision is a hash over the bytes of the file and the weights that they became.

    Raises:
        UnsupportedModel: transformers does not read this architecture from GGUF, or not wholly.
        InvalidInput: no such file, no GGUF file, a damaged one, or the package is missing.
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
    found = converted(parts, partial(_convert, path))
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
    if not path.is_file():  # a pipe would be waited for
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
    from acdc_pipeline.models.conversion.plain import save_plain

    names = _check_content(path)
    megabytes = path.stat().st_size / 1e6
    _log.info(
        "converting %s (%.0f MB) to float32, once; kept in %s",
        path.name,
        megabytes,
        directory.parent,
    )
    model, tokenizer = _pretrained(path)
    _refuse_ignored(path, names, model)
    save_plain(model, tokenizer, directory)


def _check_content(path: Path) -> list[str]:
    """The names of all tensors of the file, which is complete and of an architecture that is read.

    Raises:
        InvalidInput: it is cut off, damaged, or one of several parts.
        UnsupportedModel: transformers does not read its architecture or its positions.
    """
    from gguf import GGUFReader
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    try:
        reader: Any = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items() if _short(field)}
        names = [tensor.name for tensor in reader.tensors]
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError, TypeError) as error:
        # its reader meets the end of the file wherever that happens to be
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
            fix="take the model's safetensors repository: hf:ORG/NAME or dir:PATH",
        )
    if (scaling := fields.get(f"{architecture}.rope.scaling.type", "none")) != "none":
        raise UnsupportedModel(
            f"its rotary positions are rescaled ({scaling}), which transformers does not read from "
            "GGUF files",
            where=str(path),
            fix="take the model's safetensors repository: hf:ORG/NAME or dir:PATH",
        )
    return names


def _short(field: Any) -> bool:
    """Whether a field is a single value: vocabularies have a hundred thousand."""
    return len(field.data) == 1


def _pretrained(path: Path) -> tuple[Any, Any]:
    """Model and tokenizer, as transformers reads them, in float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from acdc_pipeline.models.bridge import quiet_transformers
    from acdc_pipeline.models.fit import refuse_misfits

    loader: Any = AutoModelForCausalLM
    tokenizers: Any = AutoTokenizer
    with quiet_transformers(), _no_bar(), _reading_faults(path):
        model, loading = loader.from_pretrained(
            path.parent,
            gguf_file=path.name,
            output_loading_info=True,
            dtype=torch.float32,
            # otherwise weights stay packed on machines that have kernels for them
            quantization_config=GgufConfig(dequantize=True),
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # reported then, and refused by name
        )
        tokenizer = tokenizers.from_pretrained(
            path.parent, gguf_file=path.name, local_files_only=True, trust_remote_code=False
        )
    refuse_misfits(loading, path)
    return model, tokenizer


def _refuse_ignored(path: Path, names: list[str], model: Any) -> None:
    """Refuse tensors of the file that the model has no place for, and transformers leaves out.

    Frequencies of rescaled rotary positions are among them, and biases of a Llama that has some.
    """
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    from acdc_pipeline.models.fit import named

    kind = TENSOR_PROCESSORS.get(model.config.model_type.removesuffix("_text"), TensorProcessor)
    places = get_gguf_hf_weights_map(model, kind(config=model.config.to_dict()))
    if ignored := sorted(set(names) - set(places)):
        raise UnsupportedModel(
            f"transformers leaves out tensors of this file: {named(ignored)}",
            where=str(path),
            fix="take the model's safetensors repository: hf:ORG/NAME or dir:PATH",
        )


@contextmanager
def _reading_faults(path: Path) -> Iterator[None]:
    """Turns what transformers raises of a file that is whole but odd into InvalidInput."""
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
            fix="take the model's safetensors repository: hf:ORG/NAME or dir:PATH",
        ) from error


@contextmanager
def _no_bar() -> Iterator[None]:
    """Without the bar of the GGUF loader, which no setting of transformers turns off."""
    from transformers import modeling_gguf_pytorch_utils

    loader: Any = modeling_gguf_pytorch_utils
    shown = loader.tqdm
    loader.tqdm = partial(shown, disable=True)
    try:
        yield
    finally:
        loader.tqdm = shown
