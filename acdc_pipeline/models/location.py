"""Find the local directory of a model, and the revision of its weights."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.config import require_dequantisable
from acdc_pipeline.models.conversion.adapter import is_adapter, merge_adapter
from acdc_pipeline.models.conversion.cache import file_sha256
from acdc_pipeline.models.conversion.gguf import convert_gguf
from acdc_pipeline.models.directory import (
    TOKENIZER_FILES,
    read_config,
    read_tokenizer_settings,
    unreadable,
    weight_files,
)
from acdc_pipeline.models.zoo import zoo_path
from acdc_pipeline.specs.base import sha256_of
from acdc_pipeline.specs.model_ref import ModelRef

_DOWNLOADED = [
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "vocab.*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
]

# Hashes of files from this size on, which take a tenth of a second or more, are kept in the cache.
_LARGE_FILE = 2**26


_SECONDS_TO_CONNECT = 2.0


@dataclass(frozen=True)
class Located:
    """A model directory on this disk, and a revision that changes whenever the weights do."""

    directory: Path
    revision: str


def locate(ref: ModelRef) -> Located:
    """Return the local directory of a model; `hf:` models are downloaded if they are not cached.

    GGUF files and LoRA adapters are converted into a directory of plain weights, which is cached.

    Raises:
        UnknownName: no such zoo model.
        UnsupportedModel: a GGUF file of an architecture that transformers cannot read.
        InvalidInput: no such file, directory or repository, or it holds no safetensors weights.
    """
    if ref.kind == "hf":
        return _locate_hugging_face(ref)
    if ref.kind == "gguf":
        converted, revision = convert_gguf(Path(ref.name).expanduser())
        return Located(converted.directory, revision)
    directory = zoo_path(ref.name) if ref.kind == "zoo" else Path(ref.name).expanduser()
    if is_adapter(directory):
        converted, revision = merge_adapter(directory, _locate_adapter_base)
        return Located(converted.directory, revision)
    require_dequantisable(read_config(directory), where=str(ref))
    return Located(directory, _hash_files(directory))


def pin(ref: ModelRef) -> Located:
    """Return the same as `locate`, but download no more than config.json of an `hf:` model.

    Raises:
        UnknownName: no such zoo model.
        UnsupportedModel: a GGUF file of an architecture that transformers cannot read.
        InvalidInput: no such file, directory or repository, or (all but `hf:`) it holds no
            safetensors weights.
    """
    return _pin_hugging_face(ref, is_unreachable()) if ref.kind == "hf" else locate(ref)


def _pin_hugging_face(ref: ModelRef, unreachable: bool) -> Located:
    from huggingface_hub import hf_hub_download

    with _translate_hub_errors(ref):
        found = hf_hub_download(
            ref.name, "config.json", revision=ref.revision, local_files_only=unreachable
        )
    directory = Path(found).parent
    return Located(directory, directory.name)


def _locate_adapter_base(name: str, revision: str | None) -> Located:
    """Return the model that an adapter was trained on: a folder or a repository of the hub."""
    if Path(name).expanduser().is_dir():
        return locate(ModelRef("dir", name))
    if Path(name).is_absolute():
        raise InvalidInput(
            f"no such folder: {name}",
            field="base_model_name_or_path",
            fix="give the current folder of the base model, or its name on the hub",
        )
    return locate(ModelRef.parse(f"hf:{name}" + (f"@{revision}" if revision else "")))


def _hash_files(directory: Path) -> str:
    """Return a hash of everything that decides the outputs: config, weights and tokenizer."""
    names = ("config.json", *TOKENIZER_FILES)
    files = [directory / name for name in names if (directory / name).is_file()]
    total = hashlib.sha256()
    for file in [*files, *weight_files(directory)]:
        try:
            if file.stat().st_size < _LARGE_FILE:
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
            else:
                digest = file_sha256(file)
        except OSError as error:
            raise unreadable(file, error) from error
        total.update(f"{file.name}:{digest}\n".encode())
    if settings := read_tokenizer_settings(directory):
        total.update(f"tokenizer settings:{sha256_of(settings)}\n".encode())
    return total.hexdigest()[:20]


def _locate_hugging_face(ref: ModelRef) -> Located:
    from huggingface_hub import constants, snapshot_download

    unreachable = is_unreachable()
    # Refuse a model before downloading it.
    config = read_config(_pin_hugging_face(ref, unreachable).directory)
    require_dequantisable(config, where=str(ref))
    with _translate_hub_errors(ref):
        directory = Path(
            snapshot_download(
                ref.name,
                revision=ref.revision,
                allow_patterns=_DOWNLOADED,
                local_files_only=unreachable,
            )
        )
    if not any(directory.glob("*.safetensors")):
        if (unreachable or constants.HF_HUB_OFFLINE) and not any(directory.glob("*.bin")):
            raise _not_cached(f"the weights of {ref} are")
        folder = ref.name.rpartition("/")[2]
        revision = f" --revision {ref.revision}" if ref.revision else ""
        raise InvalidInput(
            f"{ref} has no safetensors weights",
            fix=f"hf download {ref.name}{revision} --local-dir {folder} && acdc models convert "
            f"{folder} {folder}-safetensors; then name dir:{folder}-safetensors",
        )
    # The folder of a snapshot is named after its commit.
    return Located(directory, directory.name)


def is_unreachable() -> bool:
    """Return whether no connection to the hub can be made.

    The client of the hub tries for half a minute before it looks into its cache. Behind a proxy,
    or with `HF_HUB_OFFLINE`, no connection is tried here.
    """
    from huggingface_hub import constants

    place = urlsplit(constants.ENDPOINT)
    host, proxies = place.hostname or "", getproxies()
    behind_proxy = (place.scheme in proxies or "all" in proxies) and not proxy_bypass(host)
    if constants.HF_HUB_OFFLINE or behind_proxy:
        return False
    port = place.port or (80 if place.scheme == "http" else 443)
    try:
        socket.create_connection((host, port), timeout=_SECONDS_TO_CONNECT).close()
    except OSError:
        return True
    return False


def _not_cached(what: str) -> InvalidInput:
    return InvalidInput(
        f"{what} not in the local Hugging Face cache, and the hub cannot be reached",
        fix="check the network, unset HF_HUB_OFFLINE, or give a local copy as dir:PATH",
    )


@contextmanager
def _translate_hub_errors(ref: ModelRef) -> Iterator[None]:
    """Turn errors of the hub and the network into InvalidInput."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        yield
    except LocalEntryNotFoundError as error:
        raise _not_cached(f"{ref} is") from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise InvalidInput(
            f"{ref} cannot be downloaded: {str(error).splitlines()[0]}",
            fix="check the name; for a gated model, log in with 'hf auth login'; an adapter or "
            "a GGUF file is downloaded first, and named as dir:PATH or gguf:FILE",
        ) from error
