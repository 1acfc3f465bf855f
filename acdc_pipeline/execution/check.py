"""Does the engine reproduce this model? Tried on random tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from acdc_pipeline.engine import parity_error
from acdc_pipeline.engine.parity import TOLERANCE
from acdc_pipeline.models import ModelDescription, describe_model, load_model
from acdc_pipeline.specs import ModelRef


@dataclass(frozen=True)
class ModelCheck:
    """What a model is, and how far the engine's logits are from its own."""

    description: ModelDescription
    parity_error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the parity gate lets the model through."""
        return self.parity_error <= self.tolerance


def check_model(
    ref: ModelRef | str, *, dtype: str = "float32", device: str = "auto", seed: int = 0
) -> ModelCheck:
    """Load a model and compare the engine with it on 4 prompts of 16 random tokens.

    Raises:
        UnsupportedModel: the engine does not reproduce its architecture.
        InvalidInput: the model is not to be found or cannot be loaded.
    """
    description = describe_model(ref)
    model = load_model(ref, dtype=dtype, device=device)
    pos = min(16, model.weights.n_ctx)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(model.weights.w_e.shape[0], (4, pos), generator=generator)
    error = parity_error(model, tokens, torch.full((4,), pos))
    return ModelCheck(description, error, TOLERANCE)
