"""What writers that died, lost or gave up left in a store: no run needs it.

Counted is only what has a name that this package gives, that no living process of this machine
holds, and that either no reader will ever need (an attempt at a run that is committed without it)
or that is too old to be still at work.
"""

from __future__ import annotations

from acdc_pipeline.store.leftover import COMMITTED, Leftover
from acdc_pipeline.store.leftovers_local import leftovers_in_folder, remove_from_folder
from acdc_pipeline.store.leftovers_object import leftovers_in_bucket, remove_from_bucket
from acdc_pipeline.store.location import Place


def leftovers(place: Place, *, older_than: float, now: float) -> list[Leftover]:
    """What can be removed from `place`, in the order of paths. Changes nothing.

    Args:
        place: the store.
        older_than: seconds without a change from which on an attempt at a run that is not
            committed counts as abandoned, and a replaced run is no longer kept.
        now: seconds since the epoch.

    Raises:
        StoreError: the store does not say when its objects were written.
    """
    if place.folder is not None:
        found = leftovers_in_folder(place, place.folder, now)
    else:
        found = leftovers_in_bucket(place, now)
    due = (item for item in found if item.why == COMMITTED or item.age >= older_than)
    return sorted(due, key=lambda item: item.path)


def remove(place: Place, leftover: Leftover) -> None:
    """Removes one of `leftovers`; what is gone already is no error. Raises OSError."""
    if place.folder is not None:
        remove_from_folder(place.folder, leftover)
    else:
        remove_from_bucket(place, leftover)
