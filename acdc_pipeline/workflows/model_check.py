"""Check on random tokens that the engine reproduces a model."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from acdc_pipeline.engine import parity_error
from acdc_pipeline.engine.forward import context_length
from acdc_pipeline.engine.parity import TOLERANCE
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models import ModelDescription, TransformerWeights, describe_model, load_model
from acdc_pipeline.models.describe import list_features
from acdc_pipeline.specs import ModelRef

# Prompts are at most this long: longer attention windows are checked only with prompts that fit
# inside them.
_LONGEST = 1024

_MOST_SEED = 2**63 - 1


@dataclass(frozen=True)
class ModelCheck:
    """A model's description, and how far the engine's logits are from its own.

    Args:
        coupled: whether heads of a layer affect one another, which takes the slower search.
        parity_error: largest error of a logit, relative to the largest logit.
        tolerance: largest parity error that passes.
    """

    description: ModelDescription
    features: tuple[str, ...]
    coupled: bool
    tokens: int
    parity_error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.parity_error <= self.tolerance


def check_model(
    ref: ModelRef | str, *, dtype: str = "float32", device: str = "auto", seed: int = 0
) -> ModelCheck:
    """Load a model and compare the engine with it on 4 prompts of random tokens.

    They have 16 tokens each, more if the model's attention windows are longer, and fewer if it
    has fewer positions.

    Raises:
        UnsupportedModel: the engine does not reproduce its architecture.
        ParityError: its logits are not finite.
        InvalidInput: the model cannot be found or loaded, or the seed is not valid.
    """
    if not 0 <= seed <= _MOST_SEED:
        raise InvalidInput(
            f"{seed} is not a seed", field="seed", allowed=f"whole numbers from 0 to {_MOST_SEED}"
        )
    description = describe_model(ref)
    model = load_model(ref, dtype=dtype, device=device)
    pos = _long_enough(model.weights)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(model.weights.w_e.shape[0], (4, pos), generator=generator)
    error = parity_error(model, tokens, torch.full((4,), pos))
    return ModelCheck(
        description, list_features(model.weights), model.weights.coupled, pos, error, TOLERANCE
    )


def _long_enough(weights: TransformerWeights) -> int:
    windows = [width for attn in weights.attentions for width in (attn.window, attn.chunk)]
    short = [window for window in windows if window is not None and window <= _LONGEST - 4]
    return min(context_length(weights), max([16, *(window + 4 for window in short)]))
