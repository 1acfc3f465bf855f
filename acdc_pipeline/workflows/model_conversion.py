"""Convert a checkpoint into a model folder, and check the folder before it appears."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acdc_pipeline.errors import AcdcError, InvalidInput, ParityError
from acdc_pipeline.files import require_empty
from acdc_pipeline.models.conversion.checkpoints.build import Built, build_model
from acdc_pipeline.models.conversion.checkpoints.reading import Checkpoint, read_checkpoint
from acdc_pipeline.models.conversion.checkpoints.settings import (
    Setting,
    read_known_settings,
    read_settings,
)
from acdc_pipeline.models.conversion.pickled_folder import convert_folder
from acdc_pipeline.models.tl_format import save_tl_directory
from acdc_pipeline.specs import ModelRef
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.workflows.model_check import ModelCheck, check_model


@dataclass(frozen=True)
class Conversion:
    """A converted model.

    Args:
        directory: the new folder, a model as `dir:PATH`.
        built: what was inferred; None for a Hugging Face folder, whose config.json defines it.
        dtype: floating-point type of the stored tensors.
        check: comparison of the engine with the model that was written.
    """

    directory: Path
    built: Built | None
    dtype: str
    check: ModelCheck


def convert_model(
    source: Path,
    out: Path,
    *,
    options: Mapping[str, Any],
    config: Path | None = None,
    layout: str | None = None,
    key: str | None = None,
    drop: Sequence[str] = (),
) -> Conversion:
    """Write the model in `source` as a folder in the TransformerLens format, or in Hugging Face's.

    The folder appears only when it has been loaded back and the engine reproduces its logits.

    Args:
        source: a checkpoint file, or a Hugging Face folder with `pytorch_model.bin`.
        out: a folder that does not exist or is empty.
        options: settings that go before those of `config` and of the checkpoint.
        config: a JSON file of settings.
        layout: name of the checkpoint's layout; None to find it.
        key: place of the state dict in the file; None to find it.
        drop: patterns of names of tensors to leave out.

    Raises:
        InvalidInput: the source cannot be read or understood, or `out` holds something.
        UnsupportedModel: the format or the engine has no place for a feature of the model.
        ParityError: the engine does not reproduce the model that was written.
    """
    require_empty(out)
    built: Built | None = None
    if source.is_dir():
        if options or config or layout or key or drop:
            raise InvalidInput(
                "the config.json of a folder decides everything, so options do not apply to it",
                where=str(source),
                fix="leave out all options but --json",
            )
    else:
        built = _build(source, options, config, layout, key, drop)
    with _new_folder(out) as folder:
        if built is None:
            dtype = convert_folder(source, folder)
        else:
            save_tl_directory(folder, built.model.config, built.model.tensors, tokenizer=None)
            dtype = built.dtype
        check = _check(folder, dtype, source)
    return Conversion(out, built, dtype, check)


def _build(
    source: Path,
    options: Mapping[str, Any],
    config: Path | None,
    layout: str | None,
    key: str | None,
    drop: Sequence[str],
) -> Built:
    given = _sourced(read_settings(options, "options"), "option")
    if config is not None:
        given = _sourced(read_settings(_read_config(config), str(config)), config.name) | given
    checkpoint = read_checkpoint(source, key)
    settings = _read_own(checkpoint, source) | given
    try:
        return build_model(checkpoint.tensors, settings, layout=layout, drop=drop)
    except InvalidInput as error:
        raise error.at(str(source))  # noqa: B904  (the same error)


def _sourced(settings: Mapping[str, Any], source: str) -> dict[str, Setting]:
    return {name: Setting(value, source) for name, value in settings.items()}


def _read_own(checkpoint: Checkpoint, source: Path) -> dict[str, Setting]:
    """Return what the checkpoint says about its model."""
    key = checkpoint.settings_key
    if key is None:
        return {}
    return _sourced(
        read_known_settings(checkpoint.settings, f"{source}: {key}"), f"checkpoint ({key})"
    )


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        content = read_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot be read: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise InvalidInput("is not a JSON object", where=str(path))
    return content


def _check(folder: Path, dtype: str, source: Path) -> ModelCheck:
    computed = "float64" if dtype == "float64" else "float32"
    try:
        check = check_model(ModelRef("dir", str(folder)), dtype=computed, device="cpu")
    except AcdcError as error:
        # the folder is gone when the message is read
        if error.where is None or str(folder) in error.where:
            error.where = str(source)
        raise
    if not check.passed:
        raise ParityError(
            f"the engine is {check.parity_error:.2g} away from the converted model's logits",
            where=str(source),
            allowed=f"at most {check.tolerance:g}",
            fix="please report this checkpoint's layout; nothing was written",
        )
    return check


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder whose files become those of `out` if nothing fails, and else disappear.

    It is beside `out`, or in `out` if that exists: a link, a mount or the current folder stays.
    """
    from safetensors import SafetensorError

    place = out.resolve()
    exists = place.is_dir()
    attempt = (place if exists else place.parent) / f".{place.name}.{secrets.token_hex(4)}"
    try:
        attempt.mkdir(parents=True)
        yield attempt
        if exists:
            # config.json last: without it no folder is a model
            for file in sorted(attempt.iterdir(), key=lambda file: file.name == "config.json"):
                file.rename(place / file.name)
        else:
            attempt.rename(place)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(
            f"cannot be written: {reason}",
            where=str(getattr(error, "filename", None) or out),
            fix="check the folder's permissions and the room on the disk",
        ) from error
    finally:
        if attempt.exists():
            shutil.rmtree(attempt)
