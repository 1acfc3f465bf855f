"""From a model reference to a local directory and the revision of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from acdc_pipeline.errors import InvalidInput
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

    Raises:
        UnknownName: no such zoo model.
        InvalidInput: no such directory or repository, or it holds no safetensors weights.
    """
    if ref.kind == "hf":
        return _hugging_face(ref)
    directory = zoo_path(ref.name) if ref.kind == "zoo" else Path(ref.name).expanduser()
    read_config(directory)
    return Located(directory, _digest(directory))


def pin(ref: ModelRef) -> Located:
    """`locate` for a plan: of an `hf:` model no more than its config.json is fetched.

    Raises:
        UnknownName: no such zoo model.
        InvalidInput: no such directory or repository, or (`zoo:`, `dir:`) it holds no safetensors
            weights.
    """
    if ref.kind != "hf":
        return locate(ref)
    from huggingface_hub import hf_hub_download

    with _hub_faults(ref):
        directory = Path(hf_hub_download(ref.name, "config.json", revision=ref.revision)).parent
    return Located(directory, directory.name)


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
            fix="check the name; for a gated model, log in with 'hf auth login'",
        ) from error
