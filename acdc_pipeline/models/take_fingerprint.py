"""Taking the fingerprint of a model: its files hashed, part by part."""

from __future__ import annotations

import hashlib
from pathlib import Path

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.json_text import read_json
from acdc_pipeline.models.directory import DAMAGED, read_config, weight_files
from acdc_pipeline.models.fingerprint import DIGITS, Fingerprint
from acdc_pipeline.models.location import pin
from acdc_pipeline.models.tokenizer_settings import TOKENIZER_FILES, tokenizer_settings
from acdc_pipeline.specs.model_ref import ModelRef

_CHUNK = 1 << 24

# What a config.json says about how the file was written or the model trained; none of it reaches
# an output.
_INERT = frozenset(
    {
        "_name_or_path",
        "transformers_version",
        "dtype",
        "torch_dtype",
        "use_cache",
        "initializer_range",
        "attn_pdrop",
        "embd_pdrop",
        "resid_pdrop",
        "attention_dropout",
        "hidden_dropout",
    }
)


def fingerprint(ref: ModelRef | str) -> Fingerprint:
    """The fingerprint of a model; of an `hf:` model no more than its config.json is fetched.

    Raises:
        UnknownName: no such zoo model.
        InvalidInput: the model is not to be found, or its weights are no safetensors files.
    """
    ref = ModelRef.parse(ref) if isinstance(ref, str) else ref
    located = pin(ref)
    config = read_config(located.directory)
    files = [] if ref.kind == "hf" else weight_files(located.directory)
    return Fingerprint(
        revision=located.revision,
        config={name: value for name, value in config.items() if name not in _INERT},
        tokenizer=None if ref.kind == "hf" else _tokenizer_digest(located.directory),
        tokenizer_settings=None if ref.kind == "hf" else tokenizer_settings(located.directory),
        tensors={name: digest for file in files for name, digest in _tensor_digests(file).items()},
    )


def _tokenizer_digest(directory: Path) -> str | None:
    files = [directory / name for name in TOKENIZER_FILES if (directory / name).is_file()]
    if not files:
        return None
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name}:{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()[:DIGITS]


def _tensor_digests(file: Path) -> dict[str, str]:
    """Of a safetensors file: eight bytes of length, a JSON header, the data."""
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
