"""A compiled model at work on the prompts of its task."""

from __future__ import annotations

from functools import cache

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.models import load_model
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import find_task
from acdc_pipeline.specs.names import Ablation, Positions
from tests.support import REPOSITORY


@cache
def compiled_bench(
    name: str, ablation: Ablation = "corrupted", n: int = 16, positions: Positions = "none"
) -> Bench:
    """Compiled model `name` in float64 on `n` prompt pairs, with what removed edges carry."""
    model = load_model(f"zoo:{name}", dtype="float64", device="cpu")
    assert model.tokenizer is not None
    task = find_task(compiled.task_of(name), REPOSITORY)
    prompts = make_prompts(task, model.tokenizer, n=n, seed=0, positions=positions)
    return set_up(model.weights, prompts, ablation)
