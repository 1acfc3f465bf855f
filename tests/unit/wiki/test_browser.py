"""The site in a real browser: off the disk and over http, with and without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acdc_pipeline.store import Store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.runs import read_store
from acdc_pipeline.wiki.site import Site, make_site
from tests.browser_tab import Tab

pytest.importorskip("playwright.sync_api")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

KINDS_OF_PAGES = (
    "index.html",
    "m/index.html",
    "m/zoo-attn-2l/index.html",
    "m/zoo-attn-2l/a1.h3.html",
    "k/index.html",
    "k/induction.html",
    *("k/universality.html", "f/index.html"),
    "s/index.html",
    "s/ov-copying.html",
    "t/index.html",
    "t/ioi/index.html",
    "t/ioi/zoo-gpt2-4l-s0.html",
    *("t/ioi/spans/zoo-gpt2-4l-s0.html", "m/zoo-gpt2-4l-s0/a1.h1.html"),  # by position
    "search.html?q=induction%3E0.1",
    "compare.html?a=zoo-attn-2l/a1.h3&b=zoo-gpt2-4l-s0/a0.h1",
    *("scatter.html", "about.html", "changes.html"),
)


@pytest.fixture(scope="module")
def site(small_store: Store) -> Site:
    return make_site(read_store(small_store))


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_every_kind_of_page_opens_without_an_error_and_asks_nobody_else(
    tab: Callable[..., Tab], scheme: str
):
    page = tab(scheme)
    for path in KINDS_OF_PAGES:
        page.open(path)
        expect(page.page.locator("h1")).to_have_count(1)
        assert "heads of 3 models" in page.page.locator("footer").inner_text()


def test_slider_changes_the_graph_the_text_and_the_address(tab: Callable[..., Tab], site: Site):
    series = next(m for m in site.models if m.slug == "zoo-gpt2-4l-s0").circuits["ioi"][0]
    page = tab()
    page.open("t/ioi/zoo-gpt2-4l-s0.html")
    slider = page.page.locator("#tau")
    visible = page.page.locator("svg.circuit g.edge:not(.off)")
    counts = [len(cut.edges) for cut in series.cuts]
    assert visible.count() == counts[series.first_shown] > counts[0] > 0
    for step, cut in enumerate(series.cuts):
        slider.fill(str(step))
        expect(visible).to_have_count(len(cut.edges))
        assert f"τ = {cut.label}" in page.page.locator("p.now").inner_text()
        assert page.page.locator("tr.current").inner_text().startswith(cut.label)
    slider.fill("0")
    again = tab()
    again.page.goto(page.page.url)
    expect(again.page.locator("svg.circuit g.edge:not(.off)")).to_have_count(counts[0])


def test_node_that_is_pointed_at_lights_its_edges(tab: Callable[..., Tab]):
    page = tab()
    page.open("t/ioi/zoo-gpt2-4l-s0.html")
    node = page.page.locator("svg.circuit a:has(.node:not(.off))").first
    name = node.locator("text").text_content()
    node.hover()
    lit = page.page.locator("svg.circuit g.edge.hot").evaluate_all(
        "all => all.map(e => [e.dataset.s, e.dataset.d])"
    )
    assert lit
    assert all(name in ends for ends in lit)


def test_keys_lead_to_the_neighbouring_heads_and_past_the_header(tab: Callable[..., Tab]):
    page = tab()
    page.open("m/zoo-attn-2l/a0.h7.html")
    page.page.keyboard.press("j")
    page.page.wait_for_url("**/a1.h0.html")
    page.page.keyboard.press("k")
    page.page.wait_for_url("**/a0.h7.html")
    page.page.keyboard.press("Tab")
    assert page.page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.page.keyboard.press("Control+k")
    assert page.page.evaluate("document.activeElement.name") == "q"
    # letters typed into the box are letters
    page.page.keyboard.press("j")
    assert page.page.url.endswith("a0.h7.html")


@pytest.mark.parametrize("java_script", [True, False])
def test_mosaic_of_a_model_shows_the_score_that_is_chosen(
    tab: Callable[..., Tab], java_script: bool
):
    page = tab(java_script_enabled=java_script)
    page.open("m/zoo-attn-2l/index.html")
    shown = page.page.locator(".pic:visible")
    expect(shown).to_have_count(1)
    assert "Induction" in str(shown.get_attribute("aria-label"))
    if java_script:
        page.page.locator("main .pick button").click()
    page.page.locator("label[for='k-sink']").click()
    expect(shown).to_have_count(1)
    assert "Sink" in str(shown.get_attribute("aria-label"))
    page.page.keyboard.press("ArrowRight")
    assert "Attention entropy" in str(shown.get_attribute("aria-label"))
    box = page.page.locator(".stage").bounding_box()
    assert box is not None
    page.page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.95 * box["height"])
    page.page.wait_for_url("**/a1.h7.html")


def test_mosaic_of_the_home_page_shows_another_score_and_its_address(
    tab: Callable[..., Tab], site: Site
):
    page = tab()
    page.open("index.html")
    tile = page.page.locator(".frame[data-slug='zoo-attn-2l'] .tile")
    before = tile.get_attribute("style")
    page.page.select_option(".pick select", "ov_copying@2")
    page.page.wait_for_function(
        "before => document.querySelector('.tile').getAttribute('style') !== before", arg=before
    )
    assert "score=ov_copying" in page.page.url
    again = tab()
    again.open_address(page.page.url)
    assert again.page.locator("h2 .shown").inner_text() == "OV copying"
    # the picture that was drawn here is the one that was built for the page of the score
    drawn = pixels(again, "zoo-attn-2l")
    again.open("s/ov-copying.html")
    assert np.abs(pixels(again, "zoo-attn-2l") - drawn).max() <= 12


def pixels(tab: Tab, slug: str) -> np.ndarray:
    """The colours of the mosaic of one model, as the browser reads its picture."""
    tile = tab.page.locator(f".frame[data-slug='{slug}'] .tile").first
    found = tile.evaluate(
        """async element => {
             const address = getComputedStyle(element).getPropertyValue("--l");
             const image = new Image();
             image.src = address.slice(address.indexOf("data:"), address.lastIndexOf(")"))
               .replace(/["']$/, "");
             await image.decode();
             const canvas = document.createElement("canvas");
             canvas.width = image.width;
             canvas.height = image.height;
             const context = canvas.getContext("2d");
             context.drawImage(image, 0, 0);
             return Array.from(context.getImageData(0, 0, image.width, image.height).data);
           }"""
    )
    return np.array(found)


def test_mosaics_without_links_lead_to_the_head_that_is_clicked(
    browser: Any, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of models with very many heads a page holds no link for each cell."""
    for module in ("mosaics", "model"):
        monkeypatch.setattr(f"acdc_pipeline.wiki.pages.{module}.MAX_LINKED", 1)
    out = build(tiny_store, tmp_path / "site", jobs=1).out
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = Tab(context.new_page(), f"{out.as_uri()}/")
    for path, place in (
        ("m/zoo-attn-2l/index.html", ".stage"),
        ("index.html", ".frame[data-slug='zoo-attn-2l']"),
    ):
        page.open(path)
        mosaic = page.page.locator(place)
        box = mosaic.bounding_box()
        cell = {"x": 0.75 * box["width"], "y": 0.25 * box["height"]}
        mosaic.hover(position=cell)
        # the score too, though the pointer does not move again once it is there
        page.page.locator(f"{place} output").filter(has_text=re.compile(r"a1\.h0 +.")).wait_for()
        mosaic.click(position=cell)
        page.page.wait_for_url("**/m/zoo-attn-2l/a1.h0.html")
    context.close()


def test_pages_are_complete_without_javascript(tab: Callable[..., Tab]):
    page = tab(java_script_enabled=False)
    page.open("index.html")
    expect(page.page.locator(".panels .tile:visible")).to_have_count(3)
    expect(page.page.locator(".pick")).not_to_be_visible()
    page.page.locator("a", has_text="zoo:attn-2l").first.click()
    page.page.locator(".all a", has_text="a1.h3").click()
    assert "Seen often in the paper." in page.page.locator(".note").inner_text()
    page.open("t/ioi/zoo-gpt2-4l-s0.html")
    assert page.page.locator("svg.circuit g.edge:visible").count() > 5
    expect(page.page.locator(".slider")).not_to_be_visible()
    page.open("search.html")
    assert "needs JavaScript" in page.page.locator("main").inner_text()


def test_pages_fit_a_phone(tab: Callable[..., Tab]):
    page = tab(viewport={"width": 360, "height": 740})
    for path in KINDS_OF_PAGES:
        page.open(path)
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_checker_finds_no_serious_fault_on_any_kind_of_page(tab: Callable[..., Tab]):
    page = tab(color_scheme="light")
    # of what passes no account is needed, which takes longer than the rest
    options: dict[str, Any] = {"preload": False, "resultTypes": ["violations"]}
    for path in KINDS_OF_PAGES:
        page.page.emulate_media(color_scheme="light")
        page.open(path)
        faults = serious_faults(page, options)
        # the same elements as in the light, in other colours
        page.page.emulate_media(color_scheme="dark")
        faults += serious_faults(page, {**options, "runOnly": ["color-contrast"]})
        assert faults == [], path


def serious_faults(tab: Tab, options: dict[str, Any]) -> list[str]:
    """What axe-core finds on the page as it is now."""
    return [
        f"{fault['id']} ({fault['impact']}): {fault['nodes'][0]['html'][:200]}"
        for fault in Axe().run(tab.page, options=options).response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def test_printed_page_leaves_out_what_is_for_the_screen(tab: Callable[..., Tab]):
    page = tab()
    page.open("m/zoo-attn-2l/a1.h3.html")
    page.page.emulate_media(media="print")
    for gone in ("header nav", ".find", "button.theme", ".crumbs"):
        expect(page.page.locator(gone).first).not_to_be_visible()
    expect(page.page.locator("table.scores").first).to_be_visible()
