"""A prompt pair: one line of a `.jsonl` file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_serializer, model_validator

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
    """The tokens of a named part of both sides, counted from 0 without padding.

    A beginning-of-sequence token in front of the prompt counts as a token.
    """

    clean: Positions
    corrupted: Positions


class PromptPair(PairOptions):
    """A clean prompt, its counterfactual, and the correct and incorrect answers.

    Args:
        roles: what decides the answer.
        align: `right` where the sides may differ in length, and are aligned from their ends.
        spans: parts of the two sides that correspond though they differ in length. All other
            tokens correspond in their order.
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
        Mapping[str, Span] | None,
        Field(description="parts that correspond though they differ in length, by name"),
    ] = None
    answers: AnswerLength = None
    bos: PairBos | None = None

    @model_validator(mode="after")
    def _spans_are_apart(self) -> PromptPair:
        for side in ("clean", "corrupted"):
            seen: set[int] = set()
            for name, span in (self.spans or {}).items():
                positions: tuple[int, ...] = getattr(span, side)
                if list(positions) != sorted(set(positions)):
                    raise rejection(
                        f"spans.{name}.{side}", "is not in ascending order", fix="sort it"
                    )
                if both := seen.intersection(positions):
                    problem = f"token {min(both)} is in another span too"
                    raise rejection(f"spans.{name}.{side}", problem, fix="keep it in one of them")
                seen.update(positions)
        return self

    @model_validator(mode="after")
    def _answers_differ(self) -> PromptPair:
        if both := [answer for answer in self.incorrect if answer in self.correct]:
            raise rejection("incorrect", f"{both[0]!r} is a correct answer too", fix="remove it")
        return self
