"""The window of citations and data, and links that name a data version, in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from acdc_pipeline.store import Store
from acdc_pipeline.wiki.runs import read_store
from acdc_pipeline.wiki.site import Site, make_site
from tests.browser_tab import Tab

pytest.importorskip("playwright.sync_api")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HEAD = "m/zoo-attn-2l/a1.h3.html"


@pytest.fixture(scope="module")
def site(small_store: Store) -> Site:
    return make_site(read_store(small_store))


def opened(tab: Tab, path: str) -> Any:
    """The window that `Cite, data` opens, by keyboard."""
    tab.open(path)
    tab.page.locator("footer [data-cite]").focus()
    tab.page.keyboard.press("Enter")
    dialog = tab.page.locator("dialog.cite[open]")
    dialog.wait_for()
    return dialog


def downloaded(tab: Tab, dialog: Any) -> Any:
    with tab.page.expect_download() as download:
        dialog.locator("a[download]").click()
    return json.loads(Path(download.value.path()).read_bytes())


def rows_of(site: Path, query: str) -> int:
    """The number of rows that a query of the window finds, by a reader of Parquet."""
    file = re.search(r"/data/(all\.\w+\.parquet)'", query)
    assert file is not None
    where = query.partition("WHERE ")[2].partition("\n")[0].rstrip(";")
    filters = []
    for test in filter(None, where.split(" AND ")):
        name, value = re.split(r" = | IN ", test)
        values = re.findall(r"'([^']*)'", value) or [int(value)]
        filters.append((name, "in", values))
    return pq.read_table(site / "data" / file[1], filters=filters or None).num_rows


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_a_head_is_cited_and_given_as_json(
    tab: Callable[..., Tab], scheme: str, site: Site, small_site: Path
):
    page = tab(scheme)
    dialog = opened(page, HEAD)
    model = next(m for m in site.models if m.slug == "zoo-attn-2l")
    texts = dialog.locator("pre").all_inner_texts()
    link = texts[2]
    assert link == f"{page.root}{HEAD}?v={model.data_version}"
    assert link in texts[0]
    assert texts[1].startswith(f"@misc{{headwiki-zoo-attn-2l-a1.h3-{model.data_version},")
    assert "title = {a1.h3 in zoo:attn-2l}" in texts[1]
    measured = sum(bool(np.isfinite(s.values[1, 3])) for s in model.scores.values())
    assert rows_of(small_site, texts[3]) == measured
    found = downloaded(page, dialog)
    assert found["data_version"] == model.data_version
    assert len(found["scores"]) == measured
    for metric, value in found["scores"].items():
        assert value == pytest.approx(model.scores[metric].values[1, 3], rel=1e-4, abs=1e-9)
    assert [r["role"] for r in found["roles"]] == [r.role for r in model.roles.get((1, 3), ())]
    page.page.keyboard.press("Escape")
    expect(page.page.locator("dialog")).to_have_count(0)
    assert page.page.evaluate("document.activeElement.textContent") == "Cite, data"


@pytest.mark.parametrize(
    ("path", "least"),
    [
        ("index.html", 1),
        ("k/induction.html", 1),
        ("s/ov-copying.html", 1),
        ("t/ioi/zoo-gpt2-4l-s0.html", 1),
        ("t/ioi/index.html", 1),
        ("m/zoo-attn-2l/index.html", 1),
    ],
)
def test_other_pages_give_their_tables_and_a_query(
    tab: Callable[..., Tab], small_site: Path, path: str, least: int
):
    page = tab("file")
    dialog = opened(page, path)
    assert rows_of(small_site, dialog.locator("pre").last.inner_text()) >= least
    found = downloaded(page, dialog)
    rows = page.page.locator("main table tbody tr").count()
    assert sum(len(table["rows"]) for table in found["tables"]) == rows
    for link in dialog.locator("a[href]:not([download])").evaluate_all(
        "all => all.map(a => a.href)"
    ):
        assert (small_site / link.removeprefix(page.root)).is_file()


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_a_link_says_whether_its_version_is_the_one_shown(
    tab: Callable[..., Tab], scheme: str, site: Site
):
    page = tab(scheme)
    line = page.page.locator(".version")
    own = next(m for m in site.models if m.slug == "zoo-attn-2l").data_version
    page.open(f"{HEAD}?v={own}#scores")
    assert "which is the one shown" in line.inner_text()
    page.open(f"{HEAD}?v=0123456789ab")
    assert f"but the page shows {own}" in line.inner_text()
    line.locator("a").click()
    page.wait_for_heading("What changed")
    page.open(f"k/induction.html?v={site.version}")
    assert "which is the one shown" in line.inner_text()
    page.open(HEAD)
    expect(line).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_window_and_the_changes_are_accessible_on_a_phone(tab: Callable[..., Tab], scheme: str):
    page = tab("http", color_scheme=scheme, viewport={"width": 390, "height": 800})
    opened(page, f"{HEAD}?v=0123456789ab")
    assert Axe().run(page.page).response["violations"] == []
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
    page.open("changes.html")
    assert Axe().run(page.page).response["violations"] == []
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_is_cited_is_copied(tab: Callable[..., Tab]):
    page = tab("http", permissions=["clipboard-read", "clipboard-write"])
    dialog = opened(page, HEAD)
    dialog.locator(".copy button").nth(2).click()
    dialog.get_by_text("Copied").wait_for()
    copied = page.page.evaluate("navigator.clipboard.readText()")
    assert copied == dialog.locator("pre").nth(2).inner_text()


def test_a_link_to_an_earlier_version_leads_to_what_changed_and_to_its_data(
    tab: Callable[..., Tab], site: Site, small_site: Path, tmp_path: Path
):
    slug, before, of_site = "zoo-attn-2l", "0123456789ab", "ba9876543210"
    own = next(m for m in site.models if m.slug == slug).data_version
    copied = Path(shutil.copytree(small_site, tmp_path / "site"))
    document = {
        "site": [[site.version, "2026-03-05"], [of_site, "2026-03-01"]],
        "models": {slug: [[own, "2026-03-05"], [before, "2026-03-01"]]},
        "kept": [{"version": of_site, "models": {slug: before}}],
    }
    (copied / "data" / "versions.js").write_text(f'wikiData("versions",{json.dumps(document)});\n')
    page = tab("file")
    page.root = f"{copied.as_uri()}/"
    page.open(f"{HEAD}?v={before}")
    line = page.page.locator(".version")
    assert f"version {before} of 2026-03-01, but the page shows {own}" in line.inner_text()
    links = line.locator("a").evaluate_all("all => all.map(a => [a.textContent, a.href])")
    assert links == [
        ["What changed since", f"{page.root}changes.html#v-{own}"],
        ["JSON", f"{page.root}data/versions/{of_site}/{slug}.json"],
    ]
    page.open(f"index.html?v={of_site}")
    assert f"version {of_site} of 2026-03-01" in line.inner_text()
