"""Layered layout of a graph whose edges all point up (Sugiyama, Tagawa and Toda 1981).

An edge that passes rows gets a bend in each of them. Rows are ordered by barycentres in alternating
sweeps, and the order with the fewest crossings is kept. Given the order, the x coordinates of a row
closest to its neighbours are a weighted isotonic regression, solved exactly by pooling adjacent
violators.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from acdc_pipeline.graph.node import Node

_ORDER_SWEEPS = 14
_POSITION_SWEEPS = 40

# How strongly an edge pulls its ends together, by how many of them are bends: long edges should be
# straight, even if nodes have to move.
_PULL = (1.0, 2.0, 8.0)


@dataclass(frozen=True, slots=True)
class LayoutEdge:
    """An edge from `src` up to `dst`, which it enters `port` to the right of the centre."""

    src: Node
    dst: Node
    port: float = 0.0


@dataclass(frozen=True)
class Layout:
    """Centres of nodes, and of each edge its x in the rows between its ends, upwards."""

    x: dict[Node, float]
    bends: list[list[float]]


@dataclass(slots=True)
class _Item:
    """A node, or the bend of an edge in a row that it passes."""

    half_width: float
    is_bend: bool
    x: float = 0.0
    place: int = 0
    down: list[tuple[_Item, float]] = field(default_factory=list)
    up: list[tuple[_Item, float]] = field(default_factory=list)
    pulls: list[tuple[_Item, float, float]] = field(default_factory=list)
    """Neighbour, offset at which the edge ends there, and strength."""
    weight: float = 0.0
    """Sum of the strengths."""


def layered_layout(
    rows: Sequence[Sequence[Node]],
    edges: Sequence[LayoutEdge],
    *,
    widths: Mapping[Node, float],
    gap: float,
    bend_gap: float,
) -> Layout:
    """Place the nodes of `rows` so that edges rarely cross and are nearly straight.

    Args:
        rows: nodes of each row, bottom to top; the search starts from their order.
        edges: each from a row to a higher one.
        gap: free space between neighbouring nodes.
        bend_gap: distance between neighbouring edges that pass a row.
    """
    items = {node: _Item(widths[node] / 2 + gap / 2, False) for row in rows for node in row}
    grid = [[items[node] for node in row] for row in rows]
    row_of = {node: index for index, row in enumerate(rows) for node in row}
    chains: list[list[_Item]] = []
    for edge in edges:
        chain = [items[edge.src]]
        for index in range(row_of[edge.src] + 1, row_of[edge.dst]):
            bend = _Item(bend_gap / 2, True)
            grid[index].append(bend)
            chain.append(bend)
        chain.append(items[edge.dst])
        for step, (below, above) in enumerate(pairwise(chain)):
            port = edge.port if step == len(chain) - 2 else 0.0
            below.up.append((above, port))
            above.down.append((below, -port))
        chains.append(chain)
    _order(grid)
    _position(grid)
    return Layout(
        {node: item.x for node, item in items.items()},
        [[item.x for item in chain[1:-1]] for chain in chains],
    )


def _order(grid: list[list[_Item]]) -> None:
    """Sort each row so that few edges cross."""
    _assign_places(grid)
    best, fewest = [list(row) for row in grid], _crossings(grid)
    for sweep in range(_ORDER_SWEEPS if fewest else 0):
        upward = sweep % 2 == 0
        for row in grid[1:] if upward else grid[-2::-1]:
            row.sort(key=lambda item: _barycentre(item, upward))
            _assign_places([row])
        crossings = _crossings(grid)
        if crossings < fewest:
            best, fewest = [list(row) for row in grid], crossings
            if not fewest:
                break
    grid[:] = best
    _assign_places(grid)


def _assign_places(grid: list[list[_Item]]) -> None:
    for row in grid:
        for place, item in enumerate(row):
            item.place = place


def _barycentre(item: _Item, upward: bool) -> tuple[float, float]:
    neighbours = item.down if upward else item.up
    if not neighbours:
        return (float(item.place), 0.0)
    if len(neighbours) == 1:  # as of every bend
        other, port = neighbours[0]
        return (float(other.place), port)
    # Ports decide only between edges of the same two nodes.
    middle = sum(other.place for other, _ in neighbours) / len(neighbours)
    return (middle, sum(port for _, port in neighbours) / len(neighbours))


def _crossings(grid: list[list[_Item]]) -> int:
    total = 0
    for row in grid[:-1]:
        ends: list[tuple[int, float]] = []
        for item in row:
            for end in sorted((other.place, port) for other, port in item.up):
                total += len(ends) - bisect_right(ends, end)
                insort(ends, end)
    return total


def _position(grid: list[list[_Item]]) -> None:
    """Set the x of every item, keeping order and distances."""
    for item in (item for row in grid for item in row):
        item.pulls = [
            (other, port, _PULL[item.is_bend + other.is_bend])
            for other, port in (*item.down, *item.up)
        ]
        item.weight = sum(pull for _, _, pull in item.pulls)
    rows: list[tuple[list[_Item], list[float], list[float]]] = []
    for row in grid:
        steps = (a.half_width + b.half_width for a, b in pairwise(row))
        offsets = list(accumulate(steps, initial=0.0))
        _place(row, _pool([0.0] * len(row), [1.0] * len(row), offsets), offsets)
        rows.append((row, [item.weight or 1.0 for item in row], offsets))
    for sweep in range(_POSITION_SWEEPS):
        for row, weights, offsets in rows if sweep % 2 == 0 else rows[::-1]:
            _place(row, _pool(map(_target, row), weights, offsets), offsets)


def _target(item: _Item) -> float:
    """Return the weighted mean of the positions that an item's neighbours pull it to."""
    if not item.weight:
        return item.x
    total = 0.0  # `sum` rounds differently from Python 3.12 on
    for other, port, pull in item.pulls:
        total += pull * (other.x + port)
    return total / item.weight


def _place(row: list[_Item], pools: list[_Pool], offsets: list[float]) -> None:
    at = 0
    for mean, _, count in pools:
        for index in range(at, at + count):
            row[index].x = mean + offsets[index]
        at += count


def separate(
    targets: Sequence[float],
    weights: Sequence[float],
    steps: Sequence[float],
    *,
    low: float = -math.inf,
    high: float = math.inf,
) -> list[float]:
    """Return the points closest to `targets`, in their order and at least `steps` apart.

    Closest by weighted least squares, within `low` to `high`, which must have room for all steps.
    """
    offsets = list(accumulate(steps, initial=0.0))
    highest, values = high - offsets[-1], []
    for mean, _, count in _pool(targets, weights, offsets):
        values += [min(max(mean, low), highest)] * count
    return [value + offset for value, offset in zip(values, offsets, strict=True)]


_Pool = tuple[float, float, int]
"""Mean, weight and number of points."""


def _pool(
    targets: Iterable[float], weights: Sequence[float], offsets: Sequence[float]
) -> list[_Pool]:
    """Pool neighbours whose targets, less their offsets, are out of order."""
    pools: list[_Pool] = []
    for target, weight, offset in zip(targets, weights, offsets, strict=True):
        mean, total, count = target - offset, weight, 1
        while pools and pools[-1][0] > mean:
            other, other_total, other_count = pools.pop()
            mean = (mean * total + other * other_total) / (total + other_total)
            total, count = total + other_total, count + other_count
        pools.append((mean, total, count))
    return pools
