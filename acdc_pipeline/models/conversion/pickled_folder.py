"""Convert a Hugging Face folder whose weights are pickled (`pytorch_model.bin`) to safetensors."""

from __future__ import annotations

import shutil
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.bridge import load_pretrained
from acdc_pipeline.models.config import check_hugging_face, check_sizes
from acdc_pipeline.models.conversion.checkpoints.reading import load_pickled
from acdc_pipeline.models.directory import (
    DAMAGED,
    NATIVE,
    PICKLED_WEIGHTS,
    SETTINGS_FILES,
    TOKENIZER_FILES,
    architecture_of,
    read_config,
    read_index,
)


def convert_folder(source: Path, target: Path) -> str:
    """Write the model in `source` into the empty folder `target`, and return its dtype.

    The pickled weights are read without running code. Tokenizer files are copied.

    Raises:
        InvalidInput: no pickled weights, weights that do not fit config.json, or a file that
            holds more than tensors.
    """
    config = read_config(source)
    where = str(source / "config.json")
    architecture = architecture_of(config)
    if architecture == NATIVE:
        raise InvalidInput(
            "is a config.json of TransformerLens's format, whose weights are safetensors",
            where=where,
            fix="convert the file of weights: acdc models convert FILE OUT --config config.json",
        )
    check_sizes(config, where)
    check_hugging_face(config, architecture, where)
    state: dict[str, Tensor] = {}
    for file in _pickled_files(source):
        content = load_pickled(file)
        if not isinstance(content, dict) or not all(
            isinstance(value, Tensor) for value in content.values()
        ):
            raise InvalidInput("holds no state dict", where=str(file), fix=DAMAGED)
        state |= content
    types = [t.dtype for t in state.values() if t.is_floating_point()]
    dtype: Any = reduce(torch.promote_types, types, torch.float16 if not types else types[0])
    _load(source, state, target, dtype).save_pretrained(target)
    for name in (*TOKENIZER_FILES, *SETTINGS_FILES):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    return str(dtype).removeprefix("torch.")


def _load(source: Path, state: dict[str, Tensor], target: Path, dtype: torch.dtype) -> Any:
    """Return the transformers model with these weights, which are written beside it for that."""
    from safetensors.torch import save_file

    with TemporaryDirectory(dir=target) as name:
        folder = Path(name)
        shutil.copyfile(source / "config.json", folder / "config.json")
        # tied weights share memory, which safetensors does not store
        plain = {name: tensor.clone().contiguous() for name, tensor in state.items()}
        save_file(plain, folder / "model.safetensors", metadata={"format": "pt"})
        try:
            return load_pretrained(folder, dtype=dtype)
        except InvalidInput as error:
            error.where = str(source)
            raise


def _pickled_files(folder: Path) -> list[Path]:
    index = folder / f"{PICKLED_WEIGHTS}.index.json"
    if index.is_file():
        return [folder / name for name in sorted(set(read_index(index).values()))]
    if any(folder.glob("*.safetensors")):
        raise InvalidInput(
            "its weights are safetensors already", where=str(folder), fix=f"use it as dir:{folder}"
        )
    if not (folder / PICKLED_WEIGHTS).is_file():
        raise InvalidInput(f"holds no {PICKLED_WEIGHTS}", where=str(folder), fix="check the path")
    return [folder / PICKLED_WEIGHTS]
