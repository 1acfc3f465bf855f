"""Merge LoRA adapters (folders with `adapter_config.json`) into their base model.

Merging needs the package `peft` (extra `peft`); the result is cached. `base_model_name_or_path`
names the base model: a folder, or a repository of the hub.
"""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from acdc_pipeline.errors import AcdcError, InvalidInput
from acdc_pipeline.models.config import require_dequantisable
from acdc_pipeline.models.conversion.cache import (
    Converted,
    convert_once,
    file_sha256,
    save_plain,
)
from acdc_pipeline.models.directory import (
    DAMAGED,
    TOKENIZER_FILES,
    read_config,
    read_tokenizer_settings,
    unreadable,
    weight_files,
)
from acdc_pipeline.specs.base import read_json, sha256_of

_log = logging.getLogger(__name__)

RECIPE = 1
"""Increased whenever this module makes other weights from the same adapter."""

CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"


class Base(Protocol):
    """Local directory and revision of the base model."""

    @property
    def directory(self) -> Path: ...

    @property
    def revision(self) -> str: ...


def is_adapter(directory: Path) -> bool:
    """Return whether the folder holds an adapter and not a whole model."""
    return (directory / CONFIG).is_file() and not (directory / "config.json").exists()


def merge_adapter(
    directory: Path, locate_base: Callable[[str, str | None], Base]
) -> tuple[Converted, str]:
    """Return the adapter merged into its base model, in the cache, and the revision.

    The revision is a hash over the adapter's files and the revision of the base model.

    Args:
        directory: folder of the adapter.
        locate_base: function from name and revision to the base model.

    Raises:
        InvalidInput: no safetensors weights, no base model, not a LoRA, or peft is not installed.
    """
    settings = _read_settings(directory)
    if find_spec("peft") is None:
        raise InvalidInput(
            f"is a {_adapter_type(settings)} adapter of {settings['base_model_name_or_path']}; "
            "merging it needs the package peft, which is not installed",
            where=str(directory),
            fix="pip install 'acdc-pipeline[peft]', or save the model that merge_and_unload() "
            "gives and name that folder",
        )
    try:
        base = locate_base(settings["base_model_name_or_path"], settings.get("revision"))
    except AcdcError as error:
        raise error.at(str(directory / CONFIG))  # noqa: B904  (the same error)
    require_dequantisable(read_config(base.directory), where=str(base.directory))
    adapter = sha256_of(_hash_parts(directory))
    parts = {
        "kind": "adapter",
        "adapter": adapter,
        "base": base.revision,
        "recipe": str(RECIPE),
        **{name: version(name) for name in ("peft", "transformers", "tokenizers")},
    }
    found = convert_once(directory.name, parts, partial(_merge, directory, base.directory))
    text = f"adapter {RECIPE}\n{adapter}\n{base.revision}\n"
    return found, hashlib.sha256(text.encode()).hexdigest()[:20]


def _read_settings(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG
    try:
        settings = read_json(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise InvalidInput(f"cannot be read: {error}", where=str(path), fix=DAMAGED) from error
    if not isinstance(settings, dict):
        raise InvalidInput("is not a JSON object", where=str(path), fix=DAMAGED)
    if not isinstance(settings.get("base_model_name_or_path"), str):
        raise InvalidInput(
            "does not name the model that the adapter belongs to",
            where=str(path),
            field="base_model_name_or_path",
            allowed="a folder, or ORG/NAME of the Hugging Face hub",
        )
    if _adapter_type(settings) != "LORA":
        raise InvalidInput(
            f"{_adapter_type(settings)} adapters cannot be merged into a model",
            where=str(path),
            field="peft_type",
            allowed="LORA",
        )
    if not (directory / _WEIGHTS).is_file():
        if any(directory.glob("*.bin")):
            weight_files(directory)  # raises, naming the pickled weights
        raise InvalidInput(
            f"holds no {_WEIGHTS}", where=str(directory), fix="save it again with save_pretrained"
        )
    return settings


def _adapter_type(settings: dict[str, Any]) -> str:
    return str(settings.get("peft_type", "LORA")).upper()


def _hash_parts(directory: Path) -> dict[str, Any]:
    """Return hashes and settings of the adapter's folder that decide the merged model."""
    names = (CONFIG, _WEIGHTS, *TOKENIZER_FILES)
    files = {name: file_sha256(directory / name) for name in names if (directory / name).is_file()}
    return {"files": files, "tokenizer settings": read_tokenizer_settings(directory)}


def _merge(directory: Path, base: Path, target: Path) -> None:
    import torch
    from peft import PeftModel

    from acdc_pipeline.models.bridge import load_pretrained, load_tokenizer

    _log.info("merging %s into its base model, once; kept in %s", directory.name, target.parent)
    model = load_pretrained(base, dtype=torch.float32)
    with _translate_peft_errors(directory):
        merged = PeftModel.from_pretrained(model, str(directory)).merge_and_unload()
    tokenizer = load_tokenizer(directory) or load_tokenizer(base)
    save_plain(merged, tokenizer, target)


@contextmanager
def _translate_peft_errors(directory: Path) -> Iterator[None]:
    """Turn the errors that peft raises for an unsuitable adapter into InvalidInput."""
    try:
        with warnings.catch_warnings():
            # peft uses a deprecated name of transformers
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            warnings.filterwarnings("error", "Found missing adapter keys", UserWarning)
            yield
    except UserWarning as error:
        missing = re.findall(r"'([^']+)'", str(error)) or ["some"]
        raise InvalidInput(
            f"lacks {len(missing)} of the tensors that its settings ask for, {missing[0]} first",
            where=str(directory / _WEIGHTS),
            fix="save the adapter again, or name in adapter_config.json what it changes "
            "(target_modules, layers_to_transform)",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        text = " ".join(str(error).split())
        raise InvalidInput(
            f"cannot be merged into its base model: {type(error).__name__}: {text}",
            where=str(directory),
            fix="check base_model_name_or_path in adapter_config.json",
        ) from error
