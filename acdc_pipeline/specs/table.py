"""Prompts from the rows of a table, such as a country and its capital."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs.base import Spec, as_tuple, rejection, unknown_reference
from acdc_pipeline.specs.files import display_path, path_inside, read_table
from acdc_pipeline.specs.names import Bos
from acdc_pipeline.specs.template import placeholders_of
from acdc_pipeline.specs.words import check_word

Row = Mapping[str, str]
"""The words of one row by column."""

ROW = "row"
"""The name of the whole row in `corrupted`."""

FRESH = "fresh_"
"""The prefix of a column name that selects the word of the counterfactual's row."""


Rows = Annotated[
    tuple[Row, ...], BeforeValidator(as_tuple, json_schema_input_type=tuple[Row, ...] | str)
]


class TableGenerator(Spec):
    """Sentences with `{column}` placeholders, each filled from one row of a table.

    Args:
        bos: whether a beginning-of-sequence token comes first.
        templates: the sentences, used in equal shares.
        rows: the table: inline, or the name of a `.csv` beside the file. Every row has a word in
            every column, written without the space that separates it from the text before.
        split: the column by whose words rows are held out: rows with the same word there are held
            out together.
        group: the column in which a fresh row has to agree with the row it replaces; None if any
            row may replace it.
        corrupted: the change that makes the counterfactual. `{row: fresh}` takes all words from
            another row with other correct answers; `{noun: plural}` writes the word of column
            `plural` in place of that of `noun`, and keeps the rest.

    Answers may use every column. With a fresh row, incorrect answers may also use
    `{fresh_column}`, the word of `column` in that row.
    """

    kind: Literal["table"]
    bos: Bos
    templates: tuple[str, ...] = Field(min_length=1)
    rows: Rows = Field(min_length=1, description="rows of words, or the name of a .csv beside")
    split: str = Field(description="the column whose words decide which rows are held out")
    group: str | None = None
    corrupted: Mapping[str, str] = Field(
        min_length=1, description="row: fresh, or columns as in noun: plural"
    )

    @classmethod
    def read_files(cls, data: Any, folder: Path) -> Any:
        name = data.get("rows")
        if not isinstance(name, str):
            return data
        path = path_inside(folder, name, "generator.rows")
        if not path.is_file():
            raise SpecError(
                f"no such file '{name}'",
                where=display_path(folder),
                field="generator.rows",
                allowed="a list of rows, or the name of a .csv beside this file",
            )
        return {**data, "rows": read_table(path)}

    @property
    def columns(self) -> tuple[str, ...]:
        """The names that a template may use."""
        return tuple(self.rows[0])

    @property
    def draws_fresh_row(self) -> bool:
        """Whether the counterfactual is another row."""
        return ROW in self.corrupted

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names that an incorrect answer may use: columns, then those of the fresh row."""
        fresh = (FRESH + name for name in self.columns) if self.draws_fresh_row else ()
        return (*self.columns, *fresh)

    @model_validator(mode="after")
    def _coherent(self) -> TableGenerator:
        self._check_rows()
        if self.split not in self.columns:
            raise unknown_reference("split", "column", self.split, self.columns)
        if self.group is not None and self.group not in self.columns:
            raise unknown_reference("group", "column", self.group, self.columns)
        self._check_corrupted()
        for index, template in enumerate(self.templates):
            field = f"templates.{index}"
            names = placeholders_of(template, field)
            for name in names:
                if name not in self.columns:
                    raise unknown_reference(field, "column", name, self.columns)
            changing = self.columns if self.draws_fresh_row else tuple(self.corrupted)
            if not set(names) & set(changing):
                raise rejection(
                    field,
                    "nothing in it differs in the counterfactual",
                    allowed=f"a template with {' or '.join(f'{{{name}}}' for name in changing)}",
                )
        return self

    def _check_rows(self) -> None:
        for name in self.columns:
            if not name.isidentifier() or name == ROW or name.startswith(FRESH):
                raise rejection(
                    "rows",
                    f"'{name}' cannot be the name of a column",
                    allowed=f"letters, digits and _, but not {ROW} or {FRESH}…",
                )
        seen = set()
        for index, row in enumerate(self.rows):
            for name, word in row.items():
                if name not in self.columns:
                    raise unknown_reference(f"rows.{index}", "column", name, self.columns)
                check_word(f"rows.{index}.{name}", word)
            if missing := [name for name in self.columns if name not in row]:
                raise rejection(f"rows.{index}.{missing[0]}", "is missing", fix="write a word")
            words = tuple(row[name] for name in self.columns)
            if words in seen:
                raise rejection(f"rows.{index}", f"'{', '.join(words)}' is there twice")
            seen.add(words)

    def _check_corrupted(self) -> None:
        if self.draws_fresh_row:
            if self.corrupted != {ROW: "fresh"}:
                raise rejection(
                    "corrupted", "cannot be read", allowed=f"{{{ROW}: fresh}} alone, or columns"
                )
            return
        if self.group is not None:
            raise rejection("group", f"is of no use without {ROW}: fresh", fix="remove it")
        for name, other in self.corrupted.items():
            if name not in self.columns:
                raise unknown_reference(f"corrupted.{name}", "column", name, (ROW, *self.columns))
            if other not in self.columns:
                raise unknown_reference(f"corrupted.{name}", "column", other, self.columns)
        for index, row in enumerate(self.rows):
            if all(row[name] == row[other] for name, other in self.corrupted.items()):
                raise rejection(
                    f"rows.{index}",
                    "nothing differs in the counterfactual: "
                    + ", ".join(f"{n} and {o} are '{row[n]}'" for n, o in self.corrupted.items()),
                    fix="remove the row",
                )
