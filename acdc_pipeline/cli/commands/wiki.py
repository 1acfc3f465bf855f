"""`acdc wiki`: build and serve static pages of the results."""

from __future__ import annotations

import shlex
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acdc_pipeline.cli.app import App
from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.options.parsers import integer
from acdc_pipeline.cli.terminal.output import print_facts, print_json, print_line, print_note
from acdc_pipeline.cli.terminal.progress import show_stages
from acdc_pipeline.cli.terminal.text import relative_path
from acdc_pipeline.cli.views.published import published_document, published_facts
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    from acdc_pipeline.store import Store
    from acdc_pipeline.wiki.build import Built

app = App(help="Static pages of the results, one for every attention head of every model.")

Folder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder of the pages. Default: results/wiki of the project folder, else ./acdc-wiki.",
    ),
]

_MAX_NOTES = 5


@app.command("build")
def build_wiki(
    context: typer.Context,
    out: Folder = None,
    notes: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Hand-written notes, as in DIR/zoo-gpt2-4l-s0/a1.h3.md. Default: results/notes of "
            "the project folder.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            **integer("--jobs", 1, 512), help="Number of processes. Default: one per core."
        ),
    ] = None,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Build the wiki of a store: static pages that open from disk or from any web server.

    A second build writes only what differs; the same runs always give the same bytes.

    Example: acdc wiki build --out public
    """
    from acdc_pipeline.workflows.site import build_site

    with show_stages() as progress, shared.naming_options("out", "notes", "store"):
        results = shared.open_store(context)
        built = build_site(results, out, notes=notes, jobs=jobs, progress=progress)
    _print_notes(built)
    if json:
        print_json(_document(built))
        return
    print_facts(_facts(built))
    print_line(f"\nOpen {relative_path(str(built.out / 'index.html'))} in a browser,")
    folder = "" if out is None else f" --out {shlex.quote(str(out))}"
    print_line(f"or serve it on this machine: acdc wiki serve{folder}")


def build_from_store(store: Store, out: Path | None) -> Path | None:
    """Build a wiki with the project's notes and return its first page; None without runs."""
    if not store.run_ids():
        return None
    from acdc_pipeline.workflows.site import build_site

    with show_stages() as progress, shared.naming_options("out", "notes", "store"):
        built = build_site(store, out, progress=progress)
    _print_notes(built)
    return built.out / "index.html"


@app.command("serve")
def serve_wiki(
    out: Folder = None,
    port: Annotated[
        int,
        typer.Option(**integer("--port", 0, 65535), help="Port on 127.0.0.1; 0 for any free one."),
    ] = 8000,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Show the first page in the browser.")
    ] = False,
) -> None:
    """Serve a built wiki, to this machine only, until Ctrl-C.

    Example: acdc wiki serve --port 8080
    """
    from acdc_pipeline.wiki.serve import site_server
    from acdc_pipeline.workflows.site import default_site_folder

    folder = out or default_site_folder()
    with site_server(folder, port) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        print_note(f"serving {relative_path(str(folder))} at {address} (Ctrl-C to stop)")
        if open_browser:
            webbrowser.open(address)
        server.serve_forever()


@app.command("headvis")
def write_headvis(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As the wiki names it.")],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="New or empty folder: the `data` of HeadVis."),
    ],
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """Write a model's heads in the files that HeadVis reads: scores, and stored sequences.

    Sequences are those that acdc heads stored, on prompts and with --text on ordinary text.

    Example: acdc wiki headvis zoo:gpt2-4l-s0 --out headvis/data
    """
    from acdc_pipeline.workflows.site import export_headvis

    with shared.naming_options("out", "store"):
        files = export_headvis(shared.open_store(context), model, out)
    if json:
        print_json({"out": str(out), "model": model, "files": files})
        return
    print_line(f"{pluralize(files, 'file')} in {relative_path(str(out))}")


@app.command("publish")
def publish_wiki(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="A new or empty folder, or s3://BUCKET/PATH; or what was published to before.",
        ),
    ] = None,
    out: Folder = None,
    git: Annotated[
        str | None,
        typer.Option(
            metavar="BRANCH",
            help="Commit to a branch of the repository of the current folder instead, without "
            "touching the working tree; it is not pushed.",
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Publish only within the limits of github (the default with --git), cloudflare or "
            "netlify.",
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the site will be: feeds get absolute links, and it gets a sitemap.",
        ),
    ] = None,
    keep: Annotated[
        int,
        typer.Option(
            **integer("--keep", 0, 1000),
            help="Number of earlier data versions of which index.json and the JSON and Parquet "
            "files of each model stay.",
        ),
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")
    ] = False,
    json: shared.Json = False,
) -> None:
    """Publish a built wiki on a host of static pages: check its limits, send what differs.

    Adds what hosts need: a page for missing ones, .nojekyll, robots.txt and, with --url, a sitemap.
    The same command after an interruption goes on where it was.

    Example: acdc wiki publish public --host github --url https://USER.github.io/PROJECT/
    """
    from acdc_pipeline.workflows.site import publish_site

    with show_stages() as progress, shared.naming_options("out", "git", "host", "url", "keep"):
        published = publish_site(
            target,
            out,
            git=git,
            host=host,
            url=url,
            keep=keep,
            dry_run=dry_run,
            progress=progress,
        )
    if json:
        print_json(published_document(published, dry_run))
        return
    print_facts(published_facts(published, dry_run))
    if git is not None and not dry_run:
        print_line(f"\nPush it: git push origin {shlex.quote(git)}")


def _print_notes(built: Built) -> None:
    for damage in built.site.damaged[:_MAX_NOTES]:
        print_note(f"left out: {damage}")
    if len(built.site.damaged) > _MAX_NOTES:
        print_note(f"and {pluralize(len(built.site.damaged) - _MAX_NOTES, 'more damaged run')}")
    for stray in built.site.notes.strays[:_MAX_NOTES]:
        print_note(f"note about nothing on this site: {stray}")
    if not built.site.models:
        print_note(
            f"no run in {built.site.store} has a circuit or scores of heads: the wiki is empty"
        )


def _document(built: Built) -> dict[str, Any]:
    site = built.site
    return {
        "out": str(built.out),
        "index": str(built.out / "index.html"),
        "store": site.store,
        "data_version": site.version,
        "models": len(site.models),
        "heads": site.heads,
        "circuits": site.circuits,
        "tasks": len(site.tasks),
        "runs": site.runs,
        "damaged": list(site.damaged),
        "stray_notes": list(site.notes.strays),
        "files": built.files,
        "written": built.written,
        "removed": built.removed,
        "bytes": built.bytes,
    }


def _facts(built: Built) -> dict[str, str]:
    site = built.site
    searched = {task for model in site.models for task in model.circuits}
    return {
        "wiki": relative_path(str(built.out)),
        "from": f"{pluralize(site.runs, 'run')} in {relative_path(site.store)}",
        "models": f"{len(site.models):,}, {site.heads:,} heads",
        "circuits": f"{site.circuits:,} of {pluralize(len(searched), 'task')}",
        "files": f"{built.files:,} ({built.bytes / 1e6:.1f} MB), {built.written:,} written, "
        f"{built.removed:,} removed",
    }
