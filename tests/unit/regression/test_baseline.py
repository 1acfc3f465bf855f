"""Baseline files: the same bytes each time, and of no use where they are not what is asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from acdc_pipeline.errors import BaselineError, ExecutionFailed, SpecError
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.regression.baseline import (
    Baseline,
    baseline_path,
    encode,
    find_unused,
    graph_shape,
    read_baseline,
    write_baseline,
)
from acdc_pipeline.regression.cell import CellSpec, check_distinct
from tests.regressions import baseline, finding


def rewritten(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_baseline_file_is_named_after_its_cell(tmp_path: Path):
    assert write_baseline(tmp_path, baseline()).name == "ioi.zoo-attn-2l.acdc-0.01.json"


def test_baseline_written_twice_has_the_same_bytes_and_comes_back_equal(tmp_path: Path):
    made = baseline()
    first = write_baseline(tmp_path / "new", made).read_bytes()
    assert read_baseline(tmp_path / "new", made.cell) == made
    assert write_baseline(tmp_path / "new", made).read_bytes() == first == encode(made)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [
        baseline_path(tmp_path, made.cell).name
    ]


def test_baseline_gives_back_what_was_found():
    assert baseline().finding() == finding()


def test_baseline_of_a_graph_of_different_layers_comes_back_equal(tmp_path: Path):
    topology = Topology.of_layers(["rm", "am"], 2)
    made = baseline().model_copy(update={"graph": graph_shape(topology), "edges": {"input->r0": 1}})
    write_baseline(tmp_path, made)
    back = read_baseline(tmp_path, made.cell)
    assert back is not None
    assert back.finding().circuit == Circuit.of(
        topology, ["input->r0"], {Edge.parse("input->r0"): 1.0}
    )


def test_baseline_of_a_uniform_graph_has_the_keys_it_always_had():
    assert baseline().plain()["graph"].keys() == {"n_layers", "n_heads", "has_mlp", "parallel"}


def test_baseline_that_is_not_there_is_none(tmp_path: Path):
    assert read_baseline(tmp_path, baseline().cell) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"surprise": 1}, "surprise"),
        ({"edges": {"a9.h9->logits": None}}, "a9.h9->logits"),
        ({"reason": None}, "reason"),
        (
            {"graph": {"n_layers": 2, "n_heads": 0, "has_mlp": True, "parallel": False}},
            "is empty",
        ),
    ],
)
def test_baseline_that_is_damaged_is_a_baseline_error(
    tmp_path: Path, changes: dict[str, object], said: str
):
    made = baseline()
    rewritten(write_baseline(tmp_path, made), **changes)
    with pytest.raises(BaselineError, match=said):
        read_baseline(tmp_path, made.cell)


@pytest.mark.parametrize(
    "limits",
    [{}, {"edges": 0.1, "heads": 0.1}, {"edges": -0.1, "heads": 0.1, "size": 1.0}],
)
def test_baseline_without_limits_to_hold_a_circuit_against_is_a_baseline_error(
    tmp_path: Path, limits: dict[str, float]
):
    """It would find every circuit to be as expected."""
    made = baseline()
    rewritten(write_baseline(tmp_path, made), tolerance=made.tolerance.plain() | {"limits": limits})
    with pytest.raises(BaselineError, match="limits"):
        read_baseline(tmp_path, made.cell)


def test_baseline_that_is_a_pipe_is_a_baseline_error(tmp_path: Path):
    made = baseline()
    os.mkfifo(baseline_path(tmp_path, made.cell))
    with pytest.raises(BaselineError, match="is not a file"):
        read_baseline(tmp_path, made.cell)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_baseline_that_is_no_json_is_a_baseline_error(tmp_path: Path, text: str):
    made = baseline()
    write_baseline(tmp_path, made).write_text(text)
    with pytest.raises(BaselineError, match="cannot be read"):
        read_baseline(tmp_path, made.cell)


def test_baseline_of_other_prompts_names_the_difference(tmp_path: Path):
    made = baseline()
    write_baseline(tmp_path, made)
    asked = made.cell.model_copy(update={"prompts": 32})
    with pytest.raises(BaselineError, match="prompts 64 -> 32"):
        read_baseline(tmp_path, asked)


def test_unused_baselines_are_those_that_no_cell_asks_for(tmp_path: Path):
    made = baseline()
    other = made.model_copy(update={"cell": made.cell.model_copy(update={"task": "docstring"})})
    for one in (made, other):
        write_baseline(tmp_path, one)
    assert find_unused(tmp_path, [made.cell]) == ("docstring.zoo-attn-2l.acdc-0.01.json",)


def test_cells_that_would_share_a_file_are_refused_with_what_tells_them_apart():
    cell = baseline().cell
    zero = cell.model_copy(update={"method": cell.method.model_copy(update={"ablation": "zero"})})
    with pytest.raises(SpecError, match="ablation corrupted -> zero"):
        check_distinct([cell, zero], "regress")


def test_cell_with_positions_has_a_baseline_beside_that_without():
    cell = baseline().cell
    spread = cell.model_copy(update={"positions": "spans"})
    check_distinct([cell, spread], "regress")
    assert spread.stem == f"{cell.stem}.positions-spans"
    assert "positions" not in cell.plain()
    assert spread.plain()["positions"] == "spans"


def test_cell_of_a_long_path_has_a_short_name_of_its_own():
    names = [
        baseline().cell.model_copy(update={"model": f"dir:{'a' * 300}{end}"}).stem for end in "bc"
    ]
    assert len(set(names)) == 2
    assert max(map(len, names)) < 120


def test_baseline_file_keeps_every_field_of_its_cell(tmp_path: Path):
    written = json.loads(write_baseline(tmp_path, baseline()).read_text())
    assert set(written) == set(Baseline.model_fields) - {"consensus"}
    assert set(written["cell"]) == set(CellSpec.model_fields) - {"positions"}


def test_baseline_that_cannot_be_written_leaves_the_old_one_and_nothing_beside(tmp_path: Path):
    path = baseline_path(tmp_path, baseline().cell)
    path.mkdir()
    with pytest.raises(ExecutionFailed, match="cannot be written"):
        write_baseline(tmp_path, baseline())
    assert list(tmp_path.iterdir()) == [path]
