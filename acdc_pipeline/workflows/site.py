"""Build the wiki of a store with the defaults of the project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs import find_project
from acdc_pipeline.store import Store
from acdc_pipeline.wiki.build import Built, build
from acdc_pipeline.wiki.notes import notes_folder


def default_site_folder() -> Path:
    """Return `results/wiki` of the project folder, or `acdc-wiki` where there is no project."""
    project = find_project()
    return Path("acdc-wiki") if project is None else project / "results" / "wiki"


def build_site(
    store: Store,
    out: Path | None = None,
    *,
    notes: Path | None = None,
    jobs: int | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Built:
    """Build the wiki of `store`; only files that differ are written.

    Raises:
        InvalidInput: there is no such store or notes folder, `jobs` is below 1, or `out` holds
            other files.
        StoreError: the store cannot be read.
        ExecutionFailed: a process was killed, or another build writes to `out`.
    """
    if notes is not None and not notes.is_dir():
        raise InvalidInput("is not a folder", where=str(notes), field="notes")
    if not store.exists:
        raise InvalidInput(
            "the store does not exist",
            where=store.url,
            field="store",
            fix="name the store that holds the runs, or create some: acdc discover",
        )
    out = default_site_folder() if out is None else out
    return build(store, out, notes=notes or notes_folder(), jobs=jobs, progress=progress)
