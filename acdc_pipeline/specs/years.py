"""Prompts about a span of years: the second year has to be later than the first."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from acdc_pipeline.specs.base import Spec, rejection, unknown_reference
from acdc_pipeline.specs.names import Bos
from acdc_pipeline.specs.template import placeholders_of
from acdc_pipeline.specs.words import WordsGenerator

Century = Annotated[int, Field(ge=10, le=99)]
Year = Annotated[int, Field(ge=0, le=99)]

PLACEHOLDERS = ("noun", "century", "year")


class YearsCorruption(Spec):
    """What the counterfactual writes for the first year, of the same century.

    Hanna et al. 2023 take 1: no year of the century comes before it that the first could rule out.
    """

    year: Year = Field(description="the last two digits, 0 to 99")


class YearsGenerator(WordsGenerator):
    """`The war lasted from the year 1732 to the year 17`: any year from 33 on is correct.

    Hanna et al. 2023, "How does GPT-2 compute greater-than?". A year is the token of its century
    and the token of its last two digits; years that a tokenizer cuts in another way are left out.
    Where a tokenizer writes every digit by itself, the digit of the decade is the answer.

    Args:
        bos: whether a beginning-of-sequence token comes first.
        templates: the sentences, with `{noun}`, `{century}{year}` and, at their end, `{century}`.
            Each prompt takes one; all are used in equal parts.
        nouns: the word list of `{noun}`.
        words: the list: inline, or the name of a `.txt` beside the file with one word a line; a
            list that is not here is read from `<list>.txt`.
        centuries: first two digits of years, as `[least, most]`.
        starts: last two digits of the first year, likewise.
        corrupted: the year that the counterfactual writes instead.

    Correct are all years of the century after the first, incorrect are the first and all before.
    Of decades: the later ones and the earlier ones; the first year's own is in neither.
    """

    kind: Literal["years"]
    bos: Bos
    templates: tuple[str, ...] = Field(min_length=1)
    nouns: str
    centuries: tuple[Century, Century] = Field(description="[least, most], 10 to 99")
    starts: tuple[Year, Year] = Field(description="[least, most], 0 to 98")
    corrupted: YearsCorruption

    @classmethod
    def list_names(cls, data: Any) -> list[str]:
        name = data.get("nouns")
        return [name] if isinstance(name, str) else []

    @model_validator(mode="after")
    def _coherent(self) -> YearsGenerator:
        if self.nouns not in self.words:
            raise unknown_reference("nouns", "word list", self.nouns, self.words)
        for field in ("centuries", "starts"):
            least, most = getattr(self, field)
            if least > most:
                raise rejection(field, f"{least} is more than {most}", allowed="[least, most]")
        if self.starts[1] == 99:
            raise rejection("starts", "no year of the century is after 99", allowed="at most 98")
        if self.starts[0] == self.starts[1] == self.corrupted.year:
            raise rejection("corrupted.year", "nothing differs from the clean prompt")
        for index, template in enumerate(self.templates):
            field = f"templates.{index}"
            for name in placeholders_of(template, field):
                if name not in PLACEHOLDERS:
                    raise unknown_reference(field, "placeholder", name, PLACEHOLDERS)
            shape = "one {noun}, one {century}{year}, and {century} at the end"
            marks = [template.count(f"{{{name}}}") for name in PLACEHOLDERS]
            if (
                marks != [1, 2, 1]
                or "{century}{year}" not in template
                or not template.endswith("{century}")
            ):
                raise rejection(field, f"{template!r} does not ask for a year", allowed=shape)
        return self
