"""The first page and the pages that lead to heads, in a real browser: what a visitor does first."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from acdc_pipeline.store import Store
from acdc_pipeline.wiki.runs import read_store
from acdc_pipeline.wiki.site import Site, make_site
from tests.browser_tab import Tab

pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(small_store: Store) -> Site:
    return make_site(read_store(small_store))


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_head_of_the_first_page_lights_what_it_looks_at_by_pointer_and_keys(
    tab: Callable[..., Tab], scheme: str
):
    page = tab(scheme)
    page.open("index.html")
    place = page.page.locator(".front .attention")
    text = json.loads(str(place.get_attribute("data-text")))
    size = len(text["tokens"])
    stored = base64.b64decode(str(place.get_attribute("data-pattern")))
    weights = np.frombuffer(stored, np.uint8).reshape(size, size) / 255
    tokens = place.locator(".tok")

    def shown() -> list[str]:
        return tokens.locator("small").all_text_contents()

    def wanted(query: int) -> list[str]:
        return ["" if share < 0.01 else f"{round(100 * share)} %" for share in weights[query]]

    query = int(str(place.get_attribute("data-query")))
    assert shown() == wanted(query)
    assert text["tokens"][query] in place.locator(".att-said").inner_text()
    tokens.nth(query + 1).hover()
    assert shown() == wanted(query + 1)
    # a list of prompts with one entry is not shown, and all works by keys
    expect(place.locator("select")).not_to_be_visible()
    tokens.nth(query).focus()
    page.page.keyboard.press("ArrowLeft")
    assert shown() == wanted(query - 1)
    href = str(page.page.locator("#one-head a").get_attribute("href"))
    page.page.locator(".card .more a").first.click()
    page.page.wait_for_url(f"**/{href}")


def test_first_page_shows_its_head_and_circuit_without_javascript(tab: Callable[..., Tab]):
    page = tab(java_script_enabled=False)
    page.open("index.html")
    cards = page.page.locator(".card")
    expect(cards).to_have_count(2)
    expect(cards.nth(0).locator("mark").first).to_be_visible()
    assert "of its attention on the underlined" in cards.nth(0).inner_text()
    expect(cards.nth(1).locator("g.edge").first).to_be_visible()
    expect(page.page.locator(".ways section")).to_have_count(3)


def test_mosaic_of_a_model_is_switched_by_a_list_and_unfolds(tab: Callable[..., Tab]):
    page = tab()
    page.open("m/zoo-attn-2l/index.html")
    pictures, labels = page.page.locator(".pic:visible"), page.page.locator(".kinds label")
    expect(labels.first).not_to_be_visible()
    # by keys alone
    page.page.locator("main .pick select").focus()
    page.page.keyboard.type("Sink")
    assert "Sink" in str(pictures.get_attribute("aria-label"))
    assert page.page.url.endswith("#sink")
    page.page.keyboard.press("Tab")
    page.page.keyboard.press("Enter")
    expect(labels.first).to_be_visible()
    page.page.locator("label[for='k-induction']").click()
    assert page.page.locator("main .pick select").input_value() == "k-induction"
    again = tab()
    again.open("m/zoo-attn-2l/index.html#sink")
    assert again.page.locator("main .pick select").input_value() == "k-sink"


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_search_knows_names_of_several_words_and_what_was_meant(
    tab: Callable[..., Tab], site: Site, scheme: str
):
    page = tab(scheme)
    status, meant = page.page.locator(".status"), page.page.locator(".meant")

    def count(query: str) -> str:
        page.open(f"search.html?q={query}")
        return str(status.inner_text())

    for query, name in {
        "name mover": "name_mover",
        "Name movers": "name_mover",
        "S-inhibition": "s_inhibition",
        "which heads are duplicate-token heads": "duplicate_token",
        "negative name mover": "copy_suppression",
        "backup name mover": "backup_mover",
        "previous token": "previous_token",
    }.items():
        held = {(model.slug, role.node) for model, role in site.holders.get(name, ())}
        assert count(query).startswith(f"{len(held)} head"), query
        assert str(meant.locator("a").first.get_attribute("href")) == f"k/{name}.html"
    assert count("indirect object identification") == count("task:ioi")
    assert "is no score, kind, task or model" in count("nmae mover")
    link = meant.locator("a").first
    assert link.inner_text() == "name mover"
    link.focus()
    page.page.keyboard.press("Enter")
    page.page.wait_for_url("**q=kind%3Aname_mover")
    assert "is no score" in count("kind:nonsense")


def test_comparison_opens_with_words_and_attention_and_folds_the_numbers(tab: Callable[..., Tab]):
    page = tab()
    page.open("compare.html?a=zoo-attn-2l/a1.h3&b=zoo-gpt2-4l-s0/a0.h1")
    page.page.locator(".both-heads .says p").first.wait_for()
    assert page.page.locator(".both-heads h3").all_inner_texts() == [
        "a1.h3 in zoo:attn-2l",
        "a0.h1 in zoo:gpt2-4l-s0",
    ]
    assert "In circuits up to" in page.page.locator(".says").first.inner_text()
    table = page.page.locator(".comparison table")
    expect(table).not_to_be_visible()
    page.page.locator(".all-scores summary").focus()
    page.page.keyboard.press("Enter")
    expect(table).to_be_visible()


def test_columns_of_a_pattern_have_names_and_a_cell_says_from_where_to_where(
    tab: Callable[..., Tab], site: Site
):
    page = tab()
    page.open("m/zoo-attn-2l/a1.h3.html")
    figure = page.page.locator("figure.pattern").first
    lists = [figure.locator(css).all_text_contents() for css in ("ol.cols li", "ol:not(.cols) li")]
    assert lists[0] == lists[1]
    box = figure.locator(".mask").bounding_box()
    assert box is not None
    size = len(lists[0])
    x, y = (box["x"] + 2.5 * box["width"] / size, box["y"] + 5.5 * box["height"] / size)
    page.page.mouse.move(x, y)
    said = figure.locator("output")
    assert said.inner_text() == f"from {lists[0][5]} to {lists[0][2]}"
    # each name stands above its column
    name = figure.locator("ol.cols li").nth(2).bounding_box()
    assert name is not None
    assert name["x"] <= x <= name["x"] + name["width"]
    assert name["y"] + name["height"] <= box["y"]


def test_keys_go_through_the_edges_of_a_drawing_in_reading_order(tab: Callable[..., Tab]):
    page = tab()
    page.open("t/ioi/zoo-gpt2-4l-s0.html")
    edge = page.page.locator("svg.circuit g.edge[tabindex='0']")
    total = page.page.locator("svg.circuit g.edge:not(.off):not(.out)").count()
    edge.focus()
    seen, places = [], []
    for _ in range(total):
        now = page.page.evaluate(
            """() => {
                 const edge = document.activeElement, path = edge.querySelector("path");
                 const end = path.getPointAtLength(path.getTotalLength());
                 return [edge.getAttribute("aria-label"), end.y, end.x];
               }"""
        )
        seen.append(now[0])
        places.append((round(now[1]), now[2]))
        page.page.keyboard.press("ArrowRight")
    assert len(set(seen)) == total
    assert places == sorted(places)
    assert page.page.evaluate("document.activeElement.getAttribute('aria-label')") == seen[0]


def test_comparison_shows_the_numbers_of_both_heads_and_swaps_them(
    tab: Callable[..., Tab], small_site: Path
):
    page = tab()
    page.open("compare.html?a=zoo-attn-2l/a1.h3&b=zoo-gpt2-4l-s0/a0.h1")
    page.page.locator(".all-scores summary").click()
    cells = page.page.locator(".comparison tr:has(th:text-is('Sink')) td")

    def shown() -> list[float]:
        return [float(cells.nth(i).inner_text().replace("−", "-")) for i in range(2)]

    def stored(slug: str, at: int) -> float:
        document = json.loads((small_site / "data" / f"{slug}.json").read_bytes())
        return document["scores"]["sink@1"]["values"][at]

    wanted = [stored("zoo-attn-2l", 8 + 3), stored("zoo-gpt2-4l-s0", 1)]
    assert shown() == pytest.approx(wanted, rel=0.01)
    circuits = page.page.locator(".comparison tr:has(th:text-is('In circuits up to')) td")
    assert re.match(r"(ioi|induction) τ\s=\s0\.\d+|–$", circuits.first.inner_text())
    page.page.locator(".swap").click()
    page.page.wait_for_url("**a=zoo-gpt2-4l-s0/a0.h1&b=zoo-attn-2l/a1.h3")
    assert shown() == pytest.approx(wanted[::-1], rel=0.01)
