"""A prompt pair: one line of a `.jsonl` file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_serializer, model_validator

from acdc_pipeline.graph.edge import LONGEST_SPAN_NAME, SPAN_NAME
from acdc_pipeline.specs.base import Spec, as_tuple, rejection

Text = str | tuple[int, ...]
"""A prompt: a text, or token ids, used as they are, without padding at the ends."""


def _listed(value: Any) -> Any:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return (value,)
    return tuple(map(as_tuple, value)) if isinstance(value, list) else value


_OneAnswer = str | int | tuple[int, ...]

Answer = Annotated[
    tuple[_OneAnswer, ...],
    BeforeValidator(_listed, json_schema_input_type=str | int | tuple[_OneAnswer, ...]),
]
"""Texts, token ids, or lists of the ids of one answer, any of which counts.

A single text or id need not be a list.
"""

PairBos = Annotated[
    bool | Literal["auto"],
    Field(
        description="whether a beginning-of-sequence token comes first: true, false, or auto: "
        "as the model's tokenizer does by itself"
    ),
]

Positions = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]


Alignment = Annotated[
    Literal["right"] | None,
    Field(description="right: the sides may differ in length, and are aligned from the end"),
]
AnswerLength = Annotated[
    Literal["whole"] | None,
    Field(description="whole: an answer may have several tokens, and counts by all of them"),
]


class PairOptions(Spec):
    """A specification whose options are left out of plain data, and of hashes, if not given."""

    @model_serializer(mode="wrap")
    def _without_options_not_given(
        self, handler: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        options = ("align", "answers", "bos", "spans")
        return {k: v for k, v in handler(self).items() if v is not None or k not in options}


class Span(Spec):
    """The tokens of a named part of both sides, which correspond, counted from 0 without padding.

    A beginning-of-sequence token in front of the prompt counts as a token.
    """

    clean: Positions
    corrupted: Positions


class PromptPair(PairOptions):
    """A clean prompt, its counterfactual, and the correct and incorrect answers.

    Args:
        roles: what decides the answer.
        align: `right` where the sides may differ in length, and are aligned from their ends.
        spans: named parts of the prompt, by token positions. One with positions of its own on
            each side also says that these correspond though they differ in length; all other tokens
            correspond in their order.
        answers: `whole` where an answer may have several tokens, and counts by the probability of
            all of them.
        bos: whether a beginning-of-sequence token is put in front of texts; None as the task has
            it.
    """

    clean: Annotated[Text, Field(description="a text or a list of token ids", min_length=1)]
    corrupted: Annotated[Text, Field(description="a text or a list of token ids", min_length=1)]
    correct: Annotated[Answer, Field(description="an answer or a list of them", min_length=1)]
    incorrect: Answer = ()
    roles: Annotated[
        Mapping[str, str],
        Field(description="what decides the answer: pairs that agree in it may be exchanged"),
    ] = {}
    align: Alignment = None
    spans: Annotated[
        Mapping[str, Span | Positions] | None,
        Field(
            description='named token positions, as in "S1": [3, 4]; or {"clean": [3, 4], '
            '"corrupted": [3]} where the sides differ in length'
        ),
    ] = None
    answers: AnswerLength = None
    bos: PairBos | None = None

    @property
    def corresponding(self) -> dict[str, Span]:
        """The spans that say which tokens correspond."""
        return {name: span for name, span in (self.spans or {}).items() if isinstance(span, Span)}

    @property
    def named(self) -> dict[str, tuple[int, ...]]:
        """The clean positions of every span."""
        return {
            name: span.clean if isinstance(span, Span) else span
            for name, span in (self.spans or {}).items()
        }

    @model_validator(mode="after")
    def _spans_are_apart(self) -> PromptPair:
        for name, span in (self.spans or {}).items():
            if not isinstance(span, Span) and not re.fullmatch(SPAN_NAME, name, re.ASCII):
                raise rejection(
                    f"spans.{name}",
                    "is not the name of a span",
                    allowed="letters, digits, and _ . + -",
                )
            if not isinstance(span, Span) and len(name) > LONGEST_SPAN_NAME:
                raise rejection(
                    f"spans.{name[:LONGEST_SPAN_NAME]}…",
                    f"the name of a span has {len(name)} characters",
                    allowed=f"up to {LONGEST_SPAN_NAME}",
                    fix="give it a shorter name",
                )
        corrupted = {name: span.corrupted for name, span in self.corresponding.items()}
        for side, spans in (("clean", self.named), ("corrupted", corrupted)):
            seen: set[int] = set()
            for name, positions in spans.items():
                field = f"spans.{name}.{side}" if name in corrupted else f"spans.{name}"
                if twice := [at for at, n in Counter(positions).items() if n > 1]:
                    problem = f"token {twice[0]} is there {positions.count(twice[0])} times"
                    raise rejection(field, problem, fix="keep it once")
                if list(positions) != sorted(positions):
                    raise rejection(field, "is not in ascending order", fix="sort it")
                if both := seen.intersection(positions):
                    problem = f"token {min(both)} is in another span too"
                    raise rejection(field, problem, fix="keep it in one of them")
                seen.update(positions)
        return self

    def split_labels(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the plain data that determines prompts and answers, and that of the labels.

        The labels are the roles, and the spans that only name tokens; each if there are any.
        """
        plain = self.plain()
        labels = {"roles": plain.pop("roles")}
        spans = plain.pop("spans", {})
        labels["spans"] = {name: span for name, span in spans.items() if isinstance(span, list)}
        if rest := {name: span for name, span in spans.items() if name not in labels["spans"]}:
            plain["spans"] = rest
        elif spans == {} and self.spans is not None:
            plain["spans"] = {}
        return plain, {name: value for name, value in labels.items() if value}

    @model_validator(mode="after")
    def _answers_differ(self) -> PromptPair:
        if both := [answer for answer in self.incorrect if answer in self.correct]:
            raise rejection("incorrect", f"{both[0]!r} is a correct answer too", fix="remove it")
        return self
