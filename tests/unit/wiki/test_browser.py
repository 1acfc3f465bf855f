"""The site in a real browser: off the disk and over http, with and without JavaScript."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acdc_pipeline.store import Store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.models import Model, head_name
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


def rows(tab: Tab) -> list[str]:
    """The heads that the search lists, as `slug/head`."""
    tab.settle()
    links = tab.page.locator(".hits tbody a").evaluate_all("all => all.map(a => a.href)")
    return ["/".join(link.split("/")[-2:]).removesuffix(".html") for link in links]


def heads_where(site: Site, test: Callable[[Model, int, int], bool]) -> set[str]:
    """The heads of the site that pass a test, as `slug/head`."""
    return {
        f"{model.slug}/{head_name(layer, head)}"
        for model in site.models
        for layer, head in np.ndindex(model.n_layers, model.n_heads)
        if test(model, layer, head)
    }


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_every_kind_of_page_opens_without_an_error_and_asks_nobody_else(
    tab: Callable[..., Tab], scheme: str
):
    page = tab(scheme)
    for path in KINDS_OF_PAGES:
        page.open(path)
        expect(page.page.locator("h1")).to_have_count(1)
        assert "heads of 3 models" in page.page.locator("footer").inner_text()


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_search_from_the_home_page_finds_a_head(tab: Callable[..., Tab], scheme: str):
    page = tab(scheme)
    page.open("index.html")
    page.page.keyboard.press("/")
    page.page.keyboard.type("attn a1.h3")
    page.page.keyboard.press("Enter")
    link = page.page.locator(".hits tbody a")
    link.first.wait_for()
    assert rows(page) == ["zoo-attn-2l/a1.h3"]
    link.first.click()
    page.wait_for_heading("a1.h3")


def test_search_finds_the_heads_of_every_kind_of_query(tab: Callable[..., Tab], site: Site):
    def value(model: Model, metric: str, layer: int, head: int) -> float:
        # the search holds 32-bit numbers
        return float(np.float32(model.scores[metric].values[layer, head]))

    def has(model: Model, layer: int, head: int, role: str) -> bool:
        return any(held.role == role for held in model.roles.get((layer, head), ()))

    def largest_threshold(model: Model, layer: int, head: int, task: str) -> float:
        cut = model.circuits[task][0].smallest_with_head(head_name(layer, head))
        return 0.0 if cut is None or cut.threshold is None else cut.threshold

    queries: dict[str, Callable[[Model, int, int], bool]] = {
        "L1H2": lambda m, layer, head: (layer, head) == (1, 2),
        "neox 3.1": lambda m, layer, head: m.slug == "zoo-neox-4l" and (layer, head) == (3, 1),
        "family:gpt2 layer:0": lambda m, layer, head: m.family == "gpt2" and layer == 0,
        "head:1 depth>0.9": lambda m, layer, head: head == 1 and layer == m.n_layers - 1,
        "sink>0.2": lambda m, layer, head: value(m, "sink@1", layer, head) > 0.2,
        "direct_effect:ioi<0": lambda m, layer, head: (
            value(m, "direct_effect@1:ioi", layer, head) < 0
        ),
        "kind:sink": lambda m, layer, head: has(m, layer, head, "sink"),
        # in a circuit of it, or with a role on it
        "task:ioi": lambda m, layer, head: (
            largest_threshold(m, layer, head, "ioi") > 0
            or any(held.on == "ioi" for held in m.roles.get((layer, head), ()))
        ),
        "ioi>=0.03": lambda m, layer, head: largest_threshold(m, layer, head, "ioi") >= 0.03,
        "sink>0.1 induction<0.2 layer>=1": lambda m, layer, head: (
            value(m, "sink@1", layer, head) > 0.1
            and value(m, "induction@1", layer, head) < 0.2
            and layer >= 1
        ),
    }
    page = tab()
    for query, test in queries.items():
        page.open(f"search.html?q={query.replace('>', '%3E').replace('<', '%3C')}")
        wanted = heads_where(site, test)
        assert set(rows(page)) == wanted, query
        assert 0 < len(wanted) < 48, query
    page.open("search.html?q=kind:nonsense")
    assert "is no score, kind, task or model" in page.page.locator(".status").inner_text()


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_address_of_a_search_restores_filters_and_rows(tab: Callable[..., Tab], scheme: str):
    page = tab(scheme)
    page.open("search.html")
    page.page.select_option("[name=score]", "ov_copying@2")
    page.page.select_option("[name=sort]", "low")
    page.page.select_option("[name=model]", "zoo-attn-2l")
    page.page.fill("[name=q]", "layer:1")
    page.page.fill("[name=min]", "-0.9")
    found = rows(page)
    again = tab(scheme)
    again.open_address(page.page.url)
    assert rows(again) == found
    assert len(found) > 2
    for name, value in {"q": "layer:1", "sort": "low", "min": "-0.9"}.items():
        assert again.page.input_value(f"[name={name}]") == value


def test_scores_that_arrive_late_do_not_replace_a_later_search(tab: Callable[..., Tab]):
    page = tab("http")
    page.open("search.html")
    name = page.page.locator(".hits .score-name").inner_text()
    data = page.page.evaluate("new Promise(done => wikiHeads(heads => done(heads.data.scores)))")
    late = next(score["file"] for score in data if score["metric"] == "ov_copying@2")
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.page.route(f"**/{late}.js", hold)
    page.page.select_option("[name=score]", "ov_copying@2")
    page.page.select_option("[name=score]", index=0)
    page.page.select_option("[name=model]", "zoo-attn-2l")
    while not held:
        page.page.wait_for_timeout(5)
    assert len(held) == 1
    held[0].continue_()
    assert all(row.startswith("zoo-attn-2l/") for row in rows(page))
    assert page.page.locator(".hits .score-name").inner_text() == name


def test_search_for_a_kind_shows_its_score_on_the_task_of_most_of_its_heads(
    tab: Callable[..., Tab], site: Site
):
    counts = Counter(
        (role.role, role.on)
        for model in site.models
        for held in model.roles.values()
        for role in held
        if role.on in site.tasks
    )
    kinds = {kind for kind, _ in counts}
    assert kinds
    page = tab()
    for kind in sorted(kinds):
        of_kind = {task: count for (other, task), count in counts.items() if other == kind}
        page.open(f"search.html?kind={kind}")
        assert rows(page)
        shown = page.page.locator(".hits .score-name").inner_text()
        assert of_kind[shown.rpartition(" on ")[2]] == max(of_kind.values())
        assert page.page.input_value("[name=score]") == ""


def test_search_orders_by_the_score_and_gives_all_rows_as_csv(tab: Callable[..., Tab], site: Site):
    page = tab()
    page.open("search.html?score=sink%401")
    values = {
        f"{model.slug}/{head_name(*place)}": float(model.scores["sink@1"].values[place])
        for model in site.models
        for place in np.ndindex(model.n_layers, model.n_heads)
    }
    ordered = sorted(values, key=lambda name: -np.float32(values[name]))
    assert rows(page) == ordered
    with page.page.expect_download() as download:
        page.page.locator("a.csv").click()
    table = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [row["head"] for row in table] == [name.split("/")[1] for name in ordered]
    for row, name in zip(table, ordered, strict=True):
        assert float(row["value"]) == pytest.approx(values[name], rel=1e-6)


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
