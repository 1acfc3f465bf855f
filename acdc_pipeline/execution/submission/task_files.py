"""The files that make up a task, and no other files of its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs.catalogue import task_file
from acdc_pipeline.specs.files import display_path, path_inside, read_yaml
from acdc_pipeline.specs.generators import GENERATORS, PairsGenerator, TableGenerator
from acdc_pipeline.specs.task import REFERENCE
from acdc_pipeline.specs.words import WordsGenerator


def task_files(name_or_path: str | Path, project: Path | None = None) -> dict[str, bytes]:
    """Return the files that `find_task` reads, by path below the folder of the task.

    These are `task.yaml`, `circuit.yaml` where there is one, the word lists, the `.csv` and the
    `.jsonl` that the task names; or the `.jsonl` alone, for a task that is nothing else.

    Raises:
        UnknownName: no such task.
        SpecError: a file cannot be read, or is outside of the folder of the task.
    """
    path = Path(name_or_path)
    if path.suffix == ".jsonl":
        return {path.name: _bytes(path)}
    path = task_file(name_or_path, project)
    folder = path.parent
    found = {"task.yaml": _bytes(path)}
    if (folder / REFERENCE).is_file():
        found[REFERENCE] = _bytes(folder / REFERENCE)
    for field, name in _referenced_files(read_yaml(path)["generator"], folder):
        read = path_inside(folder, name, f"generator.{field}")
        found[_normalized(folder, name, f"generator.{field}")] = _bytes(read)
    return found


def _referenced_files(generator: dict[str, Any], folder: Path) -> Iterator[tuple[str, str]]:
    """Yield field and name of every file that a valid generator refers to."""
    kind = GENERATORS[generator["kind"]]
    if kind is PairsGenerator and isinstance(generator.get("file"), str):
        yield "file", generator["file"]
    if kind is TableGenerator and isinstance(generator["rows"], str):
        yield "rows", generator["rows"]
    if issubclass(kind, WordsGenerator):
        words = generator.get("words", {})
        for name, value in words.items():
            if isinstance(value, str):
                yield f"words.{name}", value
        for name in kind.word_list_names(generator):
            # the rule of `WordsGenerator`: a list that is not named is a file of its name
            if name not in words and (folder / f"{name}.txt").is_file():
                yield "words", f"{name}.txt"


def _normalized(folder: Path, name: str, field: str) -> str:
    """Return the normalized `name`: `./a.txt` and `../ioi/a.txt` are both `a.txt`.

    Raises SpecError for a path that leads back into the folder only through a link.
    """
    direct = os.path.relpath(os.path.normpath(folder / name), os.path.normpath(folder))
    if Path(direct).parts[0] == os.pardir:
        raise SpecError(
            f"'{name}' leads out of the folder",
            where=display_path(folder),
            field=field,
            allowed="the name of a file beside this one",
        )
    return direct


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SpecError(
            f"cannot be read: {error.strerror or error}", where=display_path(path)
        ) from error
