"""The files of a model directory, read without torch: config.json, names of weights, tokenizer."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.text import list_first

NATIVE = "TransformerLensNative"

WEIGHTS = "model.safetensors"
"""File of the weights, where they are not in several."""

# `model-00002-of-00003.safetensors`
_PART = re.compile(r"(.+)-[0-9]{5}-of-([0-9]{5})\.safetensors")
_MOST_PARTS = 10_000

PICKLED_WEIGHTS = "pytorch_model.bin"
"""Pickled weights that `save_pretrained` wrote before safetensors."""

DAMAGED = "copy or download it again: it is cut off or damaged"
"""Fix for a file of weights that cannot be read."""

WEIGHTS_MISMATCH = "use the config.json that was saved together with these weights"
"""Fix for weights that do not fit config.json."""

SHOW_SUPPORTED = "'acdc models list' shows the architectures that are reproduced"
"""Fix for a model that is not reproduced."""

_SAVE_CONFIG = "save or download the model's config.json again"


def read_config(directory: Path) -> dict[str, Any]:
    """Return the `config.json` of a model directory.

    Raises:
        InvalidInput: the directory or its config is missing or unreadable.
    """
    if not directory.is_dir():
        gguf = directory.suffix == ".gguf" and directory.is_file()
        raise InvalidInput(
            f"no such model directory: {directory}",
            fix=f"did you mean 'gguf:{directory}'?" if gguf else "check the path after dir:",
        )
    path = directory / "config.json"
    try:
        if path.exists() and not path.is_file():  # reading a pipe would block
            raise OSError("is not a file")
        config = read_json(path.read_bytes())
    except FileNotFoundError:
        files = sorted(directory.glob("*.gguf"))
        raise InvalidInput(
            "this directory holds no config.json, so it is not a model",
            where=str(directory),
            fix=f"did you mean 'gguf:{files[0]}'?"
            if files
            else "point at a save_pretrained directory or a TransformerLens-format one",
        ) from None
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise InvalidInput(f"cannot be read: {error}", where=str(path), fix=_SAVE_CONFIG) from error
    if not isinstance(config, dict):
        raise InvalidInput("is not a JSON object", where=str(path), fix=_SAVE_CONFIG)
    return config


def unreadable(path: Path, error: OSError) -> InvalidInput:
    """Return the error for a file of a model that exists but cannot be read."""
    return InvalidInput(
        f"cannot be read: {error.strerror or error}",
        where=str(path),
        fix="check the permissions of the file, and the disk",
    )


def architecture_of(config: dict[str, Any]) -> str:
    """Return the architecture in a `config.json`: a Hugging Face class name, or NATIVE."""
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures:
        return str(architectures[0])
    if "d_model" in config and "n_heads" in config and "model_type" not in config:
        return NATIVE
    return str(config.get("model_type", "unknown"))


def weight_files(directory: Path) -> list[Path]:
    """Return the safetensors files of a model directory, sorted.

    Raises:
        InvalidInput: there are none, or a part of them is missing. Pickled checkpoints are
            refused: loading them runs code.
    """
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        pickles = sorted(p.name for p in (*directory.glob("*.bin"), *directory.glob("*.pt*")))
        found = f" (only {', '.join(pickles)}, which would run code on load)" if pickles else ""
        whole = (
            any(name.startswith(PICKLED_WEIGHTS) for name in pickles)
            or (directory / f"{PICKLED_WEIGHTS}.index.json").is_file()
        )
        source = directory if whole else directory / pickles[0] if pickles else None
        out = directory.with_name(f"{directory.resolve().name}-safetensors")
        raise InvalidInput(
            f"no .safetensors weights in {directory}{found}",
            fix="save the model with save_pretrained(..., safe_serialization=True)"
            if source is None
            else shlex.join(["acdc", "models", "convert", str(source), str(out)])
            + ", which reads them without running code",
        )
    _refuse_missing_parts(directory, {file.name for file in files})
    return files


def _refuse_missing_parts(directory: Path, present: set[str]) -> None:
    """Raise InvalidInput for files of weights that an index or the names of the others imply."""
    if WEIGHTS in present:  # transformers then reads this file alone
        return
    index = directory / f"{WEIGHTS}.index.json"
    numbered = [match for name in sorted(present) if (match := _PART.fullmatch(name))]
    needed = {
        f"{match[1]}-{part:05}-of-{match[2]}.safetensors"
        for match in numbered[:1]
        for part in range(1, min(int(match[2]), _MOST_PARTS) + 1)
    }
    where, reason = str(directory), f"{len(numbered)} files of the same model are here"
    if index.is_file():
        needed = set(read_index(index).values())
        where, reason = str(index), "this index names them"
    if missing := sorted(needed - present):
        raise InvalidInput(
            f"files of weights are missing: {list_first(missing, 4)}; {reason}",
            where=where,
            fix="copy or download the missing files into the same folder",
        )


def read_index(path: Path) -> dict[str, str]:
    """Return the file of each tensor in an index of weights. Raises InvalidInput."""
    fix = "copy or download the index again"
    try:
        document = read_json(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise InvalidInput(f"cannot be read: {error}", where=str(path), fix=fix) from error
    files = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        raise InvalidInput(
            "does not give the file of each tensor", where=str(path), field="weight_map", fix=fix
        )
    return files


TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
)
"""Files that may hold the vocabulary."""

# Settings without influence on the tokens of a text: decoding, chats, padding, truncation, and
# special tokens around a text, which tasks add by themselves.
_WITHOUT_INFLUENCE = frozenset(
    {
        "add_bos_token",
        "add_eos_token",
        "backend",
        "chat_template",
        "clean_up_tokenization_spaces",
        "errors",
        "is_local",
        "local_files_only",
        "model_max_length",
        "name_or_path",
        "padding_side",
        "processor_class",
        "response_schema",
        "special_tokens_map_file",
        "tokenizer_file",
        "truncation_side",
    }
)
SETTINGS_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def read_tokenizer_settings(directory: Path) -> dict[str, Any]:
    """Return the settings that decide the tokens of a text and which of them are special, by name.

    Settings from files of older versions are prefixed by the file: `added_tokens.json: <sep>`.

    Raises:
        InvalidInput: a file cannot be read.
    """
    found: dict[str, Any] = {}
    for name in SETTINGS_FILES:
        try:
            settings = read_json((directory / name).read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"cannot be read: {error}",
                where=str(directory / name),
                fix="save it again with tokenizer.save_pretrained",
            ) from error
        if not isinstance(settings, dict):
            raise InvalidInput("is not a JSON object", where=str(directory / name))
        prefix = "" if name == SETTINGS_FILES[0] else f"{name}: "
        found |= {
            f"{prefix}{key}": v for key, v in settings.items() if key not in _WITHOUT_INFLUENCE
        }
    return found
