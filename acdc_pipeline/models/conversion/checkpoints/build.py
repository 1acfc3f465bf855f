"""From a checkpoint's tensors to a model: choose the layout whose names and shapes fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from acdc_pipeline.errors import InvalidInput, UnknownName
from acdc_pipeline.models.conversion.checkpoints.inference import (
    Inferred,
    infer_model,
    require_shapes,
)
from acdc_pipeline.models.conversion.checkpoints.layout import Layout
from acdc_pipeline.models.conversion.checkpoints.layouts import LAYOUTS
from acdc_pipeline.models.conversion.checkpoints.settings import Setting
from acdc_pipeline.text import list_first

_MOST_NAMED = 8


@dataclass(frozen=True)
class Built:
    """A model, the layout it was found in, and the tensors left out on purpose.

    Args:
        dropped: names of buffers, and of tensors that `drop` names.
        dtype: floating-point type of all tensors, such as `float32`.
    """

    model: Inferred
    layout: Layout
    dropped: tuple[str, ...]
    dtype: str


def build_model(
    tensors: Mapping[str, Tensor],
    settings: Mapping[str, Setting],
    *,
    layout: str | None = None,
    drop: Sequence[str] = (),
) -> Built:
    """Return the model that `tensors` hold, in the only layout that fits.

    Args:
        tensors: by the names of the checkpoint.
        settings: what tensors do not tell, by field.
        layout: name of the layout; None to find it.
        drop: patterns (`*`, `?`) of names to leave out.

    Raises:
        UnknownName: no such layout.
        InvalidInput: no layout fits, or several do; a tensor is unknown; a setting is missing.
        UnsupportedModel: a feature that the format does not have.
    """
    extra = _match_all(drop, list(tensors))
    rest = {name: tensor for name, tensor in tensors.items() if name not in extra}
    candidates = _named_alike(list(rest), layout)
    kept, dtype = _same_dtype(rest, candidates[0])
    fitting: list[tuple[Layout, dict[str, Tensor]]] = []
    problems: list[InvalidInput] = []
    for candidate in candidates:
        try:
            renamed = candidate.rename(kept, _count_heads(candidate, kept, settings))
            require_shapes(candidate, renamed)
            fitting.append((candidate, renamed))
        except InvalidInput as error:
            problems.append(error)
    if len(fitting) > 1:
        names = [found.name for found, _ in fitting]
        raise InvalidInput(
            f"the shapes fit several layouts: {', '.join(names)}",
            fix=f"choose one with --layout, such as --layout {names[0]}",
        )
    if not fitting:
        raise problems[0]
    ((chosen, renamed),) = fitting
    buffers = {name: t for name, t in rest.items() if chosen.is_buffer(name)}
    model = infer_model(chosen, renamed, buffers, settings)
    return Built(model, chosen, tuple(sorted({*extra, *buffers})), dtype)


def _match_all(patterns: Sequence[str], names: Sequence[str]) -> set[str]:
    out: set[str] = set()
    for pattern in patterns:
        matched = {name for name in names if fnmatchcase(name, pattern)}
        if not matched:
            raise UnknownName.among("tensor", pattern, names, field="--drop")
        out |= matched
    return out


def _named_alike(names: Sequence[str], layout: str | None) -> list[Layout]:
    """Return the layouts that know every name."""
    if layout is not None:
        found = [one for one in LAYOUTS if one.name == layout]
        if not found:
            raise UnknownName.among(
                "layout", layout, [one.name for one in LAYOUTS], field="--layout"
            )
        options = found
    else:
        options = list(LAYOUTS)
    unknown = {one.name: one.unknown_names(names) for one in options}
    fitting = [one for one in options if not unknown[one.name]]
    if fitting:
        return fitting
    nearest = min(options, key=lambda one: len(unknown[one.name]))
    if len(unknown[nearest.name]) == len(names):
        raise InvalidInput(
            f"its tensors are named like those of no known layout: "
            f"{list_first(list(names), _MOST_NAMED)}",
            allowed="; ".join(f"{one.name} ({one.title})" for one in LAYOUTS),
            fix="rename them to TransformerLens's names, as docs/your-own-model.md shows",
        )
    raise InvalidInput(
        f"tensors that the layout {nearest.name} does not have: "
        f"{list_first(unknown[nearest.name], _MOST_NAMED)}",
        fix="--drop NAME leaves one out, if it has no part in the logits",
    )


def _count_heads(
    layout: Layout, tensors: Mapping[str, Tensor], settings: Mapping[str, Setting]
) -> int:
    if not layout.needs_n_heads:
        return layout.count_heads(tensors)
    if "n_heads" in settings:
        return int(settings["n_heads"].value)
    width = layout.query_width(tensors)
    if "d_head" in settings and width is not None and width % settings["d_head"].value == 0:
        return width // int(settings["d_head"].value)
    raise InvalidInput(
        f"the tensors do not tell the number of heads: the layout {layout.name} stores them "
        "side by side",
        field="n_heads",
        fix="give --n-heads",
    )


def _same_dtype(tensors: Mapping[str, Tensor], layout: Layout) -> tuple[dict[str, Tensor], str]:
    """Return the parameters in the widest of their floating-point types, and its name."""
    parameters = {name: t for name, t in tensors.items() if not layout.is_buffer(name)}
    if not parameters:
        raise InvalidInput("holds no parameters, only buffers")
    for name, tensor in parameters.items():
        if not tensor.is_floating_point() or tensor.is_quantized or tensor.is_sparse:
            raise InvalidInput(
                f"has the type {str(tensor.dtype).removeprefix('torch.')}",
                field=name,
                allowed="plain floating-point numbers",
            )
    widest: Any = reduce(torch.promote_types, (tensor.dtype for tensor in parameters.values()))
    moved = {name: tensor.to(widest) for name, tensor in parameters.items()}
    return moved, str(widest).removeprefix("torch.")
