"""Shards: together exactly the sweep, equal in size, with what belongs together in one."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.shard import WHOLE, Shard, parse_shard, shard_of
from acdc_pipeline.specs import Cell, SweepSpec, parse
from acdc_pipeline.specs.model_ref import ModelRef
from acdc_pipeline.specs.task import TaskSpec
from tests.sweeps import id_task


def cells_of(models: int, tasks: int, thresholds: int, seeds: int = 1) -> tuple[Cell, ...]:
    named: dict[str, TaskSpec] = {f"t{n}": id_task(f"t{n}") for n in range(tasks)}
    sweep = parse(
        {
            "name": "s",
            "tasks": list(named),
            "models": ["zoo:*"],
            "methods": [{"name": "acdc", "thresholds": [1 / (n + 1) for n in range(thresholds)]}],
            "prompts": 4,
            "seeds": list(range(seeds)),
        },
        SweepSpec,
        "s.yaml",
    )
    return sweep.cells(named, [ModelRef("zoo", f"m{n}") for n in range(models)], "float32")


def shards_of(cells: tuple[Cell, ...], count: int) -> list[tuple[Cell, ...]]:
    return [shard_of(cells, Shard(index, count)) for index in range(1, count + 1)]


def group(cell: Cell) -> tuple[str, str]:
    return str(cell.model), cell.task.name


SMALL = st.integers(1, 5)


@given(models=SMALL, tasks=SMALL, thresholds=SMALL, seeds=st.integers(1, 2), count=SMALL)
def test_shards_together_are_exactly_the_sweep_and_equal_in_size(
    models: int, tasks: int, thresholds: int, seeds: int, count: int
):
    cells = cells_of(models, tasks, thresholds, seeds)
    shards = shards_of(cells, count)
    assert Counter(id(cell) for shard in shards for cell in shard) == Counter(map(id, cells))
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 1


@given(models=SMALL, tasks=SMALL, count=SMALL)
def test_shards_cut_fewer_groups_than_there_are_shards(models: int, tasks: int, count: int):
    shards = shards_of(cells_of(models, tasks, 4), count)
    homes = Counter(g for shard in shards for g in {group(cell) for cell in shard})
    assert sum(number > 1 for number in homes.values()) < count


def test_shards_of_as_many_groups_as_shards_are_the_groups():
    shards = shards_of(cells_of(models=2, tasks=2, thresholds=3), 4)
    assert [{group(cell) for cell in shard} for shard in shards] == [
        {("zoo:m0", "t0")},
        {("zoo:m0", "t1")},
        {("zoo:m1", "t0")},
        {("zoo:m1", "t1")},
    ]


def test_shards_of_three_groups_in_two_deal_one_each_and_cut_the_third():
    shards = shards_of(cells_of(models=3, tasks=1, thresholds=4), 2)
    assert [[(c.model.name, c.method.plain()["threshold"]) for c in shard] for shard in shards] == [
        [("m0", 1), ("m0", 1 / 2), ("m0", 1 / 3), ("m0", 1 / 4), ("m2", 1), ("m2", 1 / 2)],
        [("m1", 1), ("m1", 1 / 2), ("m1", 1 / 3), ("m1", 1 / 4), ("m2", 1 / 3), ("m2", 1 / 4)],
    ]


def test_shards_beyond_the_runs_are_empty():
    sizes = [len(shard) for shard in shards_of(cells_of(models=1, tasks=1, thresholds=2), 5)]
    assert sorted(sizes) == [0, 0, 0, 1, 1]


def test_shard_one_of_one_is_the_sweep_in_its_order():
    cells = cells_of(models=2, tasks=3, thresholds=2)
    assert shard_of(cells, WHOLE) == cells


@pytest.mark.parametrize(("text", "shard"), [("1/1", WHOLE), (" 3/8 ", Shard(3, 8))])
def test_shard_is_read(text: str, shard: Shard):
    assert parse_shard(text) == shard
    assert parse_shard(str(shard)) == shard


@pytest.mark.parametrize(
    ("text", "problem", "allowed"),
    [
        ("", "'' is not a shard", "I/N"),
        ("3", "'3' is not a shard", "I/N"),
        ("1/2/3", "'1/2/3' is not a shard", "I/N"),
        ("one/2", "'one/2' is not a shard", "I/N"),
        ("-1/2", "'-1/2' is not a shard", "I/N"),
        ("1.0/2", "'1.0/2' is not a shard", "I/N"),
        ("٣/8", "'٣/8' is not a shard", "I/N"),
        ("0/4", "there is no shard 0/4", "1/4 to 4/4"),
        ("5/4", "there is no shard 5/4", "1/4 to 4/4"),
        ("1/0", "there is no shard 1/0", "1/1 to 1/1"),
    ],
)
def test_shard_that_cannot_be_is_refused(text: str, problem: str, allowed: str):
    with pytest.raises(InvalidInput) as raised:
        parse_shard(text)
    assert raised.value.field == "shard"
    assert raised.value.problem == problem
    assert allowed in (raised.value.allowed or "")
