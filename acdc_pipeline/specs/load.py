"""Reading specs from files and plain data.

Every failure is one `SpecError` that names the field, its value, what is allowed, and the fix.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from acdc_pipeline.errors import LISTS, SpecError, suggestion, unknown
from acdc_pipeline.specs.base import Spec, tag_of
from acdc_pipeline.specs.files import display_path, read_yaml
from acdc_pipeline.specs.names import NOUNS

_S = TypeVar("_S", bound=Spec)

Location = tuple[int | str, ...]
Explanation = tuple[str, str, str | None, str | None]
"""Field, problem, allowed values, fix."""


def load_yaml(path: Path | str, kind: type[_S]) -> _S:
    """The spec of `kind` in the YAML file `path`.

    Raises:
        SpecError: the file is missing, is not YAML, or has a field that is not valid; names
            file, field, value, what is allowed and the fix.
    """
    path = Path(path)
    data = read_yaml(path)
    if not isinstance(data, dict):
        first = next((name for name, f in kind.model_fields.items() if f.is_required()), None)
        raise SpecError(
            "has to hold keys and values",
            where=display_path(path),
            fix=None if first is None else f"start with '{first}: …'",
        )
    return parse(kind.read_files(data, path.parent), kind, display_path(path))


def parse(data: Any, kind: type[_S], where: str) -> _S:
    """The spec of `kind` in the JSON-ready `data` from `where`.

    Types are strict (`"3"` is not a number, `1` is not true); lists become tuples.

    Raises:
        SpecError: the first problem; it also names the other fields with problems.
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
        raise _explain(error, data, kind, where) from error


def _explain(error: ValidationError, data: Any, kind: type[BaseModel], where: str) -> SpecError:
    """The most useful problem of `error` as one SpecError, whose fix names the other fields.

    An unknown key comes first: if it is misspelt, the right one is missing as well.
    """
    details = sorted(error.errors(include_url=False), key=lambda d: d["type"] != "extra_forbidden")
    first = details[0]
    problems = [_explain_one(d, data, kind) for d in details]
    field, problem, allowed, fix = problems[0]
    same_field = [p for p in problems if f"{p[0]}.".startswith(f"{field}.") and p[2]]
    if first["type"] != "extra_forbidden" and len(same_field) > 1:
        # the branches of a union: each names the values that it, or a part of it, allows
        branches = " or ".join(dict.fromkeys(p[2] for p in same_field if p[2]))
        allowed = _description(kind, _without_branches(first["loc"], data)) or branches
        problem = f"{_show(first['input'])} does not fit"
        if inside := [p for p in problems if p[0].startswith(f"{field}.")]:
            fix = fix or f"correct {inside[0][0]}: {inside[0][1]}"
    # the containers of the invalid value, and its parts, are not problems of their own
    others = [
        p[0]
        for p in problems
        if p[0] and not f"{field}.".startswith(f"{p[0]}.") and not p[0].startswith(f"{field}.")
    ]
    others = list(dict.fromkeys(others))
    if others and (not fix or first["type"] == "missing"):
        listed = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        fix = f"{fix or 'correct this first'}; then look at {listed}"
    return SpecError(problem, where=where, field=field or None, allowed=allowed, fix=fix)


