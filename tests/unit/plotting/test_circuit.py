from __future__ import annotations

import itertools
import random
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from acdc_pipeline.graph import INPUT, LOGITS, Circuit, Edge, Topology
from acdc_pipeline.plotting.circuit import draw_circuit, select_edges
from acdc_pipeline.plotting.circuit_layout import NODE_HEIGHT, layout_circuit
from tests.strategies import circuits
from tests.support import print_elsewhere

SVG = "{http://www.w3.org/2000/svg}"
INDUCTION = Circuit.of(
    Topology(2, 8, has_mlp=False),
    [
        "input->a0.h3<k>",
        "input->a0.h3<v>",
        "a0.h3->a1.h5<k>",
        "input->a1.h5<q>",
        "input->a1.h5<v>",
        "a1.h5->logits",
    ],
)


def full_gpt2(scored: bool) -> Circuit:
    topology = Topology(12, 12, has_mlp=True)
    draw = random.Random(0)
    scores = {edge: draw.gauss(0, 1) for edge in topology.edges} if scored else {}
    return Circuit(topology, topology.edge_set, scores)


def drawn(svg: str) -> list[str]:
    """Names of the edges drawn, with their scores."""
    return [
        path[0].text or "" for path in ElementTree.fromstring(svg).iter(f"{SVG}path") if len(path)
    ]


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@given(circuits())
@settings(max_examples=50)
def test_drawing_names_every_kept_edge_and_every_node_it_touches(circuit: Circuit):
    svg = draw_circuit(circuit, title="t")
    assert sorted(says.split("  ")[0] for says in drawn(svg)) == sorted(map(str, circuit.edges))
    assert {str(n) for n in (*circuit.nodes, INPUT, LOGITS)} <= set(texts(svg))


@given(circuits())
@settings(max_examples=50)
def test_drawing_places_nodes_apart_with_edges_running_up_between_them(circuit: Circuit):
    edges = select_edges(circuit)
    figure = layout_circuit(circuit.topology, edges)
    for row in figure.rows:
        placed = sorted(row.nodes, key=figure.x.__getitem__)
        for a, b in itertools.pairwise(placed):
            assert figure.x[b] - figure.x[a] > (figure.widths[a] + figure.widths[b]) / 2
    for edge, path in zip(edges, figure.paths, strict=True):
        assert path[0][1] == pytest.approx(figure.y[edge.src] - NODE_HEIGHT / 2)
        assert path[-1][1] == pytest.approx(figure.y[edge.dst] + NODE_HEIGHT / 2)
        assert abs(path[-1][0] - figure.x[edge.dst]) < figure.widths[edge.dst] / 2
        assert abs(path[0][0] - figure.x[edge.src]) < figure.widths[edge.src] / 2
        assert all(above[1] < below[1] for below, above in itertools.pairwise(path))
        for x, y in path[1:-1]:
            beside = [n for n in figure.x if figure.y[n] == y]
            assert all(abs(figure.x[n] - x) > figure.widths[n] / 2 for n in beside)
    assert all(0 < x < figure.width for path in figure.paths for x, _ in path)


def heights(circuit: Circuit) -> dict[str, float]:
    return {str(n): y for n, y in layout_circuit(circuit.topology, select_edges(circuit)).y.items()}


def test_drawing_has_the_input_at_the_bottom_and_a_sequential_mlp_above_its_heads():
    y = heights(Circuit.full(Topology(2, 2, has_mlp=True)))
    rows = ["input", "a0.h0", "m0", "a1.h0", "m1", "logits"]
    assert sorted(rows, key=y.__getitem__, reverse=True) == rows
    assert y["a0.h0"] == y["a0.h1"]


def test_drawing_has_a_parallel_mlp_beside_its_heads():
    y = heights(Circuit.full(Topology(2, 2, has_mlp=True, parallel=True)))
    assert y["m0"] == y["a0.h0"] == y["a0.h1"]


def test_drawing_is_the_same_bytes_in_another_process():
    code = (
        "import sys; from tests.unit.plotting.test_circuit import full_gpt2;"
        "from acdc_pipeline.plotting.circuit import draw_circuit;"
        "sys.stdout.write(draw_circuit(full_gpt2(True), title='t'))"
    )
    there = print_elsewhere(code)
    assert there == draw_circuit(full_gpt2(True), title="t").encode()
    assert there.startswith(b"<svg")


