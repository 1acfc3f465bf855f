"""The search page in a real browser: queries, filters and their address, CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acdc_pipeline.store import Store
from acdc_pipeline.wiki.models import Model, head_name
from acdc_pipeline.wiki.runs import read_store
from acdc_pipeline.wiki.site import Site, make_site
from tests.browser_tab import Tab

pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.browser, pytest.mark.slow]


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
    queries["indirect object"] = queries["task:ioi"]
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
