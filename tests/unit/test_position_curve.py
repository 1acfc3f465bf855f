"""Sizes and the figure of circuits with and without positions."""

from __future__ import annotations

from xml.etree import ElementTree

from acdc_pipeline.graph import Circuit, Topology
from benchmarks.position_curve import carried
from benchmarks.position_figure import Curve, Panel, Point, draw

PLAIN = Topology(1, 2, has_mlp=True)
SPANS = Topology(
    1,
    2,
    has_mlp=True,
    spans=("bos", "S1", "END"),
    answer_spans=("END",),
    sees=("bos", "bos S1", "bos S1 END"),
)


def test_edge_without_a_span_is_carried_in_every_span_that_its_receiver_has():
    names = ["input->a0.h1<v>", "a0.h1->m0", "m0->logits"]
    plain = Circuit.of(PLAIN, names)
    same = [edge for edge in SPANS.edges if str(edge).partition("@")[0] in names]
    assert carried(plain, SPANS) == len(same) == 7
    assert carried(Circuit.of(SPANS, same), SPANS) == 7
    assert carried(Circuit(PLAIN, frozenset(PLAIN.edges)), SPANS) == SPANS.n_edges


def test_figure_has_a_dot_for_every_circuit_by_either_size():
    points = [Point(10, 0.01, 0.4), Point(30, 0.2, 0.9), Point(90, 0.5, 1.0)]
    panels = [
        Panel("a model", [Curve("without positions", points), Curve("by span", points[:2])]),
        Panel("another", [Curve("without positions", points[1:]), Curve("by span", points)]),
    ]
    root = ElementTree.fromstring(draw(panels, title="a title"))
    dots = root.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(dots) == 2 * sum(len(curve.points) for panel in panels for curve in panel.curves)
    for dot in dots:
        assert 0 < float(dot.attrib["cx"]) < 760
        assert 0 < float(dot.attrib["cy"]) < 660
