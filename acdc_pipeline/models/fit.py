"""Whether weights are those their `config.json` describes, tensor by tensor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from acdc_pipeline.errors import InvalidInput

TOGETHER = "use the config.json that was saved together with these weights"
"""What to do about weights that do not fit."""

_MOST_NAMED = 4

# Masks and rotary tables that older versions of transformers saved, and newer ones compute.
_TABLES = re.compile(
    r"(?:attn|attention)\.(?:bias|masked_bias|embed_positions)"
    r"|(?:rotary_emb|attn|attention)\.(?:inv_freq|cos_cached|sin_cached)"
)


def refuse_misfits(loading: Mapping[str, Any], directory: Path) -> None:
    """Refuse what transformers reports of a load, and would otherwise make up or leave out.

    Raises:
        InvalidInput: a tensor is missing, of another shape, or has no place in the model.
    """
    where, fix = str(directory), TOGETHER
    for name, stored, expected in sorted(loading["mismatched_keys"]):
        raise InvalidInput(
            f"has the shape {list(stored)} in the weights",
            where=where,
            field=name,
            allowed=f"{list(expected)}, which is what config.json asks for",
            fix=fix,
        )
    if missing := sorted(loading["missing_keys"]):
        raise InvalidInput(f"tensors missing: {named(missing)}", where=where, fix=fix)
    if extra := sorted(name for name in loading["unexpected_keys"] if not _is_table(name)):
        raise InvalidInput(
            f"tensors that config.json has no place for: {named(extra)}", where=where, fix=fix
        )


def refuse_not_finite(tensors: Iterable[tuple[str, Tensor]], directory: Path) -> None:
    """Raises InvalidInput naming the first of `tensors` that holds a NaN or an infinity."""
    for name, tensor in tensors:
        if not tensor.is_floating_point() or tensor.numel() == 0:
            continue
        low, high = tensor.aminmax()  # one pass, nothing copied; a NaN comes through
        if not bool(low.isfinite() & high.isfinite()):
            wrong = int((~tensor.isfinite()).sum())
            raise InvalidInput(
                f"{wrong} of {tensor.numel()} values are NaN or infinite",
                where=str(directory),
                field=name,
                fix="save the weights again, from before the training diverged",
            )


def _is_table(name: str) -> bool:
    return _TABLES.fullmatch(".".join(name.split(".")[-2:])) is not None


def named(names: list[str]) -> str:
    """The first few of `names`, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
