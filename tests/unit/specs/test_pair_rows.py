"""Tasks of prompt pairs in memory, against the file of the same pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from acdc_pipeline import PromptPair, Task, load_task
from acdc_pipeline.errors import SpecError

IDS: list[dict[str, Any]] = [
    {"clean": [1, 2, 3, 2], "corrupted": [1, 4, 3, 2], "correct": [5], "incorrect": [6, 7]},
    {"clean": [1, 2, 3, 9], "corrupted": [1, 4, 3, 9], "correct": [8, 5], "incorrect": []},
]
TEXTS: list[dict[str, Any]] = [
    {"clean": "Mary and John", "corrupted": "Mary and Ann", "correct": "a", "incorrect": "b"},
    {"clean": "Tom and Sue", "corrupted": "Tom and Al", "correct": "c", "incorrect": "d"},
]


def of_file(pairs: list[dict[str, Any]], folder: Path) -> Task:
    path = folder / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    return load_task(str(path))


class Polars:
    """The part of a polars DataFrame that is used."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.columns = list(rows[0])

    def to_dicts(self) -> list[dict[str, Any]]:
        return self.rows


FORMS: Mapping[str, Any] = {
    "dicts": lambda rows: rows,
    "tuples": lambda rows: [tuple(row.values()) for row in rows],
    "lists": lambda rows: [list(row.values()) for row in rows],
    "pairs": lambda rows: [PromptPair(**row) for row in rows],
    "generator": lambda rows: (row for row in rows),
    "pandas": pd.DataFrame,
    "polars": Polars,
    "pyarrow": pa.Table.from_pylist,
    "dataset": datasets.Dataset.from_list,
    "dataset of tensors": lambda rows: datasets.Dataset.from_list(rows).with_format("torch"),
    "arrays": lambda rows: [
        {key: np.array(value) if value else None for key, value in row.items()} for row in rows
    ],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pairs", [IDS, TEXTS], ids=["ids", "texts"])
def test_pairs_in_every_form_are_the_task_of_the_file(
    pairs: list[dict[str, Any]], form: str, tmp_path: Path
):
    task, expected = Task.from_pairs(FORMS[form](pairs)), of_file(pairs, tmp_path)
    assert task.definition_hash() == expected.definition_hash()
    assert task.generator.pairs == expected.generator.pairs  # pyright: ignore
    assert task.metrics == expected.metrics
    assert task.prompts_for(64) == 2


def test_name_is_given_or_made_from_the_pairs():
    assert Task.from_pairs(TEXTS, name="mine").name == "mine"
    derived = Task.from_pairs(TEXTS)
    assert derived.name == f"pairs-{derived.name.removeprefix('pairs-')}"
    assert Task.from_pairs(list(TEXTS)).name == derived.name
    assert Task.from_pairs(IDS).name != derived.name


def test_roles_are_kept_and_do_not_change_the_identity(tmp_path: Path):
    pairs = [row | {"roles": {"S": "John"}} for row in TEXTS]
    task, bare = Task.from_pairs(pairs), Task.from_pairs(TEXTS)
    assert task.generator == Task.from_pairs(datasets.Dataset.from_list(pairs)).generator
    assert task.generator.pairs == of_file(pairs, tmp_path).generator.pairs  # pyright: ignore
    assert task.definition_hash() == bare.definition_hash()


def test_columns_choose_what_is_read_from_a_table():
    table = pd.DataFrame(TEXTS).rename(columns={"clean": "prompt"}).assign(note="x")
    columns = {"clean": "prompt", "corrupted": "corrupted", "correct": "correct"}
    without = [{key: row[key] for key in ("clean", "corrupted", "correct")} for row in TEXTS]
    assert Task.from_pairs(table, columns=columns).generator == Task.from_pairs(without).generator


def test_equal_columns_of_a_table_are_not_one_column():
    rows = [{"clean": "a", "corrupted": "a", "correct": "b"}]
    assert Task.from_pairs(pa.Table.from_pylist(rows)).generator == Task.from_pairs(rows).generator


def test_missing_cells_are_left_out_and_ids_beside_them_stay_ids():
    rows = [("a", "b", 5, 6), ("c", "d", 7, None)]
    table = pd.DataFrame(rows, columns=["clean", "corrupted", "correct", "incorrect"])
    assert table["incorrect"].tolist()[0] == 6.0
    task = Task.from_pairs(table)
    assert task.generator == Task.from_pairs([rows[0], rows[1][:3]]).generator


@pytest.mark.parametrize(
    ("pairs", "settings", "says"),
    [
        ("mine.jsonl", {}, "from_pairs: a str does not hold prompt pairs"),
        ({"clean": ["a"]}, {}, "from_pairs: a dict does not hold prompt pairs"),
        (5, {}, "from_pairs: a int does not hold prompt pairs"),
        ([], {}, "from_pairs: holds no prompt pair"),
        ([("a", "b")], {}, "from_pairs: pair 1: has 2 parts"),
        ([("a", "b", "c"), "abc"], {}, "from_pairs: pair 2: a str is not a pair"),
        ([{"clean": "a", "corrupted": "b"}], {}, "from_pairs: pair 1: correct: is missing"),
        ([("a", "b", "c", "c")], {}, "pair 1: incorrect: 'c' is a correct answer too"),
        ([("", "b", "c")], {}, "pair 1: clean: '' is not at least 1 long"),
        ([("a", "b", 1.5)], {}, "pair 1: correct: 1.5 is not"),
        ([TEXTS[0] | {"span": {"S": [1]}}], {}, "pair 1: span: unknown key"),
        (pd.DataFrame(TEXTS).assign(note="x"), {}, "pair 1: note: unknown key"),
        (
            TEXTS,
            {"columns": {"clen": "clean"}},
            "columns: unknown field 'clen'",
        ),
        (TEXTS, {"columns": {"clean": "promt"}}, "pair 1: columns: unknown column 'promt'"),
        (pd.DataFrame([["a", "b"]], columns=["clean"] * 2), {}, "column 'clean' is there twice"),
        (
            pa.Table.from_arrays([pa.array(["a"])] * 2, names=["clean"] * 2),
            {},
            "column 'clean' is there twice",
        ),
        (TEXTS, {"name": "My Task"}, "from_pairs: name: 'My Task' does not fit"),
        (TEXTS, {"metric": "kll"}, "metrics.discovery: unknown metric 'kll'"),
    ],
)
def test_pairs_that_cannot_be_read_are_refused(pairs: Any, settings: dict[str, Any], says: str):
    with pytest.raises(SpecError) as caught:
        Task.from_pairs(pairs, **settings)
    assert says in caught.value.headline
