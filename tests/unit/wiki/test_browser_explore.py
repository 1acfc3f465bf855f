"""What a reader explores in a real browser: the scatter of heads and the drawing of a circuit."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from acdc_pipeline.heads.habits import lead_place, lead_role
from acdc_pipeline.store import Store
from acdc_pipeline.wiki.models import Model, head_name, restore_profiles
from acdc_pipeline.wiki.pattern_data import pattern_document
from acdc_pipeline.wiki.runs import read_full_runs, read_store
from acdc_pipeline.wiki.site import Site, make_site
from acdc_pipeline.wiki.site_data import role_lines
from tests.browser_tab import Tab

pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

X, Y = "induction@1", "zero_ablation@1:ioi"


@pytest.fixture(scope="module")
def site(small_store: Store) -> Site:
    return make_site(read_store(small_store))


def listed(tab: Tab) -> list[str]:
    """The heads of the table below the plot, as `slug/head`."""
    links = tab.page.locator(".hits tbody a").evaluate_all("all => all.map(a => a.href)")
    return ["/".join(link.split("/")[-2:]).removesuffix(".html") for link in links]


def heads_between(site: Site, x: tuple[float, float], y: tuple[float, float]) -> set[str]:
    """The heads whose two scores are in a rectangle."""
    return {
        f"{model.slug}/{head_name(*place)}"
        for model in site.models
        for place in np.ndindex(model.n_layers, model.n_heads)
        if x[0] <= np.float32(model.scores[X].values[place]) <= x[1]
        and y[0] <= np.float32(model.scores[Y].values[place]) <= y[1]
    }


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_scatter_lists_the_heads_of_a_rectangle_drawn_by_mouse_or_keys(
    tab: Callable[..., Tab], site: Site, scheme: str
):
    page = tab(scheme)
    page.open(f"scatter.html?x={X}&y={Y}")
    plane = page.page.locator(".plane")
    label = str(plane.locator("canvas").get_attribute("aria-label"))
    assert "48 heads with both scores" in label
    for value, name in role_lines("induction"):
        assert f"line of {name} at {value:g}" in label.replace("0.400", "0.4")
    box = plane.bounding_box()
    assert box is not None
    page.page.mouse.move(box["x"] + 80, box["y"] + 30)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.5, steps=3)
    page.page.mouse.up()
    page.wait_for_frame()
    ends = [float(page.page.input_value(f"[name={name}]")) for name in ("x0", "x1", "y0", "y1")]
    wanted = heads_between(site, (ends[0], ends[1]), (ends[2], ends[3]))
    assert set(listed(page)) == wanted
    assert 0 < len(wanted) < 48
    # the address brings back the rectangle, and the search finds the same heads
    again = tab(scheme)
    again.open_address(page.page.url)
    assert set(listed(again)) == wanted
    again.page.locator(".found a").click()
    again.page.locator(".hits tbody a").first.wait_for()
    assert set(listed(again)) == wanted


def test_scatter_is_read_by_keys_alone(tab: Callable[..., Tab], site: Site):
    page = tab()
    page.open(f"scatter.html?x={X}&y={Y}&model=zoo-attn-2l")
    plane, tip = page.page.locator(".plane"), page.page.locator(".plane .tip")
    plane.focus()
    for _ in range(3):
        page.page.keyboard.press("ArrowRight")
    model = next(m for m in site.models if m.slug == "zoo-attn-2l")
    values = model.scores[X].values.ravel()
    # the first press takes the first head, each other one the next higher score
    second, third = np.sort(values[values > values[0]])[:2]
    name = head_name(*divmod(int(np.flatnonzero(values == third)[0]), model.n_heads))
    assert tip.inner_text().startswith(f"{name} in zoo:attn-2l")
    assert second < third
    for key in ("ArrowUp", "ArrowUp", "ArrowDown", "ArrowLeft"):
        page.page.keyboard.press(f"Shift+{key}")
    assert f"zoo-attn-2l/{name}" in listed(page)
    page.page.keyboard.press("Escape")
    expect(page.page.locator(".hits")).not_to_be_visible()
    page.page.keyboard.press("Enter")
    page.page.wait_for_url(f"**/m/zoo-attn-2l/{name}.html")


def test_point_under_the_pointer_is_a_link_with_a_tooltip(tab: Callable[..., Tab]):
    page = tab()
    page.open(f"scatter.html?x={X}&y={Y}&kind=induction")
    page.page.locator(".plane").press("ArrowRight")
    point = page.page.locator(".plane .point")
    name, box = str(point.get_attribute("aria-label")), point.bounding_box()
    assert box is not None
    assert "induction" in name
    page.page.locator("h1").hover()
    page.page.mouse.move(box["x"] + 7, box["y"] + 10)
    assert page.page.locator(".plane .tip").inner_text() == name
    page.page.mouse.click(box["x"] + 7, box["y"] + 10)
    page.page.wait_for_url(f"**/{name.split(maxsplit=1)[0]}.html")


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_edge_of_a_drawing_and_its_row_light_each_other(
    tab: Callable[..., Tab], site: Site, scheme: str
):
    model = next(m for m in site.models if m.slug == "zoo-gpt2-4l-s0")
    series = model.circuits["ioi"][0]
    page = tab(scheme)
    page.open("t/ioi/zoo-gpt2-4l-s0.html")
    visible = page.page.locator("svg.circuit g.edge:not(.off):not(.out)")
    edge = page.page.locator("svg.circuit g.edge[tabindex='0']")
    tip, hot = page.page.locator(".figure-tip"), page.page.locator(".edge-list tr.hot")
    edge.focus()
    key = tuple(hot.locator("td").all_inner_texts()[:3])
    score = series.score(key)
    assert score is not None
    text = tip.inner_text()
    assert text.startswith(f"{key[0]} → {key[1]}")
    found = re.search(r"removing it costs ([\d.]+) nats", text)
    assert found
    assert float(found[1]) == pytest.approx(score, rel=0.01)
    page.page.keyboard.press("ArrowRight")
    second = tuple(hot.locator("td").all_inner_texts()[:3])
    assert second != key
    assert second in series.edges
    # Enter pins the edge with everything that reaches it; the address says so
    page.page.keyboard.press("Enter")
    page.page.mouse.move(2, 2)
    ends, lit = {second[0]}, set()
    present = {k for k, at in series.edges.items() if at[series.first_shown]}
    while more := {k for k in present if k[1] in ends} - lit:
        lit |= more
        ends |= {k[0] for k in more}
    pinned = page.page.locator("svg.circuit g.edge.hot:not(.off)")
    expect(pinned).to_have_count(len(lit | {second}))
    again = tab(scheme)
    again.open_address(page.page.url)
    expect(again.page.locator("svg.circuit g.edge.hot:not(.off)")).to_have_count(
        len(lit | {second})
    )
    page.page.keyboard.press("Escape")
    edge.blur()
    expect(pinned).to_have_count(0)
    # a row lights its edge
    page.page.locator(".edge-list tbody tr").nth(1).hover()
    expect(pinned).to_have_count(1)
    # filters
    page.page.uncheck("[name=into][value=r]")
    heads_only = [k for k in present if k[2]]
    expect(visible).to_have_count(len(heads_only))
    page.page.locator("[name=least]").fill("60")
    assert 0 < visible.count() < len(heads_only)
    kept = visible.count()
    again = tab(scheme)
    again.open_address(page.page.url)
    expect(again.page.locator("svg.circuit g.edge:not(.off):not(.out)")).to_have_count(kept)
    # zoom by button and key, pan by dragging
    figure, svg = page.page.locator(".figure"), page.page.locator("svg.circuit")
    width = svg.bounding_box()["width"]
    page.page.locator("[aria-label='Zoom in']").click()
    figure.focus()
    page.page.keyboard.press("+")
    assert svg.bounding_box()["width"] == pytest.approx(width * 1.25**2, rel=0.01)
    page.page.keyboard.press("0")
    assert svg.bounding_box()["width"] == pytest.approx(width, rel=0.01)


def test_comparison_opens_at_the_heads_that_say_most_of_each_model(
    tab: Callable[..., Tab], site: Site
):
    def telling(model: Model) -> list[str]:
        """Every head with a role, by its most telling role and what removing it costs."""
        ranked = []
        for place, roles in model.roles.items():
            lead = lead_role(roles)
            ablated = model.scores.get(f"mean_ablation@1:{lead.on}")
            cost = float("-inf") if ablated is None else float(ablated.values[place])
            ranked.append((lead_place(lead.role), -cost, -abs(lead.value), place))
        return [head_name(*place) for *_, place in sorted(ranked)]

    first, second = site.models[:2]
    page = tab()
    for asked, wanted in (
        ("", [first.slug, telling(first)[0], second.slug, telling(second)[0]]),
        (f"?b={first.slug}", [first.slug, telling(first)[0], first.slug, telling(first)[1]]),
    ):
        page.open(f"compare.html{asked}")
        page.page.locator(".both-heads .says p").first.wait_for()
        chosen = page.page.locator(".pickers select").evaluate_all("all => all.map(s => s.value)")
        assert chosen == wanted


def test_drawing_larger_than_its_frame_says_so_and_fades_where_it_goes_on(tab: Callable[..., Tab]):
    page = tab(viewport={"width": 360, "height": 800})
    page.open("t/ioi/zoo-gpt2-4l-s0.html")
    figure, hint = page.page.locator(".figure"), page.page.locator(".cut-off")
    expect(hint).to_be_visible()
    for where, sides in (("0", "more-right"), ("9999", "more-left")):
        figure.evaluate(f"f => f.scrollLeft = {where}")
        expect(figure).to_have_class(f"figure {sides}")
    page.page.set_viewport_size({"width": 1600, "height": 800})
    expect(hint).not_to_be_visible()


def test_tokens_show_their_sources_and_two_heads_follow_each_other(
    tab: Callable[..., Tab], site: Site, small_store: Store
):
    slug = "zoo-gpt2-4l-s0"
    summary = next(model for model in site.models if model.slug == slug)
    model = restore_profiles(summary, read_full_runs(small_store, summary.profile_ids))
    document = pattern_document(model)
    assert pattern_document(replace(model, profiles=2 * model.profiles)) == document
    one, two = list(document["heads"])[:2]
    page = tab("http")
    page.open(f"compare.html?a={slug}/{one}&b={slug}/{two}")
    views = page.page.locator(".both-heads .attention")
    views.nth(1).locator(".tok").first.wait_for()
    views.nth(0).locator("select").select_option(index=1)
    tokens = [views.nth(i).locator(".tok") for i in range(2)]
    tokens[0].nth(9).hover()
    for head, found in zip((one, two), tokens, strict=True):
        at, encoded = document["heads"][head][1]
        size = len(document["texts"][at]["tokens"])
        row = np.frombuffer(base64.b64decode(encoded), np.uint8).reshape(size, size)[9] / 255
        wanted = ["" if share < 0.01 else f"{share:.0%}".replace("%", " %") for share in row]
        assert found.locator("small").all_text_contents() == wanted
        assert "query" in str(found.nth(9).get_attribute("class"))
    # by keys alone, and each column has the name of its token
    tokens[0].nth(5).focus()
    page.page.keyboard.press("ArrowRight")
    assert "query" in str(tokens[1].nth(6).get_attribute("class"))
    said = views.nth(0).locator(".att-said").inner_text()
    assert said.startswith(f"From {document['texts'][1]['tokens'][6]} (7) it looks at")
    assert views.nth(0).locator(".cols li").all_text_contents() == document["texts"][1]["tokens"]
    # the page of the head has the same
    page.open(f"m/{slug}/{one}.html")
    page.page.locator(".attention").scroll_into_view_if_needed()
    page.page.locator(".attention select").select_option(index=1)
    page.page.locator(".tok").nth(6).hover()
    assert page.page.locator(".att-said").inner_text() == said


def test_drawing_by_position_is_pinned_filtered_and_panned_by_mouse(
    tab: Callable[..., Tab], site: Site
):
    model = next(model for model in site.models if model.slug == "zoo-gpt2-4l-s0")
    series = next(series for series in model.circuits["ioi"] if series.by_span)
    page = tab()
    page.open("t/ioi/spans/zoo-gpt2-4l-s0.html")
    expect(page.page.locator(".edge-list tr.drawn")).to_have_count(len(series.edges))
    span = series.shape.spans[-1]
    page.page.select_option("[name=at]", span)
    keys = {k for k, at in series.edges.items() if at[series.first_shown] and k[3] == span}
    shown = page.page.locator("svg.circuit g.edge:not(.off):not(.out)")
    names = set(shown.evaluate_all("all => all.map(e => e.getAttribute('aria-label'))"))
    assert len(names) == len(keys) > 0
    assert all(f"at {span}" in name for name in names)
    at = shown.first.evaluate(
        """edge => {
             edge.scrollIntoView({block: "center", inline: "center"});
             const path = edge.querySelector(".hit");
             for (let share = 0.2; share < 0.9; share += 0.05) {
               const point = path.getPointAtLength(share * path.getTotalLength());
               const {x, y} = point.matrixTransform(edge.ownerSVGElement.getScreenCTM());
               if (document.elementFromPoint(x, y).closest(".edge") === edge) return [x, y];
             }
           }"""
    )
    page.page.mouse.click(at[0], at[1])
    row = page.page.locator(".edge-list tr.hot")
    cells = row.locator("td").all_inner_texts()
    said = page.page.locator(".figure-tip").inner_text()
    assert said.startswith(f"{cells[0]} → {cells[1]}")
    expect(row).to_be_visible()
    assert "pin=" in page.page.url
    page.page.locator(".unpin").click()
    assert "pin=" not in page.page.url
    # a drawing larger than its frame moves with the pointer
    figure = page.page.locator(".figure")
    for _ in range(4):
        page.page.locator("[aria-label='Zoom in']").click()
    figure.evaluate("figure => { figure.scrollLeft = figure.scrollTop = 0; }")
    figure.scroll_into_view_if_needed()
    box = figure.bounding_box()
    assert box is not None
    page.page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 10, box["y"] + 25)
    page.page.mouse.up()
    assert figure.evaluate("figure => [figure.scrollLeft, figure.scrollTop]") == [30, 15]
