"""Head profiles on ordinary text as a method: a run that reads contexts of texts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from acdc_pipeline.specs.methods.base import BaseMethod, Default

FEWEST_TOKENS = 100
"""With fewer, a decile has fewer tokens than it shows."""

MOST_TOKENS = 200_000
"""The activations of all tokens are in memory, layer by layer."""


class TextMethod(BaseMethod):
    """What every head of a model does on ordinary text.

    `docs/head-scores.md` defines what is measured. The run's task is the names of the texts, its
    `task_hash` a hash of their contents, and its number of prompts the number of documents.

    Args:
        tokens: the number of tokens that are measured; fewer where the texts have fewer.
        context: tokens of a context, its beginning-of-text token included; fewer where the model
            has positions for fewer.
    """

    VERSION: ClassVar[int] = 1
    POSITIONAL: ClassVar[bool] = False
    NOT_IN_SWEEPS: ClassVar[tuple[str, ...]] = ("tokens", "context")

    name: Literal["text"]
    tokens: Annotated[int, Field(ge=FEWEST_TOKENS, le=MOST_TOKENS), Default(20_000)]
    context: Annotated[int, Field(ge=8, le=1024), Default(128)]
