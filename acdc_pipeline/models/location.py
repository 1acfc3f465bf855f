"""From a model reference to a local directory and the revision of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.conversion.adapter import is_adapter, merge_adapter
from acdc_pipeline.models.conversion.gguf import convert_gguf
from acdc_pipeline.models.conversion.quantised import require_dequantisable
from acdc_pipeline.models.directory import read_config, unreadable, weight_files
from acdc_pipeline.models.tokenizer_settings import tokenizer_settings
from acdc_pipeline.models.zoo.catalogue import zoo_path
from acdc_pipeline.specs.base import sha256_of
from acdc_pipeline.specs.model_ref import ModelRef

_PATTERNS = [
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "vocab.*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
]


@dataclass(frozen=True)
class Located:
    """A model on this machine's disk. `revision` changes whenever the weights do."""

    directory: Path
    revision: str


def locate(ref: ModelRef) -> Located:
    """Where the model is on this disk; `hf:` models are downloaded if they are not cached.

    GGUF files and LoRA adapters are found as the folder of plain weights that they become, which
    is made at the first call and kept in the cache.

    Raises:
        UnknownName: no such zoo model.
        UnsupportedModel: a GGUF file of an architecture that transformers does not read.
        InvalidInput: no such file, directory or repository, or it holds no safetensors weights.
    """
    if ref.kind == "hf":
        return _hugging_face(ref)
    if ref.kind == "gguf":
        converted, revision = convert_gguf(Path(ref.name).expanduser())
        return Located(converted.directory, revision)
    directory = zoo_path(ref.name) if ref.kind == "zoo" else Path(ref.name).expanduser()
    if is_adapter(directory):
        converted, revision = merge_adapter(directory, _base_of_adapter)
        return Located(converted.directory, revision)
    require_dequantisable(read_config(directory), where=str(ref))
    return Located(directory, _digest(directory))


def pin(ref: ModelRef) -> Located:
    """`locate` for a plan: of an `hf:` model no more than its config.json is fetched.

    Raises:
        UnknownName: no such zoo model.
        UnsupportedModel: a GGUF file of an architecture that transformers does not read.
        InvalidInput: no such file, directory or repository, or (all but `hf:`) it holds no
            safetensors weights.
    """
    if ref.kind != "hf":
        return locate(ref)
    from huggingface_hub import hf_hub_download

    with _hub_faults(ref):
        directory = Path(hf_hub_download(ref.name, "config.json", revision=ref.revision)).parent
    return Located(directory, directory.name)


def _base_of_adapter(name: str, revision: str | None) -> Located:
    """The model that an adapter was trained on: a folder, or a repository of the hub."""
    if Path(name).expanduser().is_dir():
        return locate(ModelRef("dir", name))
    if Path(name).is_absolute():
        raise InvalidInput(
            f"no such folder: {name}",
            field="base_model_name_or_path",
            fix="write where the base model is now, or its name on the hub",
        )
    return locate(ModelRef.parse(f"hf:{name}" + (f"@{revision}" if revision else "")))


def _digest(directory: Path) -> str:
    """A hash over what decides the outputs: configuration, weights and tokenizer."""
    names = (
        "config.json",
        "tokenizer.json",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "tokenizer.model",
    )
    files = [directory / name for name in names if (directory / name).is_file()]
    total = hashlib.sha256()
    for file in [*files, *weight_files(directory)]:
        try:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise unreadable(file, error) from error
        total.update(f"{file.name}:{digest}\n".encode())
    if settings := tokenizer_settings(directory):
        total.update(f"tokenizer settings:{sha256_of(settings)}\n".encode())
    return total.hexdigest()[:20]


def _hugging_face(ref: ModelRef) -> Located:
    from huggingface_hub import snapshot_download

    # what is refused is refused before it is downloaded
    require_dequantisable(read_config(pin(ref).directory), where=str(ref))
    with _hub_faults(ref):
        directory = Path(
            snapshot_download(ref.name, revision=ref.revision, allow_patterns=_PATTERNS)
        )
    weight_files(directory)
    # A snapshot's folder is named after the commit it was taken from.
    return Located(directory, directory.name)


@contextmanager
def _hub_faults(ref: ModelRef) -> Iterator[None]:
    """Turns what can go wrong between here and the hub into InvalidInput."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        yield
    except LocalEntryNotFoundError as error:
        raise InvalidInput(
            f"{ref} is not in the local Hugging Face cache, and the hub cannot be reached",
            fix="check the network, unset HF_HUB_OFFLINE, or give a local copy as dir:PATH",
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise InvalidInput(
            f"{ref} cannot be downloaded: {str(error).splitlines()[0]}",
            fix="check the name; for a gated model, log in with 'hf auth login'; an adapter or "
            "a GGUF file is downloaded first, and named as dir:PATH or gguf:FILE",
        ) from error
