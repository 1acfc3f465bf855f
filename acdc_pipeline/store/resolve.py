"""From the first digits of a run id to the run, and what is known of a run that is not there."""

from __future__ import annotations

from acdc_pipeline.errors import UnknownName
from acdc_pipeline.store import layout
from acdc_pipeline.store.backends.base import Backend
from acdc_pipeline.store.reader import unfinished_runs

_LIST_COMMAND = "'acdc runs list' shows the runs of a store"


def resolve(backend: Backend, prefix: str) -> str:
    """Return the id of the one committed run whose id begins with `prefix`, in any case.

    Raises:
        UnknownName: no run or several runs begin with it.
        StoreError: the bucket does not exist.
    """
    prefix = prefix.strip().lower()
    if not prefix:
        raise UnknownName("the run id is empty", where=backend.url, fix=_LIST_COMMAND)
    backend.refresh()
    matches = backend.committed_ids(prefix)
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UnknownName(
            f"'{prefix}' begins {len(matches)} runs",
            where=backend.url,
            allowed=", ".join(matches[:8]) + (", …" if len(matches) > 8 else ""),
            fix="give more digits",
        )
    backend.check_bucket()
    raise unknown_run(backend, prefix)


def unknown_run(backend: Backend, run_id: str) -> UnknownName:
    """Return the error for a run that is not in the store, which says whether it was tried."""
    unfinished = unfinished_runs(backend, run_id)
    failed = [name for name in failed_ids(backend) if name.startswith(run_id)]
    if unfinished:
        return UnknownName(
            f"run '{unfinished[0]}' has no commit marker: it was never finished",
            where=backend.url,
            fix="run it again",
        )
    if failed:
        return UnknownName(
            f"run '{failed[0]}' failed",
            where=backend.url,
            fix="'acdc runs list --failed' shows the causes",
        )
    return UnknownName(f"unknown run '{run_id}'", where=backend.url, fix=_LIST_COMMAND)


def failed_ids(backend: Backend) -> list[str]:
    """Return the runs that have a cause of failure, sorted, committed since or not."""
    backend.refresh()
    return sorted(filter(layout.is_run_id, backend.names(layout.FAILED)))
