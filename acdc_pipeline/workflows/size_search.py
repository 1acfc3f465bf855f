"""Which sizes are tried on the way to the smallest one that is faithful enough.

Whether a circuit is faithful enough need not depend on its size in one direction only, so nothing
here relies on it: each function states what it guarantees without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs import METHODS, SearchMethod

START = 0.01
"""The threshold at which a search for another one begins: the default of the command line."""

SIZES = ("threshold", "share", "edges")
"""The parameters that `faithful` takes the place of."""

PER_DECADE = 24
"""Thresholds of the grid in a factor of ten: neighbours differ by 10 %."""

AT_ONCE = 16
"""Cuts that are measured together."""

# A factor of ten between thresholds, of 200 between sizes.
_LONGEST_STEP = 24

# Sizes of the grid differ by at least this factor, and by one edge.
_GROWTH = 1.25


def check_target(
    target: object, given: Mapping[str, Any], written: Callable[[str], str] = str
) -> None:
    """Raise InvalidInput unless `target` is a faithfulness, and no size is `given` beside it.

    Args:
        given: parameters of the method; None counts as not given.
        written: how errors write the name of a parameter.
    """
    field = written("faithful")
    if not (isinstance(target, int | float) and 0 < target <= 1):
        kind = "" if isinstance(target, int | float) else f", but a {type(target).__name__}"
        raise InvalidInput(
            f"{target} is not a faithfulness to reach{kind}",
            where="discover",
            field=field,
            allowed="above 0, up to 1: 1 is the whole model, 0 the empty circuit",
        )
    for name in SIZES:
        if given.get(name) is not None:
            raise InvalidInput(
                f"cannot go with {written(name)}, which it looks for",
                where="discover",
                field=field,
                fix="give one of both",
            )


def starting_size(method: str) -> dict[str, float]:
    """Return the size at which `discover_faithful` begins, as a parameter of the method so named.

    Methods that score edges have a default.
    """
    is_search = method in METHODS and issubclass(METHODS[method], SearchMethod)
    return {"threshold": START} if is_search else {}


def grid_threshold(index: int) -> float:
    """Return 10^(index / 24) to three digits: …, 0.00909, 0.01, 0.011, 0.0121, …

    The grid does not depend on task or model, so that runs are found again for other targets.
    """
    return float(f"{10 ** (index / PER_DECADE):.3g}")


def grid_index(threshold: float) -> int:
    """Return the index of the grid's threshold that is nearest to `threshold` from below."""
    index = round(PER_DECADE * math.log10(threshold))
    return index if grid_threshold(index) <= threshold else index - 1


def size_grid(n_edges: int) -> list[int]:
    """Return the numbers of edges 1, 2, 3, 4, 5, 7, 9, 12, …, each at least 5/4 of the one before.

    The last one is `n_edges`.
    """
    sizes = [1]
    while sizes[-1] < n_edges:
        sizes.append(min(n_edges, max(sizes[-1] + 1, math.ceil(_GROWTH * sizes[-1]))))
    return sizes


def bisect_sizes(
    reaches: Callable[[int], bool], start: int, lowest: int, highest: int, step: int = 12
) -> int | None:
    """Return an index that reaches while the next one does not, or which is `highest`.

    Larger indices stand for sparser circuits. From `start` on, steps of growing length go upwards
    while an index reaches, or downwards until one does; then the last step is bisected.

    Returns:
        None if no index tried reaches, `lowest` among them.
    """
    lowest, highest = min(lowest, start), max(highest, start)
    if reaches(start):
        good = bad = start
        while good < highest:
            bad = min(good + step, highest)
            if not reaches(bad):
                break
            good, step = bad, min(2 * step, _LONGEST_STEP)
    else:
        good = bad = start
        while bad > lowest:
            good = max(bad - step, lowest)
            if reaches(good):
                break
            bad, step = good, min(2 * step, _LONGEST_STEP)
        else:
            return None
    while bad - good > 1:
        middle = (good + bad) // 2
        if reaches(middle):
            good = middle
        else:
            bad = middle
    return good


def smallest_size(reaching: Callable[[list[int]], list[bool]], n_edges: int) -> int | None:
    """Return a size that reaches while the size below it does not.

    Sizes of the grid are tried in ascending order until one reaches: no smaller one of the grid
    does. What lies between it and its predecessor is divided into at most 17 parts, of which the
    first whose end reaches is divided in turn, until no size is left in between. Up to 85 edges
    the first division tries every size in between, so that the result is the smallest of them.

    Args:
        reaching: whether each of several sizes, in ascending order, reaches.

    Returns:
        None if no size of the grid reaches.
    """
    grid = size_grid(n_edges)
    low, high = 0, None
    for first in range(0, len(grid), AT_ONCE):
        sizes = grid[first : first + AT_ONCE]
        low, high = _narrow(sizes, reaching(sizes), low, None)
        if high is not None:
            break
    while high is not None and high - low > 1:
        parts = min(high - low, AT_ONCE + 1)
        sizes = [low + part * (high - low) // parts for part in range(1, parts)]
        low, high = _narrow(sizes, reaching(sizes), low, high)
    return high


def _narrow(
    sizes: Sequence[int], reached: Sequence[bool], low: int, high: int | None
) -> tuple[int, int | None]:
    """Return the first of `sizes` that reaches, else `high`, and the one before, else `low`."""
    for size, reaches in zip(sizes, reached, strict=True):
        if reaches:
            return low, size
        low = size
    return low, high
