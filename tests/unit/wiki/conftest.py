"""One store and one site for all tests of the wiki that only read them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.store import Store, open_store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.serve import site_server
from tests import wiki_spans, wiki_store
from tests.browser_tab import FLAGS, Tab, chromium_at, watch
from tests.wiki_pages import Page, pages_of
from tests.wiki_store import Shape
from tests.wiki_texts import text_record

SHAPES = (
    Shape("zoo:attn-2l", 2, 8, 64, has_mlp=False),
    Shape("zoo:gpt2-4l-s0", 4, 4, 128),
    Shape("zoo:neox-4l", 4, 4, 128, parallel=True),
)
TASKS = ("ioi", "induction")

BUSY = 120_000
"""Milliseconds that a browser on a busy machine may need for anything."""

TINY = (
    Shape("zoo:attn-2l", 2, 2, 64, has_mlp=False),
    Shape("zoo:gpt2-4l-s0", 1, 2, 128),
)


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two models of a few heads, for tests that build."""
    store = open_store(tmp_path_factory.mktemp("tiny") / "store", mode="write")
    for record in wiki_store.records(TINY, ("ioi",), (0.1, 0.01)):
        store.commit(record)
    return store


@pytest.fixture(scope="session")
def tiny_site(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of `tiny_store`; tests copy it."""
    out = tmp_path_factory.mktemp("tiny") / "site"
    build(tiny_store, out, jobs=1)
    return out


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three models with profiles and circuits of two tasks; one by position and on text too."""
    store = open_store(tmp_path_factory.mktemp("wiki") / "store", mode="write")
    by_position = SHAPES[1]
    for record in wiki_store.records(SHAPES, TASKS, (0.1, 0.03, 0.01)):
        spec = record.spec
        is_ioi = (spec.model, spec.task) == (by_position.ref, "ioi")
        has_spans = is_ioi and record.profile is not None
        store.commit(wiki_spans.with_attention(record, by_position) if has_spans else record)
    for record in wiki_spans.circuit_records(by_position, "ioi", (0.1, 0.03, 0.01)):
        store.commit(record)
    store.commit(text_record(by_position))
    return store


@pytest.fixture(scope="session")
def small_site(small_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of `small_store`, with two notes."""
    notes = tmp_path_factory.mktemp("notes") / "notes"
    (notes / "zoo-attn-2l").mkdir(parents=True)
    (notes / "zoo-attn-2l" / "a1.h3.md").write_text("Seen **often** in the paper.\n")
    (notes / "zoo-attn-2l" / "index.md").write_text("Two layers are enough.\n")
    out = tmp_path_factory.mktemp("wiki") / "site"
    build(small_store, out, notes=notes, jobs=1)
    return out


@pytest.fixture(scope="session")
def small_pages(small_site: Path) -> dict[str, Page]:
    """Every page of `small_site`."""
    return pages_of(small_site)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    playwright.expect.set_options(timeout=BUSY)
    with playwright.sync_playwright() as drive:
        program = chromium_at(drive)
        if program is None:
            pytest.skip("no chromium (Debian: apt-get install chromium; or: playwright install)")
        running = drive.chromium.launch(executable_path=program, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def roots(small_site: Path) -> Iterator[dict[str, str]]:
    with site_server(small_site, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        http = f"http://127.0.0.1:{server.server_port}/"
        yield {"file": f"{small_site.as_uri()}/", "http": http}
        server.shutdown()
        thread.join()


@pytest.fixture
def tab(browser: Any, roots: dict[str, str]) -> Iterator[Callable[..., Tab]]:
    """Makes tabs; at the end of the test none of them may have anything to complain about."""
    made: list[tuple[Any, Tab]] = []

    def make(scheme: str = "file", **options: Any) -> Tab:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        context.set_default_timeout(BUSY)
        found = Tab(context.new_page(), roots[scheme])
        watch(found)
        made.append((context, found))
        return found

    yield make
    for context, found in made:
        context.close()
        assert found.complaints == []
