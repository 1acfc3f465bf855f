"""What the runs of each day added: against a plain comparison of two sites, and the feeds of it."""

from __future__ import annotations

import dataclasses
import os
import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from acdc_pipeline.graph import Circuit
from acdc_pipeline.store import Store, layout, open_store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.history.changes import Change
from acdc_pipeline.wiki.history.feeds import atom, feed_document, versions_document, with_address
from acdc_pipeline.wiki.runs import read_store
from acdc_pipeline.wiki.site import Site, make_site
from tests import wiki_store
from tests.wiki_store import Shape

SHAPE = Shape("zoo:gpt2-4l-s0", 2, 2, 128)
OTHER = Shape("zoo:attn-2l", 2, 2, 64, has_mlp=False)
DAYS = (date(2026, 3, 1), date(2026, 3, 5))


def set_day(store: Store, run_id: str, day: date) -> None:
    time = datetime(day.year, day.month, day.day, 13, tzinfo=UTC).timestamp()
    assert store.folder is not None
    marker = Path(store.folder) / layout.RUNS / run_id / layout.MARKER
    os.utime(marker, (time, time))


def site_of(store: Store) -> Site:
    return make_site(read_store(store, environment={}))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """A store on the first day, and the same with a second model and a search again on another."""
    folder = tmp_path_factory.mktemp("history")
    first = open_store(folder / "first", mode="write")
    runs = list(wiki_store.records((SHAPE,), ("ioi",), (0.1, 0.01)))
    for record in runs:
        first.commit(record)
        set_day(first, record.spec.run_id(), DAYS[0])
    shutil.copytree(folder / "first", folder / "second")
    second = open_store(folder / "second", mode="write")
    for run_id in second.run_ids():
        set_day(second, run_id, DAYS[0])
    large = next(r for r in runs if getattr(r.spec.method, "threshold", None) == 0.01)
    assert large.circuit is not None
    edges = sorted(large.circuit.edges, key=str)
    absent = sorted(SHAPE.topology.edge_set - large.circuit.edges, key=str)[:2]
    kept = frozenset([*edges[3:], *absent])
    again = dataclasses.replace(
        large,
        spec=large.spec.model_copy(update={"seed": 7}),
        circuit=Circuit(SHAPE.topology, kept, dict.fromkeys(kept, 0.02)),
    )
    for record in (again, *wiki_store.records((OTHER,), ("ioi",), (0.1,))):
        second.commit(record)
        set_day(second, record.spec.run_id(), DAYS[1])
    return first, second


@pytest.fixture(scope="module")
def changes(stores: tuple[Store, Store]) -> tuple[Change, ...]:
    return site_of(stores[1]).changes


def test_versions_of_a_day_are_those_that_a_site_built_then_would_have(
    stores: tuple[Store, Store], changes: tuple[Change, ...]
):
    then, now = map(site_of, stores)
    by = {(change.day, change.title): change for change in changes}
    assert set(by) == {(DAYS[1], OTHER.ref), (DAYS[1], SHAPE.ref), (DAYS[0], SHAPE.ref)}
    assert by[DAYS[0], SHAPE.ref].version == then.models[0].data_version
    assert by[DAYS[0], SHAPE.ref].site_version == then.version
    for model in now.models:
        assert by[DAYS[1], model.title].version == model.data_version
        assert by[DAYS[1], model.title].site_version == now.version
    assert [change.is_new for change in changes] == [True, False, True]
    # what was known on the first day is told alike on every later one
    assert changes[2] == then.changes[0]


def test_roles_and_circuits_are_compared_with_the_day_before(
    stores: tuple[Store, Store], changes: tuple[Change, ...]
):
    then = site_of(stores[0]).models[0]
    gained = {
        f"a{layer}.h{head}": tuple((role.role, role.on) for role in held)
        for (layer, head), held in then.roles.items()
    }
    assert changes[2].gained == gained
    assert (changes[1].gained, changes[1].lost, changes[1].profiles) == ({}, {}, ())
    (again,) = changes[1].circuits
    assert (again.added, again.removed) == (2, 3)
    before = next(c for c in changes[2].circuits if c.size == 0.01)
    assert again.compared_with == before.run_id
    assert again.edges == before.edges - 1
    assert all(circuit.compared_with is None for circuit in changes[2].circuits)


def test_changes_do_not_depend_on_which_sites_were_built_before(
    stores: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    build(stores[0], tmp_path / "grown", jobs=1)
    build(stores[1], tmp_path / "grown", jobs=1)
    build(stores[1], tmp_path / "fresh", jobs=1)
    for name in ("changes.html", "feed.json", "feed.xml", "data/changes.json", "data/versions.js"):
        assert (tmp_path / "grown" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


def test_feeds_have_what_their_readers_need(changes: tuple[Change, ...]):
    relative = feed_document(changes)
    feed = with_address(relative, "https://example.org/wiki/")
    assert feed["version"] == "https://jsonfeed.org/version/1.1"
    assert all(
        {"id", "url", "title", "content_text", "date_published"} <= set(i) for i in feed["items"]
    )
    space = {"a": "http://www.w3.org/2005/Atom"}
    root = ElementTree.fromstring(atom(feed))
    for name in ("a:id", "a:title", "a:updated", "a:author/a:name"):  # RFC 4287, section 4.1.1
        assert len(root.findall(name, space)) == 1
    entries = root.findall("a:entry", space)
    assert len(entries) == len(changes) == 3
    links = [entry.find("a:link", space).get("href") for entry in entries]  # type: ignore[union-attr]
    assert links == [f"https://example.org/wiki/changes.html#v-{c.version}" for c in changes]
    assert len({entry.findtext("a:id", namespaces=space) for entry in entries}) == 3
    assert entries[0].findtext("a:updated", namespaces=space) == "2026-03-05T00:00:00Z"
    hostile = {**relative, "title": "a\x00b & <c>\ud800"}
    assert (
        ElementTree.fromstring(atom(hostile)).findtext("a:title", namespaces=space) == "a�b & <c>�"
    )


def test_versions_are_listed_from_the_newest(changes: tuple[Change, ...]):
    document = versions_document(changes)
    assert [day for _, day in document["site"]] == ["2026-03-05", "2026-03-01"]
    assert [day for _, day in document["models"]["zoo-gpt2-4l-s0"]] == ["2026-03-05", "2026-03-01"]
    assert len(document["models"]["zoo-attn-2l"]) == 1
