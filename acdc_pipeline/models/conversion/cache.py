"""The cache of converted models, and how they are written.

    models/KEY/            a converted model, as `save_pretrained` writes it
        converted.json     size, modification time and sha256 of its files; what it was made from
    hashes/KEY.json        sha256 of a large file, valid while its size, times and inode stay
    configs/KEY.json       fields of the text model in a config.json, see `derive_once`

A folder appears by one rename when it is complete. One process converts, others wait for it. The
cache may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.directory import unreadable
from acdc_pipeline.specs.base import read_json

_log = logging.getLogger(__name__)

ENVIRONMENT_VARIABLE = "ACDC_CACHE"
MANIFEST = "converted.json"

# A file modified this shortly before hashing may change again within the same time stamp.
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class Converted:
    """A converted model in the cache.

    Args:
        directory: folder of plain weights, in the format of `dir:`.
        weights: sha256 over its safetensors files.
    """

    directory: Path
    weights: str


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return `ACDC_CACHE`, else the user's cache folder: on Linux `~/.cache/acdc-pipeline`."""
    if named := environment.get(ENVIRONMENT_VARIABLE):
        return Path(named).expanduser()
    return user_cache_path("acdc-pipeline", appauthor=False)


def convert_once(name: str, parts: Mapping[str, str], convert: Callable[[Path], None]) -> Converted:
    """Return the folder written by `convert`, which is called only if the cache lacks it.

    Args:
        name: the source, for the message that another process is converting it already.
        parts: everything that decides the content: hashes of the source, versions of libraries.
        convert: function that writes the files into an empty folder.

    Raises:
        InvalidInput: the cache cannot be written; whatever `convert` raises.
    """
    text = json.dumps(dict(sorted(parts.items())))
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    with _translate_write_errors():
        models = cache_folder() / "models"
        target = models / key
        if (found := _read_converted(target)) is not None:
            return found
        models.mkdir(parents=True, exist_ok=True)
        # The store takes a while to import, and most models need no conversion.
        from acdc_pipeline.store.locks import lock

        wait = partial(_log.info, "waiting for another process that is converting %s", name)
        with lock(models / f"{key}.lock", on_wait=wait):
            if (found := _read_converted(target)) is not None:  # another process made it meanwhile
                return found
            for old in (target, *models.glob(f"{key}.attempt-*")):
                if old.exists():
                    shutil.rmtree(old)
            attempt = models / f"{key}.attempt-{secrets.token_hex(4)}"
            attempt.mkdir()
            try:
                convert(attempt)
                _write_manifest(attempt, parts)
                attempt.rename(target)
            finally:
                if attempt.exists():
                    shutil.rmtree(attempt)
        made = _read_converted(target)
    if made is None:
        raise InvalidInput(
            "the converted model changed while it was written",
            where=str(target),
            fix=f"check the disk, or set {ENVIRONMENT_VARIABLE} to a folder on another disk",
        )
    return made


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, from the cache while size, times and inode are unchanged.

    Raises:
        InvalidInput: the file cannot be read, or changed meanwhile. A cache that cannot be read
            or written is not used.
    """
    try:
        before = _read_identity(path)
    except OSError as error:
        raise unreadable(path, error) from error
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]
    note = cache_folder() / "hashes" / f"{name}.json"
    known = None
    with suppress(OSError):
        known = _read_document(note)
    if known is not None and known.get("identity") == before:
        digest = known.get("sha256")
        if isinstance(digest, str):
            return digest
    try:
        digest = _sha256(path)
        after = _read_identity(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if after != before:
        raise InvalidInput(
            "changed while it was read", where=str(path), fix="wait until it is written completely"
        )
    if time.time_ns() - max(before["mtime_ns"], before["ctime_ns"]) > _SETTLED_NS:
        with suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            _write_document(
                note, {"identity": before, "path": str(path.resolve()), "sha256": digest}
            )
    return digest


def derive_once(parts: Mapping[str, str], derive: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON object of `derive`, which is called only if the cache lacks it.

    A cache that cannot be read or written is not used.

    Args:
        parts: everything that decides the content, as in `convert_once`.
    """
    text = json.dumps(dict(sorted(parts.items())))
    note = cache_folder() / "configs" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    known = None
    with suppress(OSError):
        known = _read_document(note)
    if known is None:
        known = derive()
        with suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            _write_document(note, known)
    return known


def _read_identity(path: Path) -> dict[str, int]:
    status = path.stat()
    return {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,  # unlike mtime, it cannot be set back
        "inode": status.st_ino,
        "device": status.st_dev,
    }


def _read_converted(folder: Path) -> Converted | None:
    """Return the converted model in `folder`; None if it is missing, incomplete or damaged.

    Files with the recorded size and modification time count as unchanged; others are hashed again.
    """
    document = _read_document(folder / MANIFEST)
    files = (document or {}).get("files")
    if not isinstance(files, dict) or not files:
        return None
    total = hashlib.sha256()
    for name, record in sorted(files.items()):
        path = folder / name
        if not isinstance(record, dict) or not path.is_file():
            return None
        status = path.stat()
        same_time = record.get("mtime_ns") == status.st_mtime_ns
        if record.get("size") != status.st_size:
            return None
        if not same_time and record.get("sha256") != _sha256(path):
            return None
        if path.suffix == ".safetensors":
            total.update(f"{name}:{record.get('sha256')}\n".encode())
    return Converted(folder, total.hexdigest())


def _write_manifest(folder: Path, parts: Mapping[str, str]) -> None:
    files: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
        status = path.stat()
        files[path.name] = {
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "sha256": _sha256(path),
        }
    _write_document(folder / MANIFEST, {"made_from": dict(parts), "files": files})


def _read_document(path: Path) -> dict[str, Any] | None:
    """Return a JSON object of the cache; None if it is missing or damaged."""
    try:
        document = read_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _write_document(path: Path, document: Mapping[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
    temporary.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _translate_write_errors() -> Iterator[None]:
    """Turn errors of the file system into InvalidInput."""
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            f"the cache of converted models cannot be used: {error.strerror or error}",
            where=str(error.filename or cache_folder()),
            fix=f"make room there, or set {ENVIRONMENT_VARIABLE} to another folder",
        ) from error


def save_plain(model: Any, tokenizer: Any, directory: Path) -> None:
    """Write a transformers model and its tokenizer, or None, as a folder of plain float32 weights.

    Raises:
        InvalidInput: the weights cannot be written.
    """
    from safetensors import SafetensorError

    plain = _copy_without_quantisation(model)
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
    # The version of the library is not a property of the model.
    config = directory / "config.json"
    fields = json.loads(config.read_text(encoding="utf-8"))
    fields.pop("transformers_version", None)
    config.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _copy_without_quantisation(model: Any) -> Any:
    """Return a model of the same class on the same tensors; a quantised one cannot be saved."""
    import torch

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
