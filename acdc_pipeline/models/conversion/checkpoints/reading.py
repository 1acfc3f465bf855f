"""Read a checkpoint file: find its state dict, and the settings of the model saved beside it."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from acdc_pipeline.errors import InvalidInput, suggestion
from acdc_pipeline.models.directory import DAMAGED, unreadable
from acdc_pipeline.text import list_first

PICKLED = (".pt", ".pth", ".bin", ".ckpt")
SUFFIXES = (*PICKLED, ".npz", ".safetensors")

SAVE_PLAIN = (
    "where the model was trained, save its tensors alone: "
    "torch.save(model.state_dict(), 'plain.pt')"
)
"""Fix for a file that holds more than tensors and plain values."""

# Entries of a training checkpoint that hold the weights.
_WRAPPERS = (
    "model_state_dict",
    "state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "params",
    "weights",
)
# Entries that hold the settings of the model; those of nanoGPT's model come before its training's.
_SETTINGS = (
    "model_args",
    "model_config",
    "config",
    "cfg",
    "hyper_parameters",
    "hparams",
    "args",
)
# Names that wrappers of modules put in front of those of parameters.
_PREFIXES = ("_orig_mod.", "module.", "model.", "net.", "network.", "gpt.")

_MOST_NAMED = 6


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    Args:
        tensors: parameters and buffers by name, without the prefixes of wrappers.
        settings: what the file says about the model, unchecked; empty if nothing.
        settings_key: entry of the file that holds `settings`.
    """

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    settings_key: str | None


def read_checkpoint(path: Path, key: str | None = None) -> Checkpoint:
    """Read `.pt`, `.pth`, `.ckpt`, `.bin` (without running code), `.npz` or `.safetensors`.

    Args:
        path: the file.
        key: place of the state dict in the file, such as `state_dicts.400`; None to find it.

    Raises:
        InvalidInput: the file cannot be read safely, or holds no state dict or several.
    """
    content = _load(path)
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        raise InvalidInput(f"holds a {kind} and no state dict", where=str(path), fix=SAVE_PLAIN)
    state = _at_key(content, key, path) if key is not None else _find_state(content, path)
    settings_key = next((k for k in _SETTINGS if isinstance(content.get(k), Mapping)), None)
    settings = {} if settings_key is None else content[settings_key]
    return Checkpoint(_strip_prefixes(state), settings, settings_key)


def load_pickled(path: Path) -> Any:
    """Return what `torch.load(weights_only=True)` reads from a pickled file, on the CPU.

    Raises:
        InvalidInput: the file is damaged, or holds objects whose loading could run code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"(?:GLOBAL|Unsupported class) ([\w.]+)", str(error))
        if found is None:
            raise InvalidInput(
                "cannot be read: it is not a file that torch.save wrote",
                where=str(path),
                fix=f"{DAMAGED}; or {SAVE_PLAIN}",
            ) from error
        raise InvalidInput(
            f"holds Python objects besides tensors ({found[1]}); loading those could run code",
            where=str(path),
            fix=SAVE_PLAIN,
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise InvalidInput(f"cannot be read: {text}", where=str(path), fix=DAMAGED) from error


def _load(path: Path) -> Any:
    if not path.is_file():
        raise InvalidInput(f"no such file: {path}", fix="check the path")
    if path.suffix not in SUFFIXES:
        raise InvalidInput(
            f"'{path.suffix}' is not the ending of a checkpoint that can be read",
            where=str(path),
            allowed=", ".join(SUFFIXES),
        )
    if path.suffix == ".npz":
        return _load_arrays(path)
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    return load_pickled(path)


def _load_arrays(path: Path) -> dict[str, Tensor]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInput(
            f"cannot be read: {error}",
            where=str(path),
            fix="save plain arrays: numpy.savez(path, **{name: array, ...})",
        ) from error


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, SafetensorError) as error:
        raise InvalidInput(f"cannot be read: {error}", where=str(path), fix=DAMAGED) from error


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(name, str) for name in content)
        and all(isinstance(value, Tensor) for value in content.values())
    )


def _find_state(content: Mapping[Any, Any], path: Path) -> Mapping[str, Tensor]:
    if _is_state(content):
        return content
    found = [key for key in _WRAPPERS if _is_state(content.get(key))]
    if len(found) == 1:
        return content[found[0]]
    names = list_first([str(key) for key in content], _MOST_NAMED) or "nothing"
    if found:
        raise InvalidInput(
            f"holds several state dicts: {', '.join(found)}",
            where=str(path),
            fix=f"choose one with --key, such as --key {found[0]}",
        )
    raise InvalidInput(
        f"no state dict was found; the file holds {names}",
        where=str(path),
        allowed=f"tensors by name, alone or under {', '.join(_WRAPPERS)}",
        fix=f"say where it is with --key, such as --key state_dicts.0; or {SAVE_PLAIN}",
    )


def _at_key(content: Any, key: str, path: Path) -> Mapping[str, Tensor]:
    place = content
    for part in key.split("."):
        if isinstance(place, Mapping):
            # checkpoints by step are often kept under the number of the step
            known = {str(name): value for name, value in place.items()}
        elif isinstance(place, list | tuple):
            known = {str(index): value for index, value in enumerate(place)}
        else:
            known = {}
        if part not in known:
            near = suggestion(part, known)
            raise InvalidInput(
                f"'{part}' of --key {key} is not in the file{near}",
                where=str(path),
                allowed=list_first(list(known), _MOST_NAMED) or "nothing below it",
            )
        place = known[part]
    if not _is_state(place):
        raise InvalidInput(
            f"--key {key} is not a state dict",
            where=str(path),
            allowed="a mapping from names to tensors",
        )
    return place


def _strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `state` without prefixes that all of its names share."""
    out = dict(state)
    while True:
        shared = next((p for p in _PREFIXES if all(name.startswith(p) for name in out)), None)
        if shared is None:
            return out
        out = {name[len(shared) :]: tensor for name, tensor in out.items()}
