"""The tables of the page about architectures, from the definitions of what is read and refused.

`python -m benchmarks.docs_pages.architectures docs/architectures.md` writes them anew, each between
two comments of the page; the text around them is written by hand.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from acdc_pipeline.models.architectures import ALIASES, SUPPORTED, find_architecture
from acdc_pipeline.models.architectures.refused import REFUSED


def page_text(page: str) -> str:
    """Return the page with its tables made anew.

    Raises:
        ValueError: a table has no place in the page.
    """
    for name, rows in _TABLES.items():
        mark, end = f"<!-- table: {name} -->\n", "<!-- end -->\n"
        page, found = re.subn(
            f"({mark}).*?({end})",
            lambda place, rows=rows: place[1] + "".join(rows()) + place[2],
            page,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"the page has {found} places for the table {name}: {mark!r}, {end!r}")
    return page


def _reproduced() -> Iterable[str]:
    yield "| Architecture | `architectures` in config.json | What is peculiar |\n|---|---|---|\n"
    for name, title in _supported():
        found = find_architecture(name)
        names = ", ".join(f"`{each}`" for each in (name, *found.aliases))
        # The first paragraph of the docstring, in one line.
        text = " ".join((inspect.getdoc(type(found)) or "").split("\n\n")[0].split())
        yield f"| {title} | {names} | {text.removesuffix('.')} |\n"


def _settings() -> Iterable[str]:
    yield "| Class | Setting | Reason |\n|---|---|---|\n"
    for name, _ in _supported():
        for setting in find_architecture(name).refused_values:
            value = json.dumps(setting.value)
            yield f"| `{name}` | `{setting.field}: {value}` | {setting.reason} |\n"


def _refused() -> Iterable[str]:
    groups: dict[str, list[str]] = {}
    for name, reason in REFUSED.items():
        if name not in SUPPORTED and name not in ALIASES:
            groups.setdefault(reason, []).append(name)
    yield "| Reason | Classes |\n|---|---|\n"
    for reason, names in sorted(groups.items()):
        yield f"| {reason} | {', '.join(f'`{name}`' for name in sorted(names))} |\n"


def _supported() -> list[tuple[str, str]]:
    return sorted(SUPPORTED.items(), key=lambda item: item[1].lower())


_TABLES: Mapping[str, Callable[[], Iterable[str]]] = {
    "reproduced": _reproduced,
    "settings": _settings,
    "refused": _refused,
}


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(page_text(path.read_text(encoding="utf-8")), encoding="utf-8")
