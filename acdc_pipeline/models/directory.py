"""A model directory, as far as its files say what it is: nothing of torch is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.json_text import read_json

NATIVE = "TransformerLensNative"

DAMAGED = "copy or download it again: it is cut off or damaged"
"""What to do about a file of weights that cannot be read."""

_ANEW = "save or download the model's config.json again"


def read_config(directory: Path) -> dict[str, Any]:
    """The `config.json` of a model directory.

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
        if path.exists() and not path.is_file():  # a pipe would be waited for
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
        raise InvalidInput(f"cannot be read: {error}", where=str(path), fix=_ANEW) from error
    if not isinstance(config, dict):
        raise InvalidInput("is not a JSON object", where=str(path), fix=_ANEW)
    return config


def unreadable(path: Path, error: OSError) -> InvalidInput:
    """The error for a file of a model that is there and cannot be read."""
    return InvalidInput(
        f"cannot be read: {error.strerror or error}",
        where=str(path),
        fix="check that it is a file that may be read, and the disk that it is on",
    )


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
