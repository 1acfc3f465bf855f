"""Head profiles as a method: a run that scores every head and finds no circuit."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from acdc_pipeline.specs.methods.base import BaseMethod, Default

MAX_TEXT_LENGTH = 20_000
"""Characters of a text: it is part of the run's identity, and stored with it."""


class ProfileMethod(BaseMethod):
    """What every head of a model does, on random tokens, by its weights and on a task's prompts.

    `specs.head_scores` defines what is measured.

    Args:
        period: length of the random sequences before they repeat; shorter where the model's
            context does not hold two copies.
        sequences: how many such sequences.
        tokens: tokens of the vocabulary whose copying is ranked.
        text: a text in which example snippets are looked for; the text itself, not a file name.
    """

    VERSION: ClassVar[int] = 4
    POSITIONAL: ClassVar[bool] = False
    NOT_IN_SWEEPS: ClassVar[tuple[str, ...]] = ("text",)

    name: Literal["profile"]
    period: Annotated[int, Field(ge=2, le=1024), Default(50)]
    sequences: Annotated[int, Field(ge=2, le=4096), Default(32)]
    tokens: Annotated[int, Field(ge=1, le=65_536), Default(512)]
    text: Annotated[str | None, Field(max_length=MAX_TEXT_LENGTH), Default(None)]

    @classmethod
    def with_defaults(cls, text: str | None = None) -> ProfileMethod:
        """The method with its defaults, and with the beginning of `text` if it is too long."""
        kept = None if text is None else text[:MAX_TEXT_LENGTH]
        return cls(**{**cls.defaults(), "name": "profile", "text": kept})
