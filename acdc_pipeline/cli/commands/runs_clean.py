"""`acdc runs clean`: what killed, beaten or cut-off writers left in a store."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.terminal.output import print_json, print_note
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.text import format_age, format_size, pluralize, relative_path
from acdc_pipeline.errors import InvalidInput

if TYPE_CHECKING:
    from acdc_pipeline.store import Leftover, Store

COLUMNS = (
    Column("path", "name"),
    Column("what", "prose", rank=2),
    Column("age", rank=1),
    Column("size", "number"),
)


def clean(
    older_than: Annotated[
        str,
        typer.Option(
            metavar="AGE",
            help="From when on an unfinished attempt counts as abandoned, and a damaged run that "
            "was replaced is not kept any more: 90s, 30m, 12h, 7d. Longer than any run takes.",
        ),
    ] = "7d",
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove what is listed. Without it nothing changes.")
    ] = False,
    store: shared.StoreUrl = None,
    json: shared.Json = False,
) -> None:
    """List what no run in a store needs; with --remove, remove it.

    That is: attempts that died, lost a race or lost the server, damaged runs that were replaced,
    and evaluations of runs that were deleted. Attempts at a run that was committed by another go at
    any age; what a living process of this machine holds stays.

    \b
    Examples:
      acdc runs clean
      acdc runs clean --store s3://bucket/runs --older-than 2d --remove
    """
    age = _seconds(older_than)
    with show_status("looking for leftovers"):
        results = shared.open_store(store)
        found = results.leftovers(older_than=age, now=time.time())
        if remove:
            for item in found:
                results.remove(item)
    if json:
        leftovers = [asdict(item) for item in found]
        print_json({"store": results.url, "leftovers": leftovers, "removed": remove})
        return
    if found:
        print_table(COLUMNS, [_row(item) for item in found])
    print_note(_summary(results, found, remove))


def _seconds(text: str) -> float:
    from acdc_pipeline.specs.profile import seconds_of

    try:
        return seconds_of(text)
    except InvalidInput as error:
        error.field = "--older-than"
        raise


def _row(item: Leftover) -> dict[str, str]:
    return {
        "path": item.path,
        "what": item.why,
        "age": format_age(item.age),
        "size": format_size(item.size),
    }


def _summary(results: Store, found: list[Leftover], removed: bool) -> str:
    where = relative_path(results.url)
    if not found:
        return f"nothing to clean in {where}"
    what = f"{pluralize(len(found), 'leftover')} ({format_size(sum(item.size for item in found))})"
    if removed:
        return f"removed {what} from {where}"
    return f"{what} in {where}; nothing was removed: add --remove"
