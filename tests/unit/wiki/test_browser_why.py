"""Why a head looks there, in a real browser: the table of pairs of sources."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from acdc_pipeline.store import Store
from acdc_pipeline.wiki.models import restore_profiles
from acdc_pipeline.wiki.runs import read_full_runs, read_store
from acdc_pipeline.wiki.site import make_site
from acdc_pipeline.wiki.why_data import why_document
from tests.browser_tab import Tab

pytest.importorskip("playwright.sync_api")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SLUG, NAME = "zoo-attn-2l", "a1.h3"


@pytest.fixture(scope="module")
def stored(small_store: Store) -> dict[str, Any]:
    summary = next(m for m in make_site(read_store(small_store)).models if m.slug == SLUG)
    model = restore_profiles(summary, read_full_runs(small_store, summary.profile_ids))
    return why_document(model)["heads"][NAME][0]


def shown(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if value else "0.00"


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_table_of_pairs_opens_and_is_read_by_keys_alone(
    tab: Callable[..., Tab], stored: dict[str, Any], scheme: str
):
    page = tab(scheme)
    page.open(f"m/{SLUG}/{NAME}.html")
    summary = page.page.locator(".pairs summary")
    expect(page.page.locator(".heat")).to_have_count(0)
    summary.focus()
    page.page.keyboard.press("Enter")
    cells = page.page.locator(".heat td[tabindex]")
    cells.first.wait_for()
    assert cells.all_inner_texts() == [shown(value / 100) for value in stored["s"]]
    heads = page.page.locator(".heat thead th").all_inner_texts()
    assert heads == [{"bias": "biases", "rest": "others"}.get(k, k) for k in stored["k"]]
    page.page.keyboard.press("Tab")
    if cells.first.evaluate("cell => cell !== document.activeElement"):
        page.page.keyboard.press("Tab")  # the frame of a table that is wider than the page
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowDown", "ArrowRight"):
        page.page.keyboard.press(key)
    wide = len(stored["k"])
    said = page.page.locator(".pairs .said").inner_text()
    assert f"What {stored['q'][2]} gives the query" in said
    assert f"{stored['k'][1]} gives the key: {shown(stored['s'][2 * wide + 1] / 100)}." in said
    assert cells.nth(2 * wide + 1).evaluate("cell => cell === document.activeElement")
    # by the pointer too
    cells.nth(0).hover()
    assert shown(stored["s"][0] / 100) in page.page.locator(".pairs .said").inner_text()
    text = page.page.locator(".pairs").inner_text()
    assert all(token in text for token, _ in stored["up"])
    faults = Axe().run(page.page, options={"preload": False}).response["violations"]
    assert not [fault for fault in faults if fault["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_tasks_of_a_head_are_tabs_that_keys_and_addresses_choose(
    tab: Callable[..., Tab], small_site: Any, scheme: str
):
    path = next(
        p
        for p in sorted((small_site / "m" / SLUG).glob("a*.html"))
        if p.read_text().count("<section class=part") > 1
    )
    ids = re.findall(r"<section class=part id=(\S+?)>", path.read_text())
    page = tab(scheme)
    page.open(f"m/{SLUG}/{path.name}#{ids[-1]}")
    chosen = page.page.locator("[role=tab][aria-selected=true]")
    shown = page.page.locator(".part:visible")
    assert page.page.locator("[role=tab]").count() == len(ids)
    assert shown.get_attribute("id") == ids[-1]
    chosen.focus()
    page.page.keyboard.press("ArrowRight")  # from the last to the first
    page.page.wait_for_function("id => location.hash === '#' + id", arg=ids[0])
    assert shown.get_attribute("id") == chosen.get_attribute("aria-controls") == ids[0]
    assert chosen.evaluate("one => one === document.activeElement")
    page.page.emulate_media(media="print")
    assert shown.count() == len(ids)
    page.page.emulate_media(media="screen")
    faults = Axe().run(page.page, options={"preload": False}).response["violations"]
    assert not [fault for fault in faults if fault["impact"] in ("serious", "critical")]


def test_search_leads_from_a_task_to_its_page_and_to_heads_with_a_role_on_it(
    tab: Callable[..., Tab],
):
    page = tab("file")
    page.open("search.html?q=ioi")
    page.page.locator(".hits tbody tr").first.wait_for()
    assert page.page.locator(".meant a").first.get_attribute("href") == "t/ioi/index.html"
    assert page.page.locator(".score-name").inner_text() == "Mean ablation on ioi"
    roles = page.page.locator(".hits tbody tr td:nth-child(4)").all_inner_texts()
    has = ["on ioi" in cell for cell in roles]
    assert has == sorted(has, reverse=True)
    assert any(has)


def test_without_javascript_the_sentence_and_the_bars_are_there(
    tab: Callable[..., Tab], small_site: Any
):
    del tab
    page = (small_site / "m" / SLUG / f"{NAME}.html").read_text()
    start = page.index("<section class=part")
    section = page[start : page.index("</dl>", start)]
    assert section.count("<dt>Feeds its ") == 3
    assert "<a href=a0.h0.html>a0.h0</a>" in section
