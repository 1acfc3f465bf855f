"""The parity check: the engine must reproduce the model's own logits before it is used."""

from __future__ import annotations

import math

import torch
from jaxtyping import Int
from torch import Tensor

from acdc_pipeline.engine.forward import run_sources, unembed
from acdc_pipeline.errors import ParityError
from acdc_pipeline.models.load import LoadedModel

# Relative to the largest logit. The same for float64, since several Hugging Face modules (RMS
# norms, rotary tables) compute in float32 whatever the model's type.
TOLERANCE = 1e-4

_AT_ONCE = 8
"""Prompts whose logits are compared together."""


def parity_error(
    model: LoadedModel,
    tokens: Int[Tensor, "batch pos"],
    lengths: Int[Tensor, " batch"],
) -> float:
    """The largest difference between the engine's and the model's logits, relative to the largest.

    Padding after `lengths` is not compared.

    Raises:
        ParityError: logits are not finite.
    """
    error, largest = 0.0, 0.0
    # Logits of all prompts at once could take more memory than the model.
    for some, their_lengths in zip(tokens.split(_AT_ONCE), lengths.split(_AT_ONCE), strict=True):
        with torch.no_grad():
            final = run_sources(model.weights, some.to(model.weights.device)).final
            ours = unembed(model.weights, final).cpu()
            theirs = model.reference_logits(some)
        real = torch.arange(some.shape[1])[None] < their_lengths.cpu()[:, None]
        theirs = theirs[real]
        # A sum propagates NaN and infinity; a maximum may lose them.
        difference = (ours[real] - theirs).abs_()
        if not bool(difference.sum().isfinite()):
            error = math.nan
            break
        error = max(error, float(difference.max()))
        largest = max(largest, float(theirs.abs_().max()))
    error /= max(largest, 1e-30)
    if not math.isfinite(error):
        raise ParityError(
            f"logits of {model.architecture} are NaN or infinite on these prompts",
            where=str(model.ref),
            allowed="finite logits",
            fix="its activations overflow: try --dtype float32, or look at its weights",
        )
    return error


def check_parity(
    model: LoadedModel, tokens: Int[Tensor, "batch pos"], lengths: Int[Tensor, " batch"]
) -> float:
    """Return `parity_error`, or raise if it exceeds the tolerance.

    Raises:
        ParityError: the engine does not reproduce this model.
    """
    error = parity_error(model, tokens, lengths)
    if error > TOLERANCE:
        raise ParityError(
            f"the engine's logits for {model.architecture} differ from the model's by a relative "
            f"{error:.1e}",
            where=str(model.ref),
            allowed=f"up to {TOLERANCE:.0e}",
            fix="please report this model: the engine misses something in its configuration",
        )
    return error
