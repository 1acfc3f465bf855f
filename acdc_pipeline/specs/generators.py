"""How a task makes its prompts: one spec per kind of generator, told apart by `kind`.

`bos` has no default anywhere: whether a beginning-of-sequence token stands in front of every
prompt changes what heads do with the first position.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator
from pydantic.json_schema import SkipJsonSchema

from acdc_pipeline.specs.base import Spec, rejection, unknown_reference
from acdc_pipeline.specs.folder import inside
from acdc_pipeline.specs.names import Bos
from acdc_pipeline.specs.prompt_pair import PromptPair, read_pairs
from acdc_pipeline.specs.table import TableGenerator
from acdc_pipeline.specs.template import TemplateGenerator
from acdc_pipeline.specs.words import Words, WordsGenerator
from acdc_pipeline.specs.years import YearsGenerator

Range = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
"""Smallest and largest, both included."""


class RepeatedTokensGenerator(Spec):
    """Random tokens that repeat: `x x A B C D A B C`, and `D` comes next.

    Args:
        length: tokens of a prompt, beginning of sequence not counted, as `[least, most]`.
        period: tokens of the part that repeats, likewise. Both are drawn for each prompt, so
            that neither the answer's position nor its distance is fixed.
        bos: whether a beginning-of-sequence token comes first.
        corrupted: what the counterfactual redraws: the `first_copy`, so that nothing is left
            to look up.
        answers: where the prediction is read: after the `last` token.
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
        for field in ("length", "period"):
            least, most = getattr(self, field)
            if least > most:
                raise rejection(field, f"{least} is more than {most}", allowed="[least, most]")
        if self.period[1] >= self.length[0]:
            raise rejection(
                "length",
                f"{self.length[0]} tokens do not repeat anything of {self.period[1]}",
                allowed=f"at least {self.period[1] + 1} (one more than the longest period)",
            )
        return self


class DocstringCorruption(Spec):
    """What the counterfactual redraws: argument names in the signature, in the docstring.

    In the signature only the documented arguments and the one asked for are redrawn, as in the
    paper. `fresh` in both, each with names of its own, is the paper's `random_random`.
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
        before: how many arguments of the signature come before the first documented one.
        documented: how many are documented before the one asked for.
        summary_words: words of the summary line.
        description_words: words of each description.
        functions, names, nouns: word lists for the function's, the arguments' and all other words.
        words: the lists: inline, or a `.txt` beside the file with one word a line.
        corrupted: what the counterfactual redraws. `fresh` names differ from every clean one.

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
    def list_names(cls, data: Any) -> list[str]:
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
                f"{self.arguments} leaves no argument to ask for",
                allowed=f"at least {self.before + self.documented + 1} (before + documented + 1)",
            )
        if self.corrupted.signature == self.corrupted.docstring == "keep":
            raise rejection("corrupted", "nothing differs from the clean prompt", fix="use fresh")
        return self


class PairsGenerator(Spec):
    """Prompt pairs that people wrote, taken in their order.

    Args:
        bos: whether a beginning-of-sequence token is put in front of texts (token ids are
            taken as they are).
        file: the `.jsonl` beside the task; None when `pairs` came from elsewhere.
        pairs: its contents; read at load time.
        lines: where in `file` each pair stands, for error messages.
    """

    kind: Literal["pairs"]
    bos: Bos
    file: str | None = Field(default=None, description="the .jsonl beside this file")
    pairs: SkipJsonSchema[tuple[PromptPair, ...]] = Field(
        min_length=1, description="name a .jsonl in 'file'"
    )
    lines: SkipJsonSchema[tuple[int, ...]] = ()

    @classmethod
    def with_files_read(cls, data: Any, folder: Path) -> Any:
        name = data.get("file")
        if not isinstance(name, str) or "pairs" in data:
            return data
        pairs = read_pairs(inside(folder, name, "generator.file"))
        return {**data, "pairs": [pair.plain() for pair in pairs.values()], "lines": list(pairs)}

    def deciding(self) -> dict[str, Any]:
        """What decides the prompts: the pairs, not the file that they come from.

        Roles say which pairs are the same question; they change none.
        """
        return self.model_dump(
            mode="json", exclude={"file": True, "lines": True, "pairs": {"__all__": {"roles"}}}
        )

    @model_validator(mode="after")
    def _one_line_each(self) -> PairsGenerator:
        if self.lines and len(self.lines) != len(self.pairs):
            raise rejection("lines", "are not as many as the pairs", fix="remove it")
        return self


class FunctionGenerator(Spec):
    """A Python function of the entry-point group `acdc_pipeline.generators`.

    Args:
        name: the entry point.
        bos: whether a beginning-of-sequence token comes first; handed to the function.
        options: handed to the function as keyword arguments.
    """

    kind: Literal["function"]
    name: str = Field(min_length=1)
    bos: Bos
    options: Mapping[str, JsonValue] = Field(default_factory=dict)


Generator = Annotated[
    TemplateGenerator
    | TableGenerator
    | YearsGenerator
    | RepeatedTokensGenerator
    | DocstringGenerator
    | PairsGenerator
    | FunctionGenerator,
    Field(discriminator="kind"),
]

GENERATORS: Mapping[str, type[Spec]] = {
    "template": TemplateGenerator,
    "table": TableGenerator,
    "years": YearsGenerator,
    "repeated_tokens": RepeatedTokensGenerator,
    "docstring": DocstringGenerator,
    "pairs": PairsGenerator,
    "function": FunctionGenerator,
}

__all__ = [
    "GENERATORS",
    "DocstringCorruption",
    "DocstringGenerator",
    "FunctionGenerator",
    "Generator",
    "PairsGenerator",
    "RepeatedTokensGenerator",
    "TableGenerator",
    "TemplateGenerator",
    "Words",
    "YearsGenerator",
]
