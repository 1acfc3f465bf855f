"""The table of all methods: its figures on a compiled model, and what is kept of them."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.specs import METHODS
from benchmarks import methods_page
from benchmarks.methods_table import MODELS, Cell, Figures, cells, main


def test_table_is_made_of_every_method_asked_for_and_goes_on_where_it_stopped(tmp_path: Path):
    page, kept = tmp_path / "page.md", tmp_path / "kept"
    asked = ["--groups", "compiled", "--models", "compiled-sum", "--prompts", "8", "8", "8"]
    asked += ["--resamples", "2", "--folder", str(kept), "--write", str(page)]
    main([*asked, "--methods", "exact", "random", "--longest", "0"])
    first = {file: file.stat().st_mtime_ns for file in kept.iterdir()}
    found = {d["method"]: d for d in (json.loads(file.read_text()) for file in first)}
    assert set(found) == {"exact", "random"}
    assert found["exact"]["auroc"] == 1.0
    assert found["exact"]["cmd"] < found["random"]["cmd"]
    assert found["exact"]["stability"] is None
    assert found["exact"]["forwards"] > 1 > found["random"]["forwards"]

    main([*asked, "--methods", "exact", "random", "acdc", "--longest", "0"])
    assert {file: file.stat().st_mtime_ns for file in first} == first
    assert len(list(kept.iterdir())) == 3
    header, _, *rows = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert header.split(" | ")[:3] == ["| method", "cells", "first"]
    assert header.index("CMD") < header.index("CPR")
    assert {row.split(" | ")[0] for row in rows} == {"| exact", "| random", "| acdc"}
    assert rows[-1].startswith("| random | 1 | 0 of 2 |")
    _, missing = page.read_text().split(" Not measured: ")
    measured = {"exact", "random", "acdc"}
    assert set(re.findall(r"`([^`]+)`", missing.splitlines()[0])) == set(METHODS) - measured

    main([*asked, "--methods", "exact"])
    added = {d["method"]: d for d in (json.loads(file.read_text()) for file in first)}["exact"]
    assert 0 < added.pop("stability") <= 1
    assert added == {key: value for key, value in found["exact"].items() if key != "stability"}


def test_method_measured_in_few_cells_is_not_said_to_be_missing():
    figures = Figures(None, 0.1, 1.0, 0.1, 1.0, None, 1.0, 1.0, [0.1], [0.1])
    table = {Cell("zoo", "ioi", name): {"exact": figures} for name in MODELS[:3]}
    next(iter(table.values()))["acdc"] = figures
    asked = argparse.Namespace(
        groups=["zoo"],
        models=[],
        tasks=[],
        methods=[],
        prompts=[8, 8, 8],
        resamples=2,
        threads=1,
        longest=3.0,
    )
    text = methods_page.page(table, asked, "a machine", {"zoo": "Parameters."})
    assert "too few cells for the tables: `acdc` (1)." in text
    _, missing = text.split("Parameters. Not measured: ")
    assert "`acdc`" not in missing.splitlines()[0]


def test_cells_are_the_tasks_that_models_claim():
    found = list(cells(["compiled", "zoo", "real"], [], []))
    assert {cell.model for cell in found} == {*compiled.list_compiled(), *MODELS, "SmolLM2-135M"}
    assert {cell.task for cell in cells(["zoo"], [], ["ioi"])} == {"ioi"}