def test_drawing_of_too_many_edges_takes_the_strongest_and_says_so():
    circuit = full_gpt2(scored=True)
    svg = draw_circuit(circuit, title="t")
    by_effect = sorted(circuit.edges, key=lambda edge: -abs(circuit.scores[edge]))
    assert {says.split("  ")[0] for says in drawn(svg)} == {str(e) for e in by_effect[:300]}
    assert "Drawn: the 300 edges with the largest |score|." in " ".join(texts(svg))


def test_drawing_of_too_many_edges_without_scores_takes_those_nearest_the_logits():
    svg = draw_circuit(full_gpt2(scored=False), title="t")
    names = drawn(svg)
    # Every source reaches the logits: 1 + 12 * 13 edges; they come before any other.
    assert sum(name.endswith("->logits") for name in names) == 157
    assert len(names) == 300
    assert "Drawn: the 300 edges nearest the logits." in " ".join(texts(svg))


def test_drawing_caption_counts_edges_and_nodes():
    # 3 * 8 receivers a layer see 1 and 9 sources, the logits 17: 24 + 216 + 17 edges.
    assert "6 of 257 edges kept (2.3%), 4 of 18 nodes." in texts(
        draw_circuit(INDUCTION, title="Induction")
    )


def test_drawing_legend_explains_what_is_there_and_nothing_else():
    plain = texts(draw_circuit(INDUCTION, title="t"))
    assert {"into q", "into k", "into v", "into MLP or logits"} <= set(plain)
    assert not any("score" in text or "path" in text for text in plain)
    edge = Edge.parse("a1.h5->logits")
    dangling = Circuit.of(INDUCTION.topology, ["a0.h0->a1.h1<q>", edge], {edge: -0.5})
    shown = texts(draw_circuit(dangling, title="t"))
    assert {"|score| 0.5", "on no path from input to logits"} <= set(shown)
    assert "into v" not in shown


def test_drawing_tooltips_carry_scores_and_degrees():
    edge = Edge.parse("a1.h5->logits")
    scored = Circuit(INDUCTION.topology, INDUCTION.edges, {edge: -0.123456})
    svg = draw_circuit(scored, title="t")
    assert "a1.h5->logits  score -0.1235" in drawn(svg)
    assert "a1.h5: 3 in, 1 out" in [
        title.text for title in ElementTree.fromstring(svg).iter(f"{SVG}title")
    ]


def test_drawing_strong_edges_are_wider_and_darker_than_weak_ones():
    strong, weak = Edge.parse("input->a0.h3<v>"), Edge.parse("input->a0.h3<k>")
    circuit = Circuit(INDUCTION.topology, INDUCTION.edges, {strong: -1.0, weak: 0.01})
    root = ElementTree.fromstring(draw_circuit(circuit, title="t"))
    pens = {
        (path[0].text or "").split("  ")[0]: (
            float(path.get("stroke-width", "")),
            float(path.get("opacity", "")),
        )
        for path in root.iter(f"{SVG}path")
        if len(path)
    }
    assert pens[str(strong)] > pens[str(weak)]
    assert pens[str(strong)][1] > pens[str(weak)][1]


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "a & b \"c\" 'd'", "\x00\x1b[31m\ud800\uffff", "]]>"]
)
def test_drawing_with_hostile_text_is_harmless_and_well_formed(hostile: str):
    svg = draw_circuit(INDUCTION, title=hostile, subtitle=hostile)
    root = ElementTree.fromstring(svg.encode())
    assert not list(root.iter(f"{SVG}script"))
    readable = re.sub("[\x00\x1b\ud800\uffff]", "\ufffd", hostile)
    assert root.get("aria-label", "").startswith(readable)


def test_drawing_stands_alone_and_follows_the_readers_scheme():
    svg = draw_circuit(full_gpt2(scored=True), title="t")
    assert re.findall(r"(?:https?:)?//[\w.]+", svg) == ["http://www.w3.org"]
    assert "prefers-color-scheme:dark" in svg
    assert 'role="img"' in svg


def test_drawing_long_titles_are_wrapped_and_none_is_lost():
    title = "word " * 60
    lines = texts(draw_circuit(INDUCTION, title=title, subtitle="below"))
    words = " ".join(line for line in lines if line.startswith("word"))
    assert words == title.strip()
    assert "below" in lines


def test_drawing_of_an_empty_circuit_shows_input_and_logits():
    svg = draw_circuit(Circuit.of(INDUCTION.topology, []), title="Nothing")
    assert {"input", "logits", "0 of 257 edges kept (0%), 0 of 18 nodes."} <= set(texts(svg))
