"""Prompts from a Python function that another package installs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError, UnknownName
from acdc_pipeline.prompts.pair import Pair
from acdc_pipeline.prompts.split import Split
from acdc_pipeline.specs.generators import FunctionGenerator

GROUP = "acdc_pipeline.generators"

GeneratorFunction = Callable[..., Sequence[Pair]]
"""`f(*, n, rng, split, tokenizer, **options) -> pairs`: at least `n` of them, all from `rng`."""


def function_pairs(
    spec: FunctionGenerator,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int,
    split: Split,
    rng: random.Random,
) -> list[Pair]:
    """The first `n` pairs that the function called `spec.name` gives.

    Raises:
        UnknownName: no installed package offers such a function.
        PromptError: it gave fewer, or something else than pairs.
    """
    function = cast("GeneratorFunction", _entry_point(spec.name).load())
    made = function(n=n, rng=rng, split=split, tokenizer=tokenizer, **spec.options)
    pairs = list(made)[:n]
    if len(pairs) < n or not all(isinstance(pair, Pair) for pair in pairs):
        raise PromptError(
            f"'{spec.name}' gave {len(pairs)} pairs"
            if len(pairs) < n
            else f"'{spec.name}' gave something else than pairs",
            field="generator.name",
            allowed=f"{n} acdc_pipeline.prompts.Pair",
        )
    return pairs


def _entry_point(name: str) -> EntryPoint:
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        raise UnknownName.among(
            "generator function",
            name,
            found,
            fix=f"install a package with '{name}' in its entry-point group {GROUP}",
        )
    return found[name]
