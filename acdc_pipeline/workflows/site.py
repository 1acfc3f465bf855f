"""Build and publish the wiki of a store with the defaults of the project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.files import check_folder_writable, require_empty, write_bytes
from acdc_pipeline.specs import find_project
from acdc_pipeline.store import Store
from acdc_pipeline.wiki.build import Built, build
from acdc_pipeline.wiki.headvis import find_profiled, headvis_files
from acdc_pipeline.wiki.notes import notes_folder
from acdc_pipeline.wiki.output import check_folder
from acdc_pipeline.wiki.publish.content import check_address
from acdc_pipeline.wiki.publish.git import GitTarget
from acdc_pipeline.wiki.publish.hosts import HOSTS
from acdc_pipeline.wiki.publish.publish import Published, publish
from acdc_pipeline.wiki.publish.targets import StorageTarget, Target


def default_site_folder() -> Path:
    """Return `results/wiki` of the project folder, or `acdc-wiki` where there is no project."""
    project = find_project()
    return Path("acdc-wiki") if project is None else project / "results" / "wiki"


def check_site_folder(out: Path | None) -> None:
    """Raise InvalidInput if no wiki can be built in `out`; None for the default folder."""
    folder = default_site_folder() if out is None else out
    check_folder(folder)
    check_folder_writable(folder, field="out")


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


def export_headvis(store: Store, model: str, out: Path) -> int:
    """Write what a store holds of a model's heads as HeadVis reads it; return how many files.

    Args:
        out: new or empty folder, which is the folder `data` of HeadVis.

    Raises:
        InvalidInput: `out` holds files or cannot be written.
        UnknownName: the store has no profile of the model.
        StoreError: the store cannot be read.
    """
    require_empty(out, field="out")
    written = 0
    for path, content in headvis_files(find_profiled(store, model)):
        try:
            (out / path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = f"cannot be written: {error.strerror or error}"
            raise InvalidInput(why, where=str(out), field="out") from error
        write_bytes(out / path, content)
        written += 1
    return written


def publish_site(
    location: str | None,
    out: Path | None = None,
    *,
    git: str | None = None,
    host: str | None = None,
    url: str | None = None,
    keep: int = 0,
    dry_run: bool = False,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Published:
    """Publish a built wiki to a folder or object store, or to a branch of the repository here.

    Args:
        location: folder or URL; None with `git`.
        git: branch; None with `location`.

    Raises:
        InvalidInput: not exactly one of both, an unknown host, or see `publish`.
        StoreError: the target cannot be read or written.
        ExecutionFailed: a build writes to the wiki, or git failed.
    """
    if (location is None) == (git is None):
        raise InvalidInput(
            "no place was named" if git is None else "two places were named",
            where="acdc wiki publish",
            allowed="a folder, s3://BUCKET/PATH, or --git BRANCH",
        )
    if host is not None and host not in HOSTS:
        raise InvalidInput(f"'{host}' is not known", field="host", allowed=", ".join(HOSTS))
    url = None if url is None else check_address(url)
    site = default_site_folder() if out is None else out
    target: Target
    if git is not None:
        target, host = GitTarget(git, Path.cwd()), host or "github"
    else:
        assert location is not None
        if "://" not in location and Path(location).resolve().is_relative_to(site.resolve()):
            raise InvalidInput(
                "is inside of the wiki that is to be published",
                where=location,
                fix="name a folder outside of it",
            )
        target = StorageTarget(location)
        if not dry_run and target.backend.folder is not None:
            check_folder_writable(target.backend.folder)
    return publish(site, target, host=host, url=url, keep=keep, dry_run=dry_run, progress=progress)
