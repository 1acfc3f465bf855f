"""Generators of prompts: one spec per kind.

`bos` never has a default: a beginning-of-sequence token in front of every prompt changes what heads
do at the first position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field, GetPydanticSchema, JsonValue, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import CoreSchema, core_schema

from acdc_pipeline.specs.base import Spec, canonical_json, rejection, tag_of, unknown_reference
from acdc_pipeline.specs.files import path_inside
from acdc_pipeline.specs.names import Bos
from acdc_pipeline.specs.pair_lines import PairLines, hashed_chunks, read_pair_lines
from acdc_pipeline.specs.prompt_pair import (
    Alignment,
    AnswerLength,
    PairBos,
    PairOptions,
    PromptPair,
)
from acdc_pipeline.specs.table import TableGenerator
from acdc_pipeline.specs.template import TemplateGenerator, placeholders_of
from acdc_pipeline.specs.words import WordsGenerator

Range = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
"""Smallest and largest value, both inclusive."""


def _check_ranges(spec: Spec, *fields: str) -> None:
    for field in fields:
        least, most = getattr(spec, field)
        if least > most:
            raise rejection(field, f"{least} is more than {most}", allowed="[least, most]")


class RepeatedTokensGenerator(Spec):
    """Random tokens that repeat: `x x A B C D A B C`, and `D` comes next.

    Args:
        length: tokens per prompt, without the beginning of sequence, as `[least, most]`.
        period: tokens of the part that repeats, as `[least, most]`. Both are drawn for each prompt,
            so that neither the position of the answer nor its distance is fixed.
        bos: whether a beginning-of-sequence token comes first.
        corrupted: the part that is drawn again in the counterfactual: the `first_copy`, so that
            there is nothing to copy.
        answers: the token after which the prediction is read: the `last` one.
    """

    kind: Literal["repeated_tokens"]
    length: Range = Field(description="[least, most] tokens")
    period: tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=2)]] = Field(
        description="[least, most] tokens"
    )
    bos: Bos
    corrupted: Literal["first_copy"]
    answers: Literal["last"]

    @model_validator(mode="after")
    def _coherent(self) -> RepeatedTokensGenerator:
        _check_ranges(self, "length", "period")
        if self.period[1] >= self.length[0]:
            raise rejection(
                "length",
                f"{self.length[0]} tokens do not repeat anything of {self.period[1]}",
                allowed=f"at least {self.period[1] + 1} (one more than the longest period)",
            )
        return self


class DocstringCorruption(Spec):
    """Which argument names the counterfactual replaces: in the signature, in the docstring.

    In the signature only the documented arguments and the answer are replaced, as in the paper.
    `fresh` in both, each with its own names, is `random_random` in the paper.
    """

    signature: Literal["fresh", "keep"]
    docstring: Literal["fresh", "keep"]


class DocstringGenerator(WordsGenerator):
    """A Python function whose docstring stops before an argument's name; the next is the answer.

    Heimersheim & Janiak 2023, "A circuit for Python docstrings". With two documented arguments
    of a signature of six, answer ` files`::

        def port(self, load, size, files, last, key, model):
            \"\"\"oil column piece

            :param load: crime population
            :param size: unit dark
            :param

    Args:
        bos: whether a beginning-of-sequence token comes first.
        arguments: names in the signature, after `self`.
        before: number of arguments in the signature before the first documented one.
        documented: number of arguments documented before the answer.
        summary_words: words of the summary line.
        description_words: words of each description.
        functions, names, nouns: word lists for the name of the function, the names of the
            arguments, and all other words.
        words: the lists: inline, or a `.txt` beside the file with one word per line.
        corrupted: which names the counterfactual replaces. `fresh` names differ from all clean
            ones.

    The incorrect answers are the other arguments of the clean signature.
    """

    kind: Literal["docstring"]
    bos: Bos
    arguments: int = Field(ge=2)
    before: int = Field(ge=0)
    documented: int = Field(ge=1)
    summary_words: int = Field(ge=1)
    description_words: int = Field(ge=1)
    functions: str
    names: str
    nouns: str
    corrupted: DocstringCorruption

    @classmethod
    def word_list_names(cls, data: Any) -> list[str]:
        names = [data.get(field) for field in ("functions", "names", "nouns")]
        return [name for name in names if isinstance(name, str)]

    @model_validator(mode="after")
    def _coherent(self) -> DocstringGenerator:
        for field in ("functions", "names", "nouns"):
            if (name := getattr(self, field)) not in self.words:
                raise unknown_reference(field, "word list", name, self.words)
        if self.arguments < self.before + self.documented + 1:
            raise rejection(
                "arguments",
                f"{self.arguments} leaves no argument for the answer",
                allowed=f"at least {self.before + self.documented + 1} (before + documented + 1)",
            )
        if self.corrupted.signature == self.corrupted.docstring == "keep":
            raise rejection("corrupted", "nothing differs from the clean prompt", fix="use fresh")
        return self


Century = Annotated[int, Field(ge=10, le=99)]
Year = Annotated[int, Field(ge=0, le=99)]

PLACEHOLDERS = ("noun", "century", "year")


class YearsCorruption(Spec):
    """The first year of the counterfactual, in the same century.

    Hanna et al. 2023 use 1, which excludes hardly any year of the century.
    """

    year: Year = Field(description="the last two digits, 0 to 99")


class YearsGenerator(WordsGenerator):
    """`The war lasted from the year 1732 to the year 17`: any year from 33 on is correct.

    Hanna et al. 2023, "How does GPT-2 compute greater-than?". A year consists of the token of its
    century and the token of its last two digits; years that a tokenizer splits otherwise are left
    out. If a tokenizer has a token for every digit, the digit of the decade is the answer.

    Args:
        bos: whether a beginning-of-sequence token comes first.
        templates: the sentences, with `{noun}`, `{century}{year}` and, at their end, `{century}`.
            They are used in equal shares.
        nouns: the word list of `{noun}`.
        words: the list: inline, or the name of a `.txt` beside the file with one word per line; a
            list that is not here is read from `<list>.txt`.
        centuries: first two digits of the years, as `[least, most]`.
        starts: last two digits of the first year, as `[least, most]`.
        corrupted: the first year of the counterfactual.

    All years of the century after the first one are correct; the first one and all earlier ones are
    incorrect. Of decades, the later ones are correct and the earlier ones incorrect; that of the
    first year is neither.
    """

    kind: Literal["years"]
    bos: Bos
    templates: tuple[str, ...] = Field(min_length=1)
    nouns: str
    centuries: tuple[Century, Century] = Field(description="[least, most], 10 to 99")
    starts: tuple[Year, Year] = Field(description="[least, most], 0 to 98")
    corrupted: YearsCorruption

    @classmethod
    def word_list_names(cls, data: Any) -> list[str]:
        name = data.get("nouns")
        return [name] if isinstance(name, str) else []

    @model_validator(mode="after")
    def _coherent(self) -> YearsGenerator:
        if self.nouns not in self.words:
            raise unknown_reference("nouns", "word list", self.nouns, self.words)
        _check_ranges(self, "centuries", "starts")
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


def _keep_lines(value: Any, handler: Callable[[Any], Any]) -> Any:
    """Validate pairs, but for those of a file, which are checked already."""
    return value if isinstance(value, PairLines) else handler(value)


def _plain_pairs(pairs: Sequence[PromptPair]) -> list[dict[str, Any]]:
    return pairs.plain() if isinstance(pairs, PairLines) else [pair.plain() for pair in pairs]


def _pairs_schema(source: Any, handler: Callable[[Any], CoreSchema]) -> CoreSchema:
    """Add the pairs of a file to the tuples of pairs that are valid; JSON holds lists."""
    listed = handler(source)
    return core_schema.json_or_python_schema(
        listed,
        core_schema.no_info_wrap_validator_function(_keep_lines, listed),
        serialization=core_schema.plain_serializer_function_ser_schema(_plain_pairs),
    )


if TYPE_CHECKING:
    Pairs = Sequence[PromptPair]
else:
    Pairs = Annotated[tuple[PromptPair, ...], Field(min_length=1), GetPydanticSchema(_pairs_schema)]


class PairsGenerator(PairOptions):
    """Given prompt pairs, used in their order.

    Args:
        bos: whether a beginning-of-sequence token is put in front of texts (token ids are used
            as they are, without padding at the ends); `auto` as the model's tokenizer does by
            itself. A pair may differ.
        align, answers: for all pairs; see `PromptPair`.
        file: the `.jsonl` beside the task; None if `pairs` come from elsewhere.
        pairs: its contents, read at load time.
        lines: the line of each pair in `file`, for error messages.
    """

    kind: Literal["pairs"]
    bos: PairBos
    file: str | None = Field(default=None, description="the .jsonl beside this file")
    pairs: SkipJsonSchema[Pairs] = Field(description="name a .jsonl in 'file'")
    lines: SkipJsonSchema[tuple[int, ...]] = ()
    align: Alignment = None
    answers: AnswerLength = None

    @classmethod
    def read_files(cls, data: Any, folder: Path) -> Any:
        name = data.get("file")
        if not isinstance(name, str) or "pairs" in data:
            return data
        pairs, lines = read_pair_lines(path_inside(folder, name, "generator.file"))
        return {**data, "pairs": pairs.plain(), "lines": list(lines)}

    def hashed_parts(self) -> Iterator[bytes]:
        """Yield, as canonical JSON in parts, what determines the prompts.

        These are the pairs, without their file and their labels.
        """
        rest = self.model_dump(mode="json", exclude={"file", "lines", "pairs"})
        # "pairs" is the last key in order
        yield canonical_json(rest).encode().removesuffix(b"}") + b',"pairs":'
        yield from hashed_chunks(self.pairs)
        yield b"}"

    @model_validator(mode="after")
    def _one_line_each(self) -> PairsGenerator:
        if self.lines and len(self.lines) != len(self.pairs):
            raise rejection("lines", "are not as many as the pairs", fix="remove it")
        return self


class FunctionGenerator(Spec):
    """A Python function of the entry-point group `acdc_pipeline.generators`.

    Args:
        name: the entry point.
        bos: whether a beginning-of-sequence token comes first; passed to the function.
        options: keyword arguments of the function.
    """

    kind: Literal["function"]
    name: str = Field(min_length=1)
    bos: Bos
    options: Mapping[str, JsonValue] = Field(default_factory=dict)


_Generators = (
    TemplateGenerator
    | TableGenerator
    | YearsGenerator
    | RepeatedTokensGenerator
    | DocstringGenerator
    | PairsGenerator
    | FunctionGenerator
)
Generator = Annotated[_Generators, Field(discriminator="kind")]
"""Any generator; `kind` is the discriminator."""

GENERATORS: Mapping[str, type[Spec]] = {
    tag_of(generator): generator for generator in get_args(_Generators)
}
"""Every generator by its `kind`."""
