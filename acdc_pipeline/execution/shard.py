"""A part of a sweep, for machines that share nothing but the store."""

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
    """`"3/8"` as the third of eight shards.

    Raises:
        InvalidInput: it has another form, or there is no such shard.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(
            f"'{text}' is not a shard", field="--shard", allowed="I/N, as in 1/8 for the first of 8"
        )
    shard = Shard(int(match[1]), int(match[2]))
    if not 1 <= shard.index <= shard.count:
        last = max(1, shard.count)
        raise InvalidInput(
            f"there is no shard {shard}", field="--shard", allowed=f"1/{last} to {last}/{last}"
        )
    return shard


def shard_of(cells: Sequence[Cell], shard: Shard) -> tuple[Cell, ...]:
    """The cells of one shard, in the sweep's order.

    A group is what stands in the sweep for one task in one model; its runs share the loaded model
    and the prepared prompts. Of G groups and N shards, the first N * floor(G / N) groups are dealt
    whole, one after the other: group g goes to shard g mod N. The fewer than N groups that are left
    are cut: their runs, in order, are split into N slices whose sizes differ by one at most.

    So every cell is in exactly one shard; and as the groups of a sweep are equal in size, so are
    the shards, to one run. Which cell is where depends on the sweep alone, and not on what the
    store holds or which models a machine can read.
    """
    groups = [list(group) for _, group in groupby(cells, key=lambda c: (c.model, c.task.name))]
    whole = len(groups) - len(groups) % shard.count
    dealt = [cell for group in groups[shard.index - 1 : whole : shard.count] for cell in group]
    rest = [cell for group in groups[whole:] for cell in group]
    start, end = (len(rest) * place // shard.count for place in (shard.index - 1, shard.index))
    return (*dealt, *rest[start:end])
