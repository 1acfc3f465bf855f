from __future__ import annotations

from xml.etree import ElementTree

import pytest

from acdc_pipeline.graph import Edge, Node, Topology
from acdc_pipeline.plotting.circuit_layout import CROWDED
from acdc_pipeline.plotting.circuit_series import LEGIBLE, SeriesEdge, draw_series

TOPOLOGY = Topology(2, 8, has_mlp=False)
EDGES = [
    SeriesEdge(Edge.parse("input->a0.h3<k>"), (False, True), 0.1),
    SeriesEdge(Edge.parse("a0.h3->a1.h5<k>"), (False, True), None),
    SeriesEdge(Edge.parse("a1.h5->logits"), (True, True), -0.5),
]


def test_series_links_nodes_that_have_a_page():
    def link(node: Node) -> str | None:
        return f"a{node.layer}.h{node.head}.html" if node.kind == "head" else None

    figure = draw_series(TOPOLOGY, EDGES, shown=0, label="label", link=link)
    root = ElementTree.fromstring(figure.svg)
    assert [a.get("href") for a in root.iter("a")] == ["a0.h3.html", "a1.h5.html"]
    assert (figure.drawn, figure.left_out) == (3, 0)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "a & b \"c\" 'd'", "\x00]]>"])
def test_series_with_hostile_text_is_harmless_and_well_formed(hostile: str):
    figure = draw_series(
        TOPOLOGY, EDGES, shown=1, label=hostile, link=lambda node: f'"><script>{hostile}'
    )
    assert not list(ElementTree.fromstring(figure.svg).iter("script"))


def test_series_hides_what_the_shown_circuit_does_not_contain():
    figure = draw_series(TOPOLOGY, EDGES, shown=0, label="label", link=lambda node: None)
    groups = ElementTree.fromstring(figure.svg).iter("g")
    hidden = [g.get("data-d") or g.get("data-n") for g in groups if "off" in str(g.get("class"))]
    assert hidden == ["a1.h5", "a0.h3", "input", "a0.h3"]


def test_level_of_a_crowded_figure_leaves_the_strongest_edges_of_the_circuit_shown():
    topology = Topology(20, 1, has_mlp=True)
    chosen = topology.edges[: 2 * CROWDED]
    scores = [((7 * number) % len(chosen)) / len(chosen) * (-1) ** number for number in range(240)]
    crowded = [SeriesEdge(e, (True,), s) for e, s in zip(chosen, scores, strict=True)]

    def level(edges: list[SeriesEdge]) -> int:
        return draw_series(topology, edges, shown=0, label="", link=lambda node: None).level

    # the drawing hides what is below that percentile of |score|, as its script computes it
    sizes = sorted(map(abs, scores))
    left = [
        sum(size >= sizes[at * (len(sizes) - 1) // 100] for size in sizes)
        for at in (level(crowded) - 1, level(crowded))
    ]
    assert left[1] <= LEGIBLE < left[0]
    assert level(crowded[:CROWDED]) == 0
    alike = [SeriesEdge(item.edge, (True,), 0.5) for item in crowded]
    assert level(alike) == 0