def _explain_one(detail: ErrorDetails, data: Any, kind: type[BaseModel]) -> Explanation:
    """The explanation of one pydantic error."""
    context: Mapping[str, Any] = detail.get("ctx") or {}
    loc, value = detail["loc"], detail["input"]
    field = ".".join(str(part) for part in _written_parts(loc, data, detail["type"]))
    match detail["type"]:
        case "rejected":
            field = ".".join(part for part in (field, context["field"]) if part)
            return field, context["problem"], context["allowed"], context["fix"]
        case "extra_forbidden":
            models = [model for model in _models_at(kind, loc[:-1]) if _is_model(model)]
            known = [name for model in models for name in model.model_fields]
            name = str(loc[-1])
            fix = next((m.NOT_HERE[name] for m in models if name in m.NOT_HERE), None)
            return field, f"unknown key{suggestion(name, known)}", ", ".join(known), fix
        case "missing":
            return field, "is missing", _description(kind, loc), f"add '{loc[-1]}'"
        case "literal_error":
            names = re.findall(r"'([^']*)'", context["expected"])
            noun = NOUNS.get(frozenset(names))
            problem = f"{_show(value)} is not allowed here{suggestion(str(value), names)}"
            if noun is not None and isinstance(value, str):
                problem = unknown(noun, value, names)
            return field, problem, ", ".join(names), LISTS.get(noun or "")
        case "union_tag_invalid":
            names = re.findall(r"'([^']*)'", context["expected_tags"])
            tag, key = context["tag"], context["discriminator"].strip("'")
            return f"{field}.{key}", unknown(key, tag, names), ", ".join(names), None
        case "union_tag_not_found":
            key = context["discriminator"].strip("'")
            tags = filter(None, map(tag_of, _models_at(kind, loc)))
            return f"{field}.{key}", "is missing", ", ".join(tags), None
        case "string_pattern_mismatch":
            return field, f"{_show(value)} does not fit", _description(kind, loc), None
    expected = _EXPECTED.get(detail["type"])
    if expected is None:
        return field, f"{_show(value)}: {detail['msg']}", None, None
    return field, f"{_show(value)} is not {expected(context)}", expected(context), None


_EXPECTED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "string_type": lambda _: "a text",
    "int_type": lambda _: "a whole number",
    "int_from_float": lambda _: "a whole number",
    "float_type": lambda _: "a number",
    "finite_number": lambda _: "a finite number",
    "bool_type": lambda _: "true or false",
    "tuple_type": lambda _: "a list",
    "list_type": lambda _: "a list",
    "dict_type": lambda _: "a set of keys and values",
    "model_type": lambda _: "a set of keys and values",
    "model_attributes_type": lambda _: "a set of keys and values",
    "greater_than": lambda c: f"greater than {c['gt']:g}",
    "greater_than_equal": lambda c: f"at least {c['ge']:g}",
    "less_than": lambda c: f"less than {c['lt']:g}",
    "less_than_equal": lambda c: f"at most {c['le']:g}",
    "too_short": lambda c: f"at least {c['min_length']} long",
    "too_long": lambda c: f"at most {c['max_length']} long",
    "string_too_short": lambda _: "a text with something in it",
}


def _show(value: Any) -> str:
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif value is None:
        text = "nothing"
    else:
        text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _written_parts(loc: Location, data: Any, error_type: str) -> Iterable[int | str]:
    """The parts of `loc` that are in `data`: pydantic adds union tags and type names."""
    for index, part in enumerate(loc):
        if _contains(data, part):
            data = data[part]
            yield part
        elif index == len(loc) - 1 and error_type in ("missing", "extra_forbidden"):
            yield part


def _contains(data: Any, part: int | str) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)


def _without_branches(loc: Location, data: Any) -> Location:
    """`loc` up to its last part that is in `data`."""
    written = list(_written_parts(loc, data, ""))
    while loc and loc[-1] != written[-1]:
        loc = loc[:-1]
    return loc


def _models_at(annotation: Any, loc: Location) -> Iterable[Any]:
    """The types at pydantic's `loc`, starting from `annotation`."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _models_at(args[0], loc)
    elif not loc and origin not in (Union, types.UnionType):
        yield annotation
    elif origin in (Union, types.UnionType):
        members = [m for m in args if _is_model(m) and loc and tag_of(m) == loc[0]]
        for member in members or args:
            yield from _models_at(member, loc[1:] if members else loc)
    elif _is_model(annotation):
        if field := annotation.model_fields.get(str(loc[0])):
            yield from _models_at(field.annotation, loc[1:])
    elif origin is tuple and args:
        yield from _models_at(args[0], loc[1:])
    elif isinstance(origin, type) and issubclass(cast(type, origin), Mapping):
        yield from _models_at(args[1], loc[1:])


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _description(kind: type[BaseModel], loc: Location) -> str | None:
    """The description of the field at `loc`, or of the mapping or list that holds it."""
    for end in (len(loc), len(loc) - 1):
        for model in _models_at(kind, loc[: end - 1]):
            if _is_model(model) and (field := model.model_fields.get(str(loc[end - 1]))):
                return field.description
    return None
