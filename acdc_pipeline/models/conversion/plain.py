"""Writing a model that transformers holds in memory as a folder of plain float32 weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.conversion.cache import ENVIRONMENT_VARIABLE


def save_plain(model: Any, tokenizer: Any, directory: Path) -> None:
    """Write `model` and `tokenizer` (or None) as `save_pretrained` does, without quantisation.

    Weights are shared with `model`, not copied.

    Raises:
        InvalidInput: the weights cannot be written.
    """
    from safetensors import SafetensorError

    plain = _without_quantisation(model)
    try:
        plain.save_pretrained(directory)
        if tokenizer is not None:
            tokenizer.save_pretrained(directory)
    except SafetensorError as error:
        raise InvalidInput(
            f"the converted weights cannot be written: {error}",
            where=str(directory),
            fix=f"make room there, or set {ENVIRONMENT_VARIABLE} to another folder",
        ) from error
    _drop_version(directory / "config.json")


def _without_quantisation(model: Any) -> Any:
    """A model of the same class on the same tensors: one that was quantised refuses to be saved."""
    fields = model.config.to_dict()
    for name in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        fields.pop(name, None)
    config = type(model.config).from_dict(fields)
    with torch.device("meta"):
        plain = type(model)(config)
    state = {name: tensor.to(torch.float32) for name, tensor in model.state_dict().items()}
    plain.load_state_dict(state, strict=True, assign=True)
    plain.tie_weights()
    plain.config.dtype = torch.float32
    plain.config.architectures = [type(model).__name__]
    return plain


def _drop_version(config: Path) -> None:
    """Removes what names the library and not the model."""
    fields = json.loads(config.read_text(encoding="utf-8"))
    fields.pop("transformers_version", None)
    config.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")
