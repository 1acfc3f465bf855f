"""The prompts on which the truth of a compiled model holds."""

from __future__ import annotations

from functools import cache

import numpy as np
from transformers import AutoTokenizer

from acdc_pipeline.models.zoo import compiled, zoo_path
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.specs.catalogue import find_task
from acdc_pipeline.specs.names import Positions
from tests.oracles.compiled_patching import Prompts
from tests.support import REPOSITORY


@cache
def compiled_prompts(name: str, n: int = 32, positions: Positions = "none") -> Prompts:
    """`n` prompt pairs of the task of compiled model `name`, under its own tokenizer."""
    task = find_task(compiled.task_of(name), REPOSITORY)
    tokenizer = AutoTokenizer.from_pretrained(zoo_path(name))
    drawn = make_prompts(task, tokenizer, n=n, seed=0, positions=positions)
    assert drawn.answer_row.tolist() == list(range(n))
    spans = drawn.spans
    named = (
        {} if spans is None else {s: (spans.index == i).numpy() for i, s in enumerate(spans.names)}
    )
    return Prompts(
        clean=drawn.clean.numpy(),
        corrupted=drawn.corrupted.numpy(),
        answer_pos=drawn.answer_pos.numpy(),
        correct=np.array([only for (only,) in drawn.correct]),
        spans=named,
    )
