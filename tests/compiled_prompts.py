"""The prompts on which the truth of a compiled model holds."""

from __future__ import annotations

from functools import cache

import numpy as np
from transformers import AutoTokenizer

from acdc_pipeline.models.zoo import compiled, zoo_path
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.specs.catalogue import find_task
from tests.oracles.compiled_patching import Prompts
from tests.support import REPOSITORY


@cache
def compiled_prompts(name: str, n: int = 32) -> Prompts:
    """`n` prompt pairs of the task of compiled model `name`, under its own tokenizer."""
    task = find_task(compiled.task_of(name), REPOSITORY)
    drawn = make_prompts(task, AutoTokenizer.from_pretrained(zoo_path(name)), n=n, seed=0)
    assert drawn.answer_row.tolist() == list(range(n))
    return Prompts(
        clean=drawn.clean.numpy(),
        corrupted=drawn.corrupted.numpy(),
        answer_pos=drawn.answer_pos.numpy(),
        correct=np.array([only for (only,) in drawn.correct]),
    )
