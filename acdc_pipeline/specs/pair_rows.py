"""Prompt pairs that are in memory: a list of them, or a table of any data-frame package.

No such package is imported: tables are recognised by the methods that they have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from acdc_pipeline.errors import SpecError, suggestion, unknown
from acdc_pipeline.specs.load import parse
from acdc_pipeline.specs.prompt_pair import PromptPair

FIELDS = tuple(PromptPair.model_fields)
"""The fields of a pair. A tuple holds the first three or four of them."""

_FORMS = "dicts, tuples (clean, corrupted, correct, incorrect) or PromptPairs, or a table of them"


def read_pair_rows(
    pairs: Any, columns: Mapping[str, str] | None, where: str
) -> tuple[PromptPair, ...]:
    """Return the pairs in a list or a table, checked like those of a file.

    Args:
        pairs: see `TaskSpec.from_pairs`.
        columns: the key of each field in dicts, or its column in a table; others are not read.
            None: keys and columns are called like the fields, and there are no others.
        where: what the pairs are for, for errors.

    Raises:
        SpecError: there are no pairs, or one is not valid; names its number, from 1.
    """
    for field in columns or {}:
        if field not in FIELDS:
            raise SpecError(
                unknown("field", field, FIELDS),
                where=where,
                field="columns",
                allowed=", ".join(FIELDS),
            )
    read = []
    for number, row in enumerate(_rows(pairs, where), start=1):
        place = f"{where}: pair {number}"
        read.append(parse(_fields(row, columns, place), PromptPair, place))
    if not read:
        raise SpecError("holds no prompt pair", where=where, allowed=_FORMS)
    return tuple(read)


def _rows(pairs: Any, where: str) -> Iterable[Any]:
    """Return the rows of a table as dicts, or the items of a list.

    `to_pylist` is that of pyarrow, `to_dicts` of polars, `to_dict` of pandas, `with_format` of the
    package datasets.
    """
    if hasattr(pairs, "to_pylist") and hasattr(pairs, "column_names"):
        _check_names(pairs.column_names, where)
        return pairs.to_pylist()
    if hasattr(pairs, "to_dicts"):
        return pairs.to_dicts()
    if hasattr(pairs, "to_dict") and hasattr(pairs, "columns"):
        _check_names(list(pairs.columns), where)
        return pairs.to_dict("records")
    if hasattr(pairs, "with_format") and not isinstance(pairs, Mapping):
        return pairs.with_format(None)
    if isinstance(pairs, Iterable) and not isinstance(pairs, str | bytes | Mapping):
        return pairs
    raise SpecError(
        f"a {type(pairs).__name__} does not hold prompt pairs",
        where=where,
        allowed=f"a list of {_FORMS}",
        fix="read a .jsonl file with load_task" if isinstance(pairs, str) else None,
    )


def _check_names(names: Sequence[Any], where: str) -> None:
    """Raise SpecError if a column is there twice: a row keeps only one of the two."""
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SpecError(f"column '{twice}' is there twice", where=where, fix="keep one of the two")


def _fields(row: Any, columns: Mapping[str, str] | None, place: str) -> dict[str, Any]:
    """Return the fields of a pair as JSON-ready data, without those that are missing."""
    if isinstance(row, PromptPair):
        return row.plain()
    if isinstance(row, Mapping):
        named = _pick(row, columns, place)
    elif isinstance(row, Sequence) and not isinstance(row, str | bytes):
        if len(row) not in (3, 4):
            raise SpecError(f"has {len(row)} parts", where=place, allowed=_FORMS)
        named = dict(zip(FIELDS, row, strict=False))
    else:
        raise SpecError(f"a {type(row).__name__} is not a pair", where=place, allowed=_FORMS)
    plain = {field: _plain(value) for field, value in named.items()}
    return {field: value for field, value in plain.items() if value is not None}


def _pick(row: Mapping[Any, Any], columns: Mapping[str, str] | None, place: str) -> dict[str, Any]:
    """Return the values in `row` by field. Raises SpecError for a key that is not there."""
    known = [str(key) for key in row]
    if columns is None:
        for key in known:
            if key not in FIELDS:
                raise SpecError(
                    f"unknown key{suggestion(key, FIELDS)}",
                    where=place,
                    field=key,
                    allowed=", ".join(FIELDS),
                    fix="leave it out, or name those to read: columns={'clean': …, …}",
                )
        return dict(row)
    for name in columns.values():
        if name not in row:
            raise SpecError(
                unknown("column", name, known),
                where=place,
                field="columns",
                allowed=", ".join(known),
            )
    return {field: row[name] for field, name in columns.items()}


def _plain(value: Any) -> Any:
    """Return `value` without arrays and tensors; None for the missing values of data frames."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        # Tables give every row the keys of all rows.
        return {key: _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        # pandas makes floats of the token ids in a column where some are missing.
        return None if math.isnan(value) else int(value) if value.is_integer() else value
    return None if type(value).__name__ in ("NAType", "NaTType") else value
