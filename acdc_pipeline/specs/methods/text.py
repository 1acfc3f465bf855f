"""Head profiles on ordinary text as a method, and the names of what is measured.

`docs/head-scores.md` has the definitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from acdc_pipeline.specs.methods.base import BaseMethod, Default

FEWEST_TOKENS = 100
"""With fewer, a decile has fewer tokens than it shows."""

MOST_TOKENS = 200_000
"""The activations of all tokens are in memory, layer by layer."""

KEY_KINDS: tuple[str, ...] = ("first", "current", "previous", "induction", "duplicate", "other")
"""What a key is to a query; a key of several kinds is of the first of them."""

OF_ROLE: Mapping[str, str] = {
    "sink": "first",
    "current_token": "current",
    "previous_token": "previous",
    "induction": "induction",
    "anti_induction": "induction",
    "duplicate_token": "duplicate",
}
"""The kind of key that a role is about. Other roles say nothing of where a head looks on any
text, and explain none of its attention there."""

DECILES = 10
"""The number of groups of equal size that tokens are sorted into by activation."""


class TextMethod(BaseMethod):
    """What every head of a model does on ordinary text.

    The run's task is the names of the texts, its `task_hash` a hash of their contents, and its
    number of prompts the number of documents.

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


def kinds_of_roles(roles: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds of keys that `roles` are about, each once, in the order of `KEY_KINDS`."""
    found = {OF_ROLE[role] for role in roles if role in OF_ROLE}
    return tuple(kind for kind in KEY_KINDS if kind in found)
