"""Text from outside never becomes markup: names, tokens, prompts, tasks, notes, run metadata."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from acdc_pipeline.store import RunRecord, open_store
from acdc_pipeline.wiki.build import build
from tests import wiki_store
from tests.wiki_pages import LARGEST_HEAD_PAGE, Page, broken_links, pages_of
from tests.wiki_store import Shape

MARKUP = "</script></title><img src=x onerror=alert(1)>"
ATTRIBUTE = "\"'><svg onload=alert(1)>"
INVISIBLE = "\u202eabc\u200b\x00\x1b[2J"
NAME = f"dir:{MARKUP}{ATTRIBUTE}{INVISIBLE}" + "x" * 10_240
TASK = f"{MARKUP}{{{{ 7 * 7 }}}}{{% raw %}}../../etc"
SHAPE = Shape(NAME, 2, 2, 64, has_mlp=False)

_ELEMENTS = """
a aside b bdi body br button caption code datalist dd details div dl dt fieldset figcaption figure
footer form h1 h2 h3 head header html i input kbd label legend li link main mark meta nav noscript
ol optgroup option output p pre script section select small span strong summary table tbody td th
thead title tr u ul abbr canvas circle g path rect svg text math mfrac mi mn mo mover mrow mspace
msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder
"""
ALLOWED = frozenset(re.findall(r"\w+", _ELEMENTS))


def hostile(record: RunRecord) -> RunRecord:
    """The record with the worst text wherever a run holds text."""
    details = {**record.details, "warnings": [MARKUP, INVISIBLE]}
    details |= {key: [MARKUP + INVISIBLE] for key in ("prompts_clean", "prompts_corrupted")}
    details["reference"] = {
        "compared": MARKUP,
        "source": ATTRIBUTE,
        "total": 1,
        "found": 0,
        "others": 0,
    }
    spec = record.spec.model_copy(update={"task": TASK})
    profile = record.profile
    if profile is not None:
        # every token of the document
        text = json.dumps(profile)
        for word in wiki_store.WORDS:
            text = text.replace(json.dumps(f" {word}"), json.dumps(MARKUP + ATTRIBUTE + INVISIBLE))
        profile = json.loads(text)
        profile["task"] = TASK
    heads = tuple(
        dataclasses.replace(row, metric=row.metric.replace(":ioi", f":{TASK}"))
        for row in record.heads
    )
    first = tuple(dataclasses.replace(row, metric=f"{MARKUP}@1") for row in heads[:4])
    return dataclasses.replace(
        record, spec=spec, details=details, profile=profile, heads=(*heads, *first) if heads else ()
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    store = open_store(folder / "store", mode="write")
    for record in wiki_store.records((SHAPE,), ("ioi",), (0.1, 0.01)):
        store.commit(hostile(record))
    built = build(store, folder / "site", jobs=1)
    assert built.site.damaged == ()
    (slug,) = [model.slug for model in built.site.models]
    notes = folder / "notes" / slug
    notes.mkdir(parents=True)
    (notes / "a0.h0.md").write_text(f"{MARKUP} **{ATTRIBUTE}** [x](javascript:alert(1))")
    build(store, folder / "site", notes=folder / "notes", jobs=1)
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    return pages_of(site)


def test_hostile_text_adds_no_element_and_no_attribute(pages: dict[str, Page]):
    assert len(pages) > 60
    for name, page in pages.items():
        assert {element.tag for element in page.elements} <= ALLOWED, name
        for element in page.elements:
            assert [a for a in element.attributes if a.startswith("on")] == [], name
            assert not any("<" in a or '"' in a or "'" in a for a in element.attributes), name


def test_hostile_text_adds_no_script_and_no_address(site: Path, pages: dict[str, Page]):
    for name, page in pages.items():
        assert page.scripts == "", name
        for tag, _, address in page.addresses:
            assert not address.lower().lstrip().startswith(("javascript:", "data:", "vbscript:"))
            assert tag != "script" or address.endswith(".js")
    assert broken_links(site, pages) == []


def test_hostile_text_is_there_to_be_read(pages: dict[str, Page]):
    """Escaped, not taken out: what a token was is a fact."""
    model = next(page for name, page in pages.items() if name.startswith("m/dir"))
    assert "</script></title><img src=x" in model.text
    head = next(page for name, page in pages.items() if name.endswith("a0.h0.html"))
    assert "</title><img" in head.text.replace("·", " ")


def test_hostile_text_keeps_no_invisible_character(site: Path):
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for character in ("\x00", "\x1b", "\u202e", "\u200b"):
            assert character not in text, path


def test_template_language_in_names_is_text(pages: dict[str, Page]):
    shown = [page for page in pages.values() if "{{ 7 * 7 }}" in page.text]
    assert shown


def test_hostile_names_become_short_file_names_inside_the_site(site: Path):
    for path in site.rglob("*"):
        assert path.resolve().is_relative_to(site.resolve())
        assert len(path.name) < 100
        assert path.name.isascii()


def test_data_scripts_hold_one_call_with_plain_json(site: Path):
    scripts = list((site / "data").rglob("*.js"))
    assert scripts
    for path in scripts:
        text = path.read_bytes().decode("ascii")
        assert "<" not in text, path
        assert text.startswith("wikiData(")
        name, _, rest = text.removeprefix("wikiData(").removesuffix(");\n").partition(",")
        assert json.loads(name) == path.relative_to(site / "data").with_suffix("").as_posix()
        json.loads(rest)


def test_page_of_a_head_stays_small_under_a_name_of_ten_kilobytes(site: Path, tmp_path: Path):
    pages = [path.read_bytes() for path in site.glob("m/*/a*.html")]
    assert len(pages) == 4
    # of plain tokens alone; markup in every token is longer once it is escaped
    assert max(map(len, pages)) < 25 * 1024
    assert not any(b"x" * 100 in page for page in pages)
    store = open_store(tmp_path / "store", mode="write")
    for record in wiki_store.records((SHAPE,), ("ioi",), (0.1, 0.01)):
        store.commit(record)
    build(store, tmp_path / "site", jobs=1)
    sizes = [path.stat().st_size for path in tmp_path.glob("site/m/*/a*.html")]
    assert len(sizes) == 4
    assert max(sizes) <= LARGEST_HEAD_PAGE


def test_numbers_of_the_store_are_unchanged_by_hostile_names(site: Path):
    (path,) = (site / "data").glob("dir*.json")
    document = json.loads(path.read_bytes())
    assert document["model"] == NAME
    values = np.array(document["scores"]["induction@1"]["values"], float)
    assert values.shape == (4,)
