"""Round parameters to the type that they are held in, so that holding them loses nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.bridge import checkpoint_name
from acdc_pipeline.models.device import Precision


def round_tensor(
    tensor: Float[Tensor, "*shape"], precision: Precision, *, name: str, where: str
) -> Float[Tensor, "*shape"]:
    """Return `tensor`, rounded to a value of the held type so that holding it loses nothing.

    Raises:
        InvalidInput: a value is too large for float16.
    """
    if precision.held is precision.computed:
        return tensor
    rounded = tensor.to(precision.held).to(precision.computed)
    if bool((~rounded.isfinite() & tensor.isfinite()).any()):
        raise InvalidInput(
            f"'{name}' holds {tensor.abs().max():.3g}, too large for float16",
            where=where,
            fix="use --dtype bfloat16 or float32",
        )
    return rounded


def round_parameters(
    parameters: Iterable[tuple[str, Tensor]], precision: Precision, directory: Path, *, where: str
) -> None:
    """Round parameters in place; those without values stay.

    Args:
        parameters: with their names in the model.
        directory: its files, which errors name tensors by.
        where: the place that errors name.

    Raises:
        InvalidInput: a value is too large for float16.
    """
    if precision.held is precision.computed:
        return
    with torch.no_grad():
        for name, parameter in parameters:
            if parameter.is_meta:
                continue
            try:
                rounded = round_tensor(parameter, precision, name=name, where=where)
            except InvalidInput:
                stored = checkpoint_name(name, parameter, directory)
                round_tensor(parameter, precision, name=stored, where=where)
                raise
            parameter.copy_(rounded)
