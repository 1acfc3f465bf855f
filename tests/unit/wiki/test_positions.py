"""Circuits by position: their pages, what is said of heads, and published positions."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from acdc_pipeline.graph import Circuit, Edge
from acdc_pipeline.specs import ReferenceCircuit
from acdc_pipeline.store import RunRecord, Store, open_store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.runs import read_store
from acdc_pipeline.wiki.site import make_site
from acdc_pipeline.wiki.tasks import Task, find_claims
from tests import wiki_spans, wiki_store
from tests.wiki_pages import LARGEST_HEAD_PAGE, broken_links, pages_of

SHAPE = wiki_store.Shape("zoo:gpt2-4l-s0", 3, 3, 64)
SLUG = "zoo-gpt2-4l-s0"
THRESHOLDS = (0.1, 0.01)


def records() -> dict[str, RunRecord]:
    """A profile, and circuits of one task with and without positions."""
    found = {}
    for record in wiki_store.records([SHAPE], ("ioi",), THRESHOLDS):
        if record.circuit is None:
            found["profile"] = wiki_spans.with_attention(record, SHAPE)
        else:
            found[f"plain {record.spec.method.plain()['threshold']}"] = record
    for record in wiki_spans.circuit_records(SHAPE, "ioi", THRESHOLDS):
        found[f"spans {record.spec.method.plain()['threshold']}"] = record
    return found


RECORDS = records()


def store_at(folder: Path, chosen: Mapping[str, RunRecord]) -> Store:
    store = open_store(folder, mode="write")
    for record in chosen.values():
        store.commit(record)
    return store


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spans")
    build(store_at(folder / "store", RECORDS), folder / "site", jobs=1)
    return folder / "site"


def circuit_of(name: str) -> Circuit:
    circuit = RECORDS[name].circuit
    assert circuit is not None
    return circuit


def rows_of(page: str, anchor: str) -> list[list[str]]:
    """The cells of the first table behind a heading, as text."""
    body = page.split(f'id="{anchor}"')[1].split("<tbody>")[1].partition("</table>")[0]
    return [
        [unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in re.split(r"<t[dh][^>]*>", row)]
        for row in re.split(r"<tr[^>]*>", body)[1:]
    ]


def test_page_by_position_lists_every_edge_with_its_span_and_compares_with_the_plain_one(
    site: Path,
):
    page = (site / f"t/ioi/spans/{SLUG}.html").read_text()
    rows = rows_of(page, "edges")
    names = [
        f"{src}->{dst}{f'<{slot}>' if slot else ''}@{at}" for _, src, dst, slot, at, *_ in rows
    ]
    assert sorted(names) == sorted(map(str, circuit_of("spans 0.01").edges))
    smallest, largest = circuit_of("plain 0.1").edges, circuit_of("plain 0.01").edges
    for name, row in zip(names, rows, strict=True):
        whole = replace(Edge.parse(name), span=None)
        assert row[7] == ("0.1" if whole in smallest else "0.01" if whole in largest else "–")
    compared = rows_of(page, "positions")
    for threshold, row in zip(THRESHOLDS, compared, strict=True):
        ours, theirs = circuit_of(f"spans {threshold}"), circuit_of(f"plain {threshold}")
        whole = ours.collapse().edges
        counts = (len(ours), len(whole & theirs.edges), len(whole - theirs.edges))
        assert row[1] == f"τ = {threshold:g}"
        assert [int(cell) for cell in row[2:6]] == [*counts, len(theirs.edges - whole)]
        assert f"{len(ours)} edges" in page
        assert f"{len(whole)} edges over components" in page


def test_every_circuit_is_drawn_as_if_it_were_alone(site: Path):
    page = (site / f"t/ioi/spans/{SLUG}.html").read_text()
    drawn = re.findall(
        r'<g class="edge [^"]*" data-at="(\d+)" data-s="([^"]+)" data-d="([^"]+)"><title>([^ <]+)'
        r'[^<]*</title><path (?:class="(?:dead)?" data-dead="(\d+)")?',
        page,
    )
    some_dead = False
    for index, threshold in enumerate(THRESHOLDS):
        circuit = circuit_of(f"spans {threshold}")
        lines = {(unescape(e), s, d) for at, s, d, e, _ in drawn if at[index] == "1"}
        dead = {unescape(e) for *_, e, at in drawn if at and at[index] == "1"}
        assert dead == set(map(str, circuit.edges - circuit.live_edges))
        some_dead |= bool(dead)
        # by hand: an edge into a key or value goes to its head wherever that is read and sees it
        expected = set()
        for edge in circuit.edges:
            start = f"{edge.src}@{edge.span}"
            spans = {edge.span}
            if edge.slot in ("k", "v"):
                read = {other.span for other in circuit.edges if other.src == edge.dst}
                seeing = {s for s in read if s and edge.span in circuit.topology.visible[s]}
                spans = seeing or spans
            expected |= {(str(edge), start, f"{edge.dst}@{span}") for span in spans}
        assert lines == expected
    assert some_dead == ("on no path from input to logits</span>" in page)
    assert some_dead


def test_pages_link_to_each_other_and_stay_small(site: Path):
    pages = pages_of(site)
    assert broken_links(site, pages) == []
    spans = f"t/ioi/spans/{SLUG}.html"
    for name in (f"t/ioi/{SLUG}.html", f"m/{SLUG}/index.html", "t/ioi/index.html"):
        assert any(
            value.endswith(spans.removeprefix("t/ioi/")) for *_, value in pages[name].addresses
        )
    assert any(value == f"../../../t/ioi/{SLUG}.html" for *_, value in pages[spans].addresses)
    sizes = [path.stat().st_size for path in site.glob("m/*/a*.html")]
    assert max(sizes) < LARGEST_HEAD_PAGE


def test_every_claim_about_where_a_head_reads_and_writes_follows_from_the_circuit(site: Path):
    plain = RECORDS["profile"].profile or {}
    spans = plain["span_attention"]["spans"]
    claims = 0
    for path in sorted(site.glob(f"m/{SLUG}/a*.html")):
        head, page = path.stem, path.read_text()
        if 'id="where"' not in page:
            assert not any(head in (str(e.src), str(e.dst)) for e in circuit_of("spans 0.01").edges)
            continue
        text = page.split('id="where"')[1].partition("</dl>")[0]
        ((threshold, says),) = re.findall(r"τ = ([\d.]+)</small><dd>(.*?)</div>", text)
        edges = circuit_of(f"spans {threshold}").live_edges
        encoded = base64.b64decode(plain["span_attention"]["weights"][head])
        weights = np.frombuffer(encoded, np.uint8).reshape(len(spans), len(spans))
        written = {edge.span for edge in edges if str(edge.src) == head}
        named = set()
        says = re.sub(r"</?code>", "", says)  # the names of spans
        for part in unescape(says).removesuffix(".").split("; "):
            if part.startswith("it also writes at "):
                named |= set(re.split(r", | and ", part.removeprefix("it also writes at ")))
                continue
            if part == "It is on no path from input to logits":
                continue
            at = re.match(r"[Aa]t (\S+) it reads", part)
            assert at is not None
            named.add(at[1])
            for key, slots, share in re.findall(
                r"(\S+)’s (key and value|key|value) \(([\d.]+)\s%", part
            ):
                reached = {e.slot for e in edges if str(e.dst) == head and e.span == key}
                expected = [
                    word for word, slot in (("key", "k"), ("value", "v")) if slot in reached
                ]
                assert slots == " and ".join(expected)
                value = weights[spans.index(at[1]), spans.index(key)] / 255
                assert float(share) == pytest.approx(100 * value, abs=0.5)
                claims += 1
            for source in re.findall(r"with a query from (\S+?),? ", part):
                assert Edge.parse(f"{source}->{head}<q>@{at[1]}") in edges
            for reader in re.findall(r"writes to (\S+?)(?:,| and |$)", part):
                assert Edge.parse(f"{head}->{reader}@{at[1]}") in edges
        assert named == written
    assert claims > 5


def test_data_has_the_spans_and_the_counts_over_components(site: Path):
    table = pq.read_table(site / f"data/{SLUG}.edges.parquet").to_pylist()
    largest = [row for row in table if row["span"] and row["threshold"] == 0.01]
    names = {
        f"{r['src']}->{r['dst']}{'<' + r['slot'] + '>' if r['slot'] else ''}@{r['span']}"
        for r in largest
    }
    assert names == set(map(str, circuit_of("spans 0.01").edges))
    assert any(row["span"] is None for row in table)


def test_store_of_circuits_by_position_alone_shows_them_on_the_page_of_the_task(tmp_path: Path):
    chosen = {name: record for name, record in RECORDS.items() if name.startswith("spans")}
    build(store_at(tmp_path / "store", chosen), tmp_path / "site", jobs=1)
    page = (tmp_path / f"site/t/ioi/{SLUG}.html").read_text()
    assert not (tmp_path / "site/t/ioi/spans").exists()
    assert "over components" in page
    assert "With and without positions" not in page
    assert broken_links(tmp_path / "site", pages_of(tmp_path / "site")) == []


def test_cached_summary_of_a_circuit_by_position_makes_the_same_pages(tmp_path: Path, site: Path):
    store = store_at(tmp_path / "store", RECORDS)
    build(store, tmp_path / "site", jobs=1)
    built = build(store, tmp_path / "site", jobs=1)
    assert built.written == 0
    page = f"t/ioi/spans/{SLUG}.html"
    assert (tmp_path / "site" / page).read_bytes() == (site / page).read_bytes()


def test_search_that_kept_no_edge_stands_behind_the_most_faithful_circuit(tmp_path: Path):
    plain = RECORDS["plain 0.01"]
    assert plain.circuit is not None
    empty = replace(plain, circuit=Circuit(plain.circuit.topology, frozenset(), {}))
    others = {
        f"seed {seed}": replace(
            plain,
            spec=plain.spec.model_copy(update={"seed": seed}),
            metrics={**plain.metrics, "kl": kl},
        )
        for seed, kl in ((1, 1.0), (2, 0.5))
    }
    (model,) = make_site(read_store(store_at(tmp_path, {"empty": empty, **others}))).models
    first, *rest = model.circuits["ioi"]
    assert first.spec.seed == 2
    assert {series.spec.seed for series in rest} == {0, 1}


def claims_of(model: Model, at: str, reads: str, head: str) -> list[tuple[str, str]]:
    place = tuple(map(int, re.findall(r"\d+", head)))
    group = {"heads": [list(place)], "at": [at], "reads": [reads]}
    published = {"model": SHAPE.ref, "source": "Somebody 2022", "groups": {"mover": group}}
    task = Task("ioi", "ioi", "IOI", reference=ReferenceCircuit.model_validate(published))
    (claim,) = find_claims(model, [task])[place[0], place[1]]
    assert claim.text.endswith(f"as mover at {at} reading {reads}")
    return [(found.verdict, re.sub("</?code>", "", found.text)) for found in claim.findings]


def test_published_positions_are_compared_with_the_circuit_by_position(tmp_path: Path):
    (model,) = make_site(read_store(store_at(tmp_path / "a", RECORDS))).models
    series = model.circuits["ioi"][-1]
    edges = circuit_of(f"spans {THRESHOLDS[series.first_shown]}").live_edges
    heads = {str(e.src) for e in edges if e.src.kind == "head"}
    seen = set()
    for head in sorted(heads):
        written = {e.span for e in edges if str(e.src) == head}
        reads = {e.span for e in edges if str(e.dst) == head and e.slot in ("k", "v")}
        for at in wiki_spans.SPANS:
            for key in wiki_spans.SPANS[: wiki_spans.SPANS.index(at) + 1]:
                verdict, text = claims_of(model, at, key, head)[-1]
                agrees = at in written and key in reads
                assert verdict == ("agrees" if agrees else "disagrees"), text
                seen.add(agrees)
                assert (
                    f"in the circuit by position, τ = {series.cuts[series.first_shown].label}"
                    in text
                )
    assert seen == {True, False}
    chosen = {name: record for name, record in RECORDS.items() if name.startswith("plain")}
    (plain,) = make_site(read_store(store_at(tmp_path / "b", chosen))).models
    assert claims_of(plain, "END", "S2", "a1.h1")[-1] == (
        "not tested",
        "where it reads and writes: no circuit by position was searched for here",
    )
