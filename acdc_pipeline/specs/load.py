"""From files and plain data to specs; every failure is one SpecError that says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs.base import Spec
from acdc_pipeline.specs.explain import explain
from acdc_pipeline.specs.yaml_file import read_yaml, shown

_S = TypeVar("_S", bound=Spec)

_S = TypeVar("_S", bound=Spec)


def load_yaml(path: Path | str, kind: type[_S]) -> _S:
    """The spec of `kind` in the YAML file `path`.

    Raises:
        SpecError: the file is missing, is not YAML, or has a field that is not valid; names
            file, field, value, what is allowed and the fix.
    """
    path = Path(path)
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise SpecError(
            "has to hold keys and values", where=shown(path), fix="start with 'name: …'"
        )
    return parse(kind.with_files_read(data, path.parent), kind, shown(path))


def parse(data: Any, kind: type[_S], where: str) -> _S:
    """The spec of `kind` in plain `data`, which came from `where`.

    Types are strict (`"3"` is not a number, `1` is not true); lists become tuples.

    Raises:
        SpecError: the first problem, naming the other fields that have one.
    """
    try:
        text = json.dumps(data)
    except RecursionError as error:
        raise SpecError("is nested too deeply to be read", where=where) from error
    except (TypeError, ValueError) as error:
        raise SpecError(f"holds a value that is not plain data: {error}", where=where) from error
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise explain(error, data, kind, where) from error
