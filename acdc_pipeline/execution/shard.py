"""Shards of a sweep, for machines that share only the store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs import Cell

_FORM = re.compile(r"([0-9]{1,9})/([0-9]{1,9})", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, counted from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


WHOLE = Shard(1, 1)


def parse_shard(text: str) -> Shard:
    """Parse a shard: `"3/8"` is the third of eight. Raises InvalidInput: invalid form or number."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(
            f"'{text}' is not a shard", field="shard", allowed="I/N, as in 1/8 for the first of 8"
        )
    shard = Shard(int(match[1]), int(match[2]))
    if not 1 <= shard.index <= shard.count:
        last = max(1, shard.count)
        raise InvalidInput(
            f"there is no shard {shard}", field="shard", allowed=f"1/{last} to {last}/{last}"
        )
    return shard


def shard_of(cells: Sequence[Cell], shard: Shard) -> tuple[Cell, ...]:
    """Return the cells of one shard, in the order of the sweep.

    A group contains the cells of one task in one model, whose runs share the loaded model and the
    prompts. Of G groups and N shards, the first N * floor(G / N) groups are assigned as a whole:
    group g to shard g mod N. The cells of the remaining groups are split, in order, into N slices
    whose sizes differ by at most one.

    Every cell is in exactly one shard, and the sizes of shards differ by at most one run, since all
    groups of a sweep have the same size. The assignment depends on the sweep alone, not on the
    store or on the models that a machine can read.
    """
    groups = [list(group) for _, group in groupby(cells, key=lambda c: (c.model, c.task.name))]
    whole = len(groups) - len(groups) % shard.count
    dealt = [cell for group in groups[shard.index - 1 : whole : shard.count] for cell in group]
    rest = [cell for group in groups[whole:] for cell in group]
    start, end = (len(rest) * i // shard.count for i in (shard.index - 1, shard.index))
    return (*dealt, *rest[start:end])
