"""Word lists: written inline, or one word a line in a `.txt` beside the YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs.base import Spec, rejection
from acdc_pipeline.specs.folder import inside
from acdc_pipeline.specs.yaml_file import read_text, shown


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


WordList = Annotated[
    tuple[str, ...], BeforeValidator(_tuple, json_schema_input_type=tuple[str, ...] | str)
]
Words = Mapping[str, WordList]


class WordsGenerator(Spec):
    """A generator that draws from word lists.

    Words are written without the space that joins them to the text before.
    """

    words: Words = Field(
        default_factory=dict,
        description="word lists, inline or as the name of a .txt beside; a list that is not "
        "here is read from <list>.txt",
    )

    @classmethod
    def list_names(cls, data: Any) -> list[str]:
        """The names of lists that the raw `data` refers to, before validation.

        Every generator of this kind says it in its own way; there is none without.
        """
        raise NotImplementedError

    @classmethod
    def with_files_read(cls, data: Any, folder: Path) -> Any:
        words = data.get("words", {})
        if not isinstance(words, Mapping):
            return data
        words = {name: _read(folder, value, name) for name, value in words.items()}
        for name in cls.list_names(data):
            if name not in words and inside(folder, f"{name}.txt", "generator.words").is_file():
                words[name] = _read(folder, f"{name}.txt", name)
        return {**data, "words": words}

    @field_validator("words")
    @classmethod
    def _usable(cls, words: Words) -> Words:
        for name, entries in words.items():
            if not entries:
                raise rejection(name, "holds no word")
            for word in entries:
                if not word or word != word.strip() or "\n" in word:
                    raise rejection(
                        name, f"{word!r} is not a word", fix="write it without spaces around it"
                    )
            if twice := sorted({w for w in entries if entries.count(w) > 1}):
                raise rejection(name, f"'{twice[0]}' is there twice")
        return words


def _read(folder: Path, value: Any, name: str) -> Any:
    if not isinstance(value, str):
        return value
    field = f"generator.words.{name}"
    path = inside(folder, value, field)
    if not path.is_file():
        raise SpecError(
            f"no such file '{value}'",
            where=shown(folder),
            field=field,
            allowed="a list of words, or the name of a file with one word a line",
            fix=_instead_of(folder, value, name),
        )
    text = read_text(path)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _instead_of(folder: Path, value: str, name: str) -> str:
    """What to write for a list that names the file `value`, which is not there."""
    file = value if value.endswith(".txt") else f"{value}.txt"
    if file != value and (folder / file).is_file():
        return f"write '{name}: {file}'"
    return f"make {file} with one word a line and write '{name}: {file}', or list the words here"
