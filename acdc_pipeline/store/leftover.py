"""One thing in a store that no run needs."""

from __future__ import annotations

from dataclasses import dataclass

from acdc_pipeline.errors import NewerRun
from acdc_pipeline.store.location import Place
from acdc_pipeline.store.read import is_whole

COMMITTED = "the run is committed without it"
ABANDONED = "an attempt that was never committed"
CHECKPOINT = "decisions of a run that was never finished"
UNEVALUATED = "an evaluation of a run that is not in the store"
HALF_WRITTEN = "an evaluation that was never written to its end"
PROBE = "a trial of whether the store can be written"
REPLACED = "a damaged run that was replaced"


@dataclass(frozen=True)
class Leftover:
    """Something that can be removed.

    Args:
        path: inside the store (`tmp/3f2a….9c1e…`).
        why: one of the constants above.
        run_id: the run it belongs to; None where it belongs to none.
        age: seconds since it was last changed.
        size: bytes.
    """

    path: str
    why: str
    run_id: str | None
    age: float
    size: int


def why_unneeded(place: Place, run_id: str, unfinished: str = ABANDONED) -> str | None:
    """Why something of `run_id` that no marker names is not needed; None: not ours to judge.

    Args:
        place: the store.
        run_id: the run.
        unfinished: what to say where the run is not committed.
    """
    try:
        return COMMITTED if is_whole(place, run_id) else unfinished
    except NewerRun:
        return None
