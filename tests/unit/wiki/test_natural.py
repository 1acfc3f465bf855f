"""Pages of heads on ordinary text: what they say, what they lead to, and bad documents."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from acdc_pipeline.errors import DamagedRun
from acdc_pipeline.store import open_store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.natural import check_text_profile, parse_text_profile
from acdc_pipeline.wiki.pages.natural import describe
from acdc_pipeline.wiki.text import format_percent
from tests import wiki_store
from tests.browser_tab import Tab
from tests.unit.wiki.conftest import TINY
from tests.wiki_pages import Page
from tests.wiki_texts import text_record

HEAD = "m/zoo-gpt2-4l-s0/a1.h3.html"
TEXT = "m/zoo-gpt2-4l-s0/text/a1.h3.html"


def test_head_page_leads_to_texts_of_every_decile(small_site: Path, small_pages: dict[str, Page]):
    head, text = ((small_site / path).read_text() for path in (HEAD, TEXT))
    assert 'href="text/a1.h3.html"' in head
    assert "On 174 tokens of novel.txt it rests on &lt;bos&gt; with" in head
    assert text.count('<details class="decile"') == 10
    # five of the largest, three of each decile, three at each end of a component
    assert text.count("<mark>") - 1 == 5 + 30 + 6
    assert len((small_site / TEXT).read_bytes()) < 40_000
    assert TEXT.replace("a1.h3", "a3.h3") in small_pages
    assert not any("zoo-attn-2l/text" in path for path in small_pages)


def test_sentence_names_what_the_roles_explain():
    record = text_record(TINY[0])
    text = parse_text_profile(json.dumps(record.text).encode(), "novel.txt")
    found = text.head("a0.h1")
    assert found is not None
    rest, share = (format_percent(found.attention[kind]) for kind in ("first", "previous"))
    assert found.output is not None
    written = format_percent(found.output["previous"])
    assert describe(text, found, ["previous_token", "mover", "sink"]) == (
        f"On 174 tokens of novel.txt it rests on <bos> with {rest} of its attention; its roles "
        f"explain {share}, on the token before (a head that looks everywhere alike: "
        f"{format_percent(0.1)}), and {written} of what it writes."
    )
    silent = replace(found, output=None)
    assert describe(text, silent, ["previous_token"]).endswith(f"alike: {format_percent(0.1)}).")
    assert describe(text, found, ["sink"]).endswith("which is its role.")
    assert describe(text, found, ["mover"]).endswith("it has no role that says where it looks.")


def test_sentence_counts_only_attention_beyond_that_of_a_head_that_looks_everywhere_alike():
    text = parse_text_profile(json.dumps(text_record(TINY[0]).text).encode(), "novel.txt")
    found = text.head("a0.h1")
    assert found is not None

    def say(kind: str, more: float, *roles: str) -> str:
        attention = {**text.uniform, kind: text.uniform[kind] + more}
        return describe(text, replace(found, attention=attention), roles)

    assert "it rests on <bos> with 30 % of its attention;" in say("first", 0.2)
    assert "it rests nowhere in particular;" in say("first", 0.01)
    assert "it rests nowhere in particular;" in say("other", 0.3)
    assert "it looks most at the token before: 40 % of its attention, where alike" in say(
        "previous", 0.3
    )
    text = replace(text, title="a it rests on b")
    assert say("first", 0.2, "sink").endswith(" of its attention, which is its role.")
    assert say("first", 0.01, "sink").endswith(" it rests nowhere in particular, against its role.")
    assert say("previous", 0.3, "sink").endswith(" where alike would be 10 %, against its role.")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(version=2),
        lambda d: d["heads"]["a0.h0"]["largest"][0].__setitem__(0, 99),
        lambda d: d["heads"]["a0.h0"]["attention"].pop(),
        lambda d: d["heads"]["a0.h0"]["deciles"].pop(),
        lambda d: d.pop("contexts"),
    ],
)
def test_malformed_documents_are_damaged_runs(change: Callable[[dict], object]):
    document = copy.deepcopy(text_record(TINY[0]).text)
    assert document is not None
    change(document)
    with pytest.raises(DamagedRun):
        check_text_profile(parse_text_profile(json.dumps(document).encode(), "novel.txt"))


def test_hostile_texts_are_shown_and_an_added_text_changes_one_model(tmp_path: Path):
    store, out = open_store(tmp_path / "store", mode="write"), tmp_path / "site"
    for record in wiki_store.records(TINY, ("ioi",), (0.1,)):
        store.commit(record)
    build(store, out, jobs=1)
    before = {path: path.read_bytes() for path in out.glob("m/zoo-attn-2l/*.html")}
    record = text_record(TINY[1], "<script>alert(1)</script>.txt")
    assert record.text is not None
    record.text["contexts"][0]["tokens"][1] = "<img src=x onerror=alert(1)>\u202e"
    store.commit(record)
    build(store, out, jobs=1)
    pages = list(out.glob("m/zoo-gpt2-4l-s0/**/*.html"))
    assert len(pages) == 2 + 2 * 2
    for path in pages:
        assert "<script>alert" not in path.read_text()
        assert "<img" not in path.read_text()
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["file", "http"])
def test_texts_are_one_click_away_and_deciles_open_by_keys(tab: Callable[..., Tab], scheme: str):
    page = tab(scheme, viewport={"width": 390, "height": 800})
    page.open(HEAD)
    page.page.locator("#text + p a").click()
    page.wait_for_heading("a1.h3 on ordinary text")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
    last = page.page.locator("details.decile").last
    assert not last.evaluate("one => one.open")
    last.locator("summary").focus()
    page.page.keyboard.press("Enter")
    assert last.evaluate("one => one.open")
    assert last.locator("mark").count() == 3
    page.page.locator("nav.step a").first.click()
    page.wait_for_heading("a1.h2 on ordinary text")
