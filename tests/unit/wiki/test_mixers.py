"""The wiki of a model in which not every layer has heads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from acdc_pipeline.store import open_store
from acdc_pipeline.wiki.build import build
from tests import wiki_store
from tests.wiki_pages import broken_links, pages_of

HYBRID = wiki_store.Shape("zoo:attn-2l", 4, 2, 64, has_mlp=True, layers=("rm", "am", "rm", "a"))
PLAIN = wiki_store.Shape("zoo:gpt2-4l-s0", 1, 2, 128)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = open_store(tmp_path_factory.mktemp("hybrid") / "store", mode="write")
    for record in wiki_store.records((HYBRID, PLAIN), ("ioi",), (0.1, 0.01)):
        store.commit(record)
    out = tmp_path_factory.mktemp("hybrid") / "site"
    build(store, out, jobs=1)
    return out


def test_only_heads_that_exist_have_pages_and_no_link_is_broken(site: Path):
    pages = pages_of(site)
    heads = {name for name in pages if re.fullmatch(r"m/zoo-attn-2l/a\d+\.h\d+\.html", name)}
    assert heads == {f"m/zoo-attn-2l/a{layer}.h{head}.html" for layer in (1, 3) for head in (0, 1)}
    assert broken_links(site, pages) == []


def test_neighbouring_heads_are_in_the_next_layer_that_has_some(site: Path):
    names = ["a1.h0", "a1.h1", "a3.h0", "a3.h1"]
    for name, before, after in zip(names, [None, *names], [*names[1:], None], strict=False):
        text = (site / "m" / "zoo-attn-2l" / f"{name}.html").read_text()
        found = dict(re.findall(r'<link rel="?(prev|next)"? href="?([^".]+\.h\d)\.html', text))
        assert (found.get("prev"), found.get("next")) == (before, after)


def test_the_page_of_the_model_says_what_its_layers_are(site: Path):
    text = (site / "m" / "zoo-attn-2l" / "index.html").read_text()
    assert "4 layers of the parts rm, am, rm, a (a: 2 heads, r: mixer, m: MLP)" in text
    assert "2 heads in each of 2 layers" in text
    assert "4 heads not measured" not in text
    assert "of 4<" in (site / "t" / "ioi" / "index.html").read_text()
    head = (site / "m" / "zoo-attn-2l" / "a1.h0.html").read_text()
    assert "Ranks are among" not in head or "among the 4 heads" in head
    plain = (site / "m" / "zoo-gpt2-4l-s0" / "index.html").read_text()
    assert "attention, then MLP" in plain


def test_circuits_draw_mixers_in_a_class_of_their_own(site: Path):
    text = (site / "t" / "ioi" / "zoo-attn-2l.html").read_text()
    assert re.search(r'class="node mixer[ "]', text)
    assert "into mixer, MLP or logits" in text
    assert "into mixer" not in (site / "t" / "ioi" / "zoo-gpt2-4l-s0.html").read_text()


def test_the_search_knows_which_layers_have_heads(site: Path):
    hybrid, plain = json.loads((site / "data" / "search.json").read_text())["models"]
    assert hybrid["with_heads"] == [1, 3]
    assert "with_heads" not in plain
