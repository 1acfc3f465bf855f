"""Figures of circuits with spans: where nodes stand, and which lines are drawn."""

from __future__ import annotations

import re
from html import unescape

from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.plotting.circuit import draw_circuit
from acdc_pipeline.plotting.span_layout import Place, layout_spans, span_lines

GRAPH = Topology(
    2, 2, True, spans=("S", "mid", "END"), answer_spans=("END",), sees=("S", "S mid", "S mid END")
)
EDGES = (
    "input->a0.h0<v>@S",
    "a0.h0->m0@mid",
    "a0.h0->m0@END",
    "m0->a1.h1<q>@END",
    "m0->a1.h1<k>@mid",
    "a1.h1->logits@END",
)


def test_heads_stand_where_their_queries_are_read():
    circuit = Circuit.of(GRAPH, EDGES)
    placed = span_lines(GRAPH, circuit.sorted_edges)
    layout, columns = layout_spans(GRAPH, placed)
    lines = [edge for edge, *_ in placed]
    assert [column.name for column in columns] == ["S", "mid", "END"]
    assert {(str(place), place.span) for place in layout.x} == {
        ("input", "S"),
        *(("a0.h0", span) for span in ("mid", "END")),
        *(("m0", span) for span in ("mid", "END")),
        ("a1.h1", "END"),
        ("logits", "END"),
    }
    # The value at S is carried to both spans in which the head writes; all others are one line.
    assert len(lines) == len(EDGES) + 1
    assert sum(str(edge) == "input->a0.h0<v>@S" for edge in lines) == 2
    for place, x in layout.x.items():
        column = next(column for column in columns if column.name == place.span)
        assert abs(x - column.x) <= column.width / 2
    heights = [layout.y[Place(circuit.topology.sources[0], "S")]]
    heights += [layout.y[place] for place in layout.x if str(place) == "logits"]
    assert heights[0] > heights[1]


def test_figure_names_every_span_and_every_edge():
    drawn = draw_circuit(Circuit.of(GRAPH, EDGES), title="t")
    assert re.findall(r'class="span"[^>]*>([^<]+)<', drawn) == ["S", "mid", "END"]
    titles = map(unescape, re.findall(r"<title>([^<]*)</title>", drawn))
    assert {title for title in titles if "->" in title} == set(EDGES)
