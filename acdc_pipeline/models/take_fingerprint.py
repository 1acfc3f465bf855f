"""Hash the files of a model, part by part."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Float

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.graph import head
from acdc_pipeline.models.directory import (
    DAMAGED,
    TOKENIZER_FILES,
    read_config,
    read_tokenizer_settings,
    weight_files,
)
from acdc_pipeline.models.fingerprint import CONFIG_WITHOUT_INFLUENCE, DIGITS, Fingerprint
from acdc_pipeline.models.location import pin
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.specs.model_ref import ModelRef

if TYPE_CHECKING:
    from torch import Tensor

    from acdc_pipeline.models.weights import Attention, TransformerWeights

_CHUNK = 1 << 24


def take_fingerprint(ref: ModelRef | str) -> Fingerprint:
    """Return the fingerprint of a model; of an `hf:` model only config.json is downloaded.

    Raises:
        UnknownName: no such zoo model.
        InvalidInput: the model is missing, or its weights are not safetensors files.
    """
    ref = ModelRef.parse(ref) if isinstance(ref, str) else ref
    located = pin(ref)
    config = read_config(located.directory)
    files = [] if ref.kind == "hf" else weight_files(located.directory)
    return Fingerprint(
        revision=located.revision,
        config={
            name: value for name, value in config.items() if name not in CONFIG_WITHOUT_INFLUENCE
        },
        tokenizer=None if ref.kind == "hf" else _hash_tokenizer(located.directory),
        tokenizer_settings=None if ref.kind == "hf" else read_tokenizer_settings(located.directory),
        tensors={name: digest for file in files for name, digest in _hash_tensors(file).items()},
    )


def _hash_tokenizer(directory: Path) -> str | None:
    files = [directory / name for name in TOKENIZER_FILES if (directory / name).is_file()]
    if not files:
        return None
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name}:{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()[:DIGITS]


def _hash_tensors(file: Path) -> dict[str, str]:
    """Return a digest per tensor of a safetensors file: length in 8 bytes, JSON header, data."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > file.stat().st_size:
                raise ValueError("its header is cut off")
            header = read_json(stream.read(length))
            start = stream.tell()
            found = {}
            for name, entry in header.items():
                if name == "__metadata__":
                    continue
                total = hashlib.sha256(f"{entry['dtype']} {entry['shape']}:".encode())
                begin, end = entry["data_offsets"]
                stream.seek(start + begin)
                left = end - begin
                while left > 0:
                    data = stream.read(min(left, _CHUNK))
                    if not data:
                        raise ValueError("its data are cut off")
                    total.update(data)
                    left -= len(data)
                found[name] = total.hexdigest()[:DIGITS]
            return found
    except OSError as error:
        raise InvalidInput(
            f"cannot be read: {error.strerror or error}", where=str(file), fix=DAMAGED
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"is not a safetensors file: {error}", where=str(file), fix=DAMAGED
        ) from error


def add_head_digests(fingerprint: Fingerprint, ref: str) -> Fingerprint:
    """Return the fingerprint of model `ref` with digests of its heads. Raises like `load_model`."""
    from acdc_pipeline.models.load import load_model

    heads = _hash_heads(load_model(ref, device="cpu").weights)
    return fingerprint.model_copy(update={"heads": heads})


def _hash_heads(weights: TransformerWeights) -> dict[str, str]:
    """Return a digest per head of the weights that it uses, shared keys and values included."""
    return {
        str(head(layer, index)): _hash_head(block.attn, index)
        for layer, block in enumerate(weights.blocks)
        if block.attn is not None
        for index in range(block.attn.w_q.shape[0])
    }


def _hash_head(attention: Attention, index: int) -> str:
    group = index // attention.heads_per_kv
    parts = [
        _row_bytes(attention.w_q, index),
        _row_bytes(attention.w_k, group),
        _row_bytes(attention.w_v, group),
        _row_bytes(attention.w_o, index),
        _row_bytes(attention.b_q, index),
        _row_bytes(attention.b_k, group),
        _row_bytes(attention.b_v, group),
    ]
    parts += [_row_bytes(attention.sinks, index), _row_bytes(attention.alibi, index)]
    if attention.difference is not None:
        parts += [_row_bytes(attention.difference.factor[None], 0)]
    for latent in attention.latents.values():
        if latent is not None:
            parts += [_row_bytes(latent.down[None], 0)]
            parts += [b"" if latent.direct is None else _row_bytes(latent.direct[None], 0)]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:DIGITS]


def _row_bytes(table: Float[Tensor, "head ..."] | None, index: int) -> bytes:
    return b"" if table is None else table[index].contiguous().numpy().tobytes()
