"""Word lists: inline, or one word per line in a `.txt` beside the YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs.base import Spec, as_tuple, rejection
from acdc_pipeline.specs.files import display_path, path_inside, read_text

WordList = Annotated[
    tuple[str, ...], BeforeValidator(as_tuple, json_schema_input_type=tuple[str, ...] | str)
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
    def word_list_names(cls, data: Any) -> list[str]:
        """The names of the word lists that the raw `data` refers to, before validation."""
        raise NotImplementedError

    @classmethod
    def read_files(cls, data: Any, folder: Path) -> Any:
        words = data.get("words", {})
        if not isinstance(words, Mapping):
            return data
        words = {name: _read(folder, value, name) for name, value in words.items()}
        for name in cls.word_list_names(data):
            if (
                name not in words
                and path_inside(folder, f"{name}.txt", "generator.words").is_file()
            ):
                words[name] = _read(folder, f"{name}.txt", name)
        return {**data, "words": words}

    @field_validator("words")
    @classmethod
    def _usable(cls, words: Words) -> Words:
        for name, entries in words.items():
            if not entries:
                raise rejection(name, "holds no word")
            for word in entries:
                check_word(name, word)
            if twice := sorted({w for w in entries if entries.count(w) > 1}):
                raise rejection(name, f"'{twice[0]}' is there twice")
        return words


def check_word(field: str, word: str) -> None:
    """Reject an empty word, or one with spaces around it or line breaks in it."""
    if not word or word != word.strip() or "\n" in word:
        raise rejection(field, f"{word!r} is not a word", fix="write it without spaces around it")


def _read(folder: Path, value: Any, name: str) -> Any:
    if not isinstance(value, str):
        return value
    field = f"generator.words.{name}"
    path = path_inside(folder, value, field)
    if not path.is_file():
        raise SpecError(
            f"no such file '{value}'",
            where=display_path(folder),
            field=field,
            allowed="a list of words, or the name of a file with one word a line",
            fix=_instead_of(folder, value, name),
        )
    text = read_text(path)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _instead_of(folder: Path, value: str, name: str) -> str:
    """The fix for a list that names the missing file `value`."""
    file = value if value.endswith(".txt") else f"{value}.txt"
    if file != value and (folder / file).is_file():
        return f"write '{name}: {file}'"
    return f"make {file} with one word a line and write '{name}: {file}', or list the words here"
