"""What the circuits of two models share, by edge and by role."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from acdc_pipeline.errors import UnknownName
from acdc_pipeline.graph import Circuit, Topology, head
from acdc_pipeline.plotting.overlap import OverlapRow, draw_overlap
from acdc_pipeline.regression.pair import (
    NO_ROLE,
    Overlap,
    pair_runs,
    roles_in,
    runs_by_settings,
    runs_of,
)
from acdc_pipeline.store import RunRecord, open_store
from tests import records
from tests.command_line import acdc
from tests.regressions import EDGES, record

MOVER = {head(1, 0): frozenset({"name mover (ioi)"})}


def of(model: str, edges: tuple[str, ...] = EDGES, revision: str = "9" * 40) -> RunRecord:
    """A run in a model of another name."""
    made = record(edges)
    named = {"model": model, "model_revision": revision}
    return replace(made, spec=made.spec.model_copy(update=named))


def test_pair_shared_edges_are_counted_by_hand():
    pair = pair_runs(of("zoo:a"), of("zoo:b", (*EDGES[:4], "a1.h1->logits")), None, None)
    assert pair.edges == Overlap(("input->logits",), tuple(sorted(EDGES[:4])), ("a1.h1->logits",))
    assert pair.edges is not None
    assert pair.edges.jaccard == pytest.approx(4 / 6)
    assert pair.roles is None


def test_pair_edges_by_role_meet_where_the_heads_have_other_names():
    a = of("zoo:a", ("input->a1.h0<v>", "a1.h0->logits"))
    b = of("zoo:b", ("input->a0.h1<v>", "a0.h1->logits"))
    pair = pair_runs(a, b, MOVER, {head(0, 1): frozenset({"name mover (ioi)"})})
    assert pair.edges is not None
    assert pair.edges.jaccard == 0
    assert pair.role_edges is not None
    assert pair.role_edges.both == ("input -> name mover (ioi)<v>", "name mover (ioi) -> logits")
    assert pair.roles == Overlap((), ("name mover (ioi)",), ())


def test_pair_head_without_a_role_is_called_so():
    pair = pair_runs(of("zoo:a"), of("zoo:b"), {}, {})
    assert pair.role_edges is not None
    assert f"{NO_ROLE} -> {NO_ROLE}<k>" in pair.role_edges.both


def test_pair_of_different_shapes_has_roles_alone():
    wide = Circuit.of(Topology(2, 4, has_mlp=False), ["input->a1.h3<v>", "a1.h3->logits"])
    b = replace(of("zoo:b"), circuit=wide)
    pair = pair_runs(of("zoo:a"), b, MOVER, {head(1, 3): frozenset({"name mover (ioi)"})})
    assert pair.edges is None
    assert pair.roles == Overlap((), ("name mover (ioi)",), ())


def test_roles_in_no_profile_are_unknown_and_in_an_empty_one_are_none():
    assert roles_in([replace(record(), profile=None)]) is None
    assert roles_in([records.record()]) == {}


def test_runs_of_a_model_of_two_revisions_asks_which(tmp_path: Path):
    store = open_store(tmp_path / "s", "write")
    for revision in ("3f" + "0" * 38, "90" + "0" * 38):
        store.commit(of("zoo:a", revision=revision))
    summaries = store.summaries()
    with pytest.raises(UnknownName, match="2 revisions"):
        runs_of(summaries, "zoo:a", {"zoo:a"})
    (found,) = runs_of(summaries, "zoo:a@3f", {"zoo:a"})
    assert found.spec.model_revision.startswith("3f")
    with pytest.raises(UnknownName, match="unknown model"):
        runs_of(summaries, "zoo:b", {"zoo:a"})
    first, second = (
        runs_by_settings(runs_of(summaries, f"zoo:a@{r}", {"zoo:a"})) for r in ("3f", "90")
    )
    assert set(first) == set(second)


def test_figure_is_well_formed_and_says_the_counts():
    pair = pair_runs(of("zoo:a<"), of("zoo:b", EDGES[:3]), MOVER, MOVER)
    assert pair.edges is not None
    assert pair.role_edges is not None
    row = OverlapRow(pair.label, pair.edges.counts, pair.role_edges.counts)
    text = draw_overlap("zoo:a<", "zoo:b", [row])
    ElementTree.fromstring(text)
    assert "2 | 3 | 0 edges" in text
    assert text == draw_overlap("zoo:a<", "zoo:b", [row])


def test_runs_compare_prints_draws_and_documents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store = open_store(tmp_path / "s", "write")
    store.commit(of("zoo:a"))
    store.commit(of("zoo:b", EDGES[:4], revision="8" * 40))
    asked = ("runs", "compare", "--model", "zoo:a", "--model", "zoo:b", "--store", tmp_path / "s")
    outcome = acdc(capsys, *asked, "--svg", tmp_path / "shared.svg")
    assert outcome.code == 0, outcome.err
    assert "0.800" in outcome.out
    ElementTree.parse(tmp_path / "shared.svg")
    document = acdc(capsys, *asked, "--json").document
    assert document["same_shape"]
    assert document["pairs"][0]["edges"]["only_a"] == ["input->logits"]
    acdc(capsys, *asked, "--svg", tmp_path / "shared.svg").refuses("exists already")
    acdc(capsys, *asked[:4], "--store", tmp_path / "s").refuses("two models")


def test_runs_compare_of_two_runs_names_what_each_has_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store = open_store(tmp_path / "s", "write")
    first, second = of("zoo:a"), of("zoo:b", (*EDGES[:4], "a1.h1->logits"), revision="8" * 40)
    for one in (first, second):
        store.commit(one)
    runs = [one.spec.run_id() for one in (first, second)]
    where = ("--store", tmp_path / "s")
    shown = acdc(capsys, "runs", "compare", runs[0], runs[1][:8], *where)
    assert shown.code == 0, shown.err
    lines = {line[:6].strip(): line[8:] for line in shown.out.splitlines()}
    assert lines["only A"] == "input->logits"
    assert lines["only B"] == "a1.h1->logits"
    assert set(lines["both"].split(", ")) == set(EDGES[:4])
    document = acdc(capsys, "runs", "compare", *runs, *where, "--json").document
    assert document["pairs"][0]["runs"] == runs
    assert document["pairs"][0]["edges"]["only_b"] == ["a1.h1->logits"]
    acdc(capsys, "runs", "compare", runs[0], *where).refuses("two runs, RUN RUN")


def test_runs_compare_of_two_empty_circuits_names_no_edge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store = open_store(tmp_path / "s", "write")
    runs = [of("zoo:a", ()), of("zoo:b", (), revision="8" * 40)]
    for one in runs:
        store.commit(one)
    ids = [one.spec.run_id() for one in runs]
    shown = acdc(capsys, "runs", "compare", *ids, "--store", tmp_path / "s")
    assert shown.code == 0, shown.err
    assert ids[0][:8] in shown.out
    assert "strongest" not in shown.out


def test_pair_of_other_positions_is_compared_by_component_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    plain = of("zoo:a")
    assert plain.circuit is not None
    spans = {"spans": ("S", "END"), "answer_spans": ("END",), "sees": ("S", "S END")}
    topology = replace(plain.circuit.topology, **spans)
    edges = [f"{edge}@{span}" for edge in EDGES[:3] for span in topology.spans[1:]]
    positional = replace(
        plain,
        spec=plain.spec.model_copy(update={"positions": "spans", "spans_hash": "5" * 64}),
        circuit=Circuit.of(topology, edges),
        decisions=(),
        details={"d_model": 8},
    )
    pair = pair_runs(positional, plain, None, None)
    assert pair.edges == Overlap((), tuple(sorted(EDGES[:3])), tuple(sorted(EDGES[3:])))
    assert pair.without_positions
    assert "positions spans" in pair.label
    store = open_store(tmp_path / "s", "write")
    for one in (plain, positional):
        store.commit(one)
    ids = [one.spec.run_id() for one in (plain, positional)]
    shown = acdc(capsys, "runs", "compare", *ids, "--store", tmp_path / "s")
    assert "compared without them" in shown.err
    assert "positions" in shown.out
    exported = acdc(capsys, "runs", "export", ids[1], "--format", "mib-json", "--store", store.url)
    assert "3 edges in spans are written as 3 edges between components" in exported.err


def _in_spans(model: str, spans: tuple[str, ...], edges: tuple[str, ...]) -> RunRecord:
    made = of(model, revision=model[-1] * 40)
    assert made.circuit is not None
    sees = tuple(" ".join(spans[: i + 1]) for i in range(len(spans)))
    topology = replace(made.circuit.topology, spans=spans, answer_spans=("END",), sees=sees)
    return replace(
        made,
        spec=made.spec.model_copy(update={"positions": "spans", "spans_hash": "5" * 64}),
        circuit=Circuit.of(topology, edges),
        decisions=(),
        details={"d_model": 8},
    )


def test_pair_of_models_with_spans_is_compared_by_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The spans stand in another order, and one of them has no prompt in the other model."""
    a = _in_spans(
        "zoo:a",
        ("IO", "S", "END"),
        ("input->a1.h0<v>@S", "input->a1.h0<v>@IO", "input->a0.h0<q>@S", "a1.h0->logits@END"),
    )
    b = _in_spans(
        "zoo:b",
        ("S", "IO", "rest", "END"),
        ("input->a1.h0<v>@S", "input->a1.h0<v>@rest", "a1.h0->logits@END"),
    )
    pair = pair_runs(a, b, MOVER, MOVER)
    assert not pair.without_positions
    assert pair.edges is not None
    assert pair.edges.counts == (2, 2, 1)
    assert {name: part.counts for name, part in pair.spans.items()} == {
        "IO": (1, 0, 0),
        "S": (1, 1, 0),
        "END": (0, 1, 0),
        "rest": (0, 0, 1),
    }
    assert pair.role_edges is not None
    assert "input -> name mover (ioi)<v>@IO" in pair.role_edges.only_a
    wide = replace(b, circuit=None if b.circuit is None else _widened(b.circuit))
    other = pair_runs(a, wide, MOVER, MOVER)
    assert other.edges is None
    assert other.spans["S"].both == ("input -> name mover (ioi)<v>@S",)
    store = open_store(tmp_path / "s", "write")
    for one in (a, b):
        store.commit(one)
    ids = [one.spec.run_id() for one in (a, b)]
    shown = acdc(capsys, "runs", "compare", *ids, "--store", store.url)
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["S", "1", "1", "0", "0.500"] in rows
    document = acdc(capsys, "runs", "compare", *ids, "--store", store.url, "--json").document
    assert document["pairs"][0]["spans"]["S"]["only_a"] == ["input->a0.h0<q>@S"]


def _widened(circuit: Circuit) -> Circuit:
    return Circuit(replace(circuit.topology, n_heads=3), circuit.edges)


def test_pair_of_different_questions_is_labelled_with_both():
    a, b = of("zoo:a"), of("zoo:a")
    other = b.spec.model_copy(
        update={"method": b.spec.method.model_copy(update={"threshold": 0.5})}
    )
    threshold = a.spec.method.plain()["threshold"]
    pair = pair_runs(a, replace(b, spec=other), None, None)
    assert pair.label == f"ioi, acdc {threshold:g} and ioi, acdc 0.5"
    assert pair_runs(a, a, None, None).label == f"ioi, acdc {threshold:g}"
