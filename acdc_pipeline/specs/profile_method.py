"""Head profiles as a method: a run that scores every head and finds no circuit."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from acdc_pipeline.specs.base import Spec
from acdc_pipeline.specs.task import TaskSpec

MOST_TEXT = 20_000
"""Characters of a text: it is part of the run's identity, and stored with it."""


class ProfileMethod(Spec):
    """What every head of a model does, on random tokens, by its weights and on a task's prompts.

    `specs.head_scores` says what is measured.

    Args:
        period: random tokens that are said twice, if the model's context holds them.
        sequences: how many such sequences.
        tokens: tokens of the vocabulary whose copying is ranked.
        text: a text to look for snippets in; its words, not a file's name.
    """

    VERSION: ClassVar[int] = 3

    name: Literal["profile"]
    period: int = Field(ge=2, le=1024)
    sequences: int = Field(ge=2, le=4096)
    tokens: int = Field(ge=1, le=65_536)
    text: str | None = Field(max_length=MOST_TEXT)


class ProfileRequest(Spec):
    """Head profiles as sweeps ask for them: the usual amounts may be left out."""

    name: Literal["profile"]
    period: int = Field(default=50, ge=2, le=1024)
    sequences: int = Field(default=32, ge=2, le=4096)
    tokens: int = Field(default=512, ge=1, le=65_536)

    def methods(self, task: TaskSpec) -> tuple[ProfileMethod]:
        """The method: the same for every task."""
        return (self.with_text(None),)

    def with_text(self, text: str | None) -> ProfileMethod:
        """The method with a text to look for snippets in: the beginning of it, if it is long."""
        kept = None if text is None else text[:MOST_TEXT]
        return ProfileMethod(**self.model_dump(), text=kept)
