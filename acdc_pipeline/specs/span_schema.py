"""Patterns of prompts whose parts are spans: the YAML file of `acdc tasks spans`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from acdc_pipeline.graph.edge import LONGEST_SPAN_NAME, SPAN_NAME
from acdc_pipeline.specs.base import Spec, rejection

SpanName = Annotated[
    str, Field(pattern=rf"^{SPAN_NAME}$", description="letters, digits, and _ . + -")
]


class Part(Spec):
    """A part of a prompt: a token that is the same in every prompt, or tokens that vary.

    Args:
        span: name of its span. Parts of one name are one span; `rest` is that of all other tokens.
        text: text of the token; None if it varies.
        tokens: least and largest number of tokens, if they vary.
    """

    span: SpanName
    text: Annotated[str | None, Field(description="text of a token that does not vary")] = None
    tokens: Annotated[
        tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]],
        Field(description="[least, most] tokens of a part that varies"),
    ] = (1, 1)

    @model_validator(mode="after")
    def _coherent(self) -> Part:
        if len(self.span) > LONGEST_SPAN_NAME:
            raise rejection(
                "span",
                f"'{self.span[:LONGEST_SPAN_NAME]}…' has {len(self.span)} characters",
                allowed=f"up to {LONGEST_SPAN_NAME}",
                fix="give it a shorter name",
            )
        least, most = self.tokens
        if least > most or most == 0:
            raise rejection("tokens", f"{list(self.tokens)} is no range", allowed="[least, most]")
        if self.text is not None and self.tokens != (1, 1):
            raise rejection("tokens", "a token that does not vary is one token", fix="remove it")
        return self


class SpanSchema(Spec):
    """Patterns of prompts; the first one that fits a prompt names its tokens.

    Args:
        correct: span of the tokens that vary and equal a correct answer; None for the span of their
            part. Several in one prompt are numbered.
        incorrect: the same for incorrect answers.
        patterns: the parts of each kind of prompt, in their order.
    """

    correct: SpanName | None = None
    incorrect: SpanName | None = None
    patterns: Annotated[
        tuple[Annotated[tuple[Part, ...], Field(min_length=1)], ...], Field(min_length=1)
    ]
