"""Figures of circuits in which experts are nodes."""

from __future__ import annotations

import re

from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.plotting.circuit import draw_circuit

GRAPH = Topology(2, 1, has_mlp=True, experts=(0, 2), shared=(1,))
CIRCUIT = Circuit.of(
    GRAPH,
    ["input->a0.h0<v>", "a0.h0->m1.router", "input->m1.e1", "m1.e1->logits", "m1.shared->logits"],
)


def _words(text: str) -> str:
    return " ".join(" ".join(re.findall(r">([^<]+)<", text)).split())


def test_experts_stand_beside_their_router_above_the_heads_of_the_layer():
    text = draw_circuit(CIRCUIT, title="circuit")
    found = re.findall(r'<text x="[\d.]+" y="([\d.]+)">([\w.]+)</text></g>', text)
    height = {name: float(y) for y, name in found}
    assert height["m1.router"] == height["m1.e1"] == height["m1.shared"]
    assert height["logits"] < height["m1.e1"] < height["a0.h0"] < height["input"]


def test_experts_are_explained_where_there_are_any():
    text = draw_circuit(CIRCUIT, title="circuit")
    assert '<g class="node router"' in text
    assert ".node.router rect{fill:var(--router)}" in text
    words = _words(text)
    assert "into expert, router, MLP or logits" in words
    assert "m1.router" in words
    assert "m0.shared is what the mixture adds to its experts" in words
    plain = Circuit.of(GRAPH, ["input->m0", "m0->logits"])
    assert "expert" not in draw_circuit(plain, title="circuit")


def test_a_router_alone_in_its_row_is_drawn_in_its_layer():
    text = draw_circuit(Circuit.of(GRAPH, ["input->m1.router", "a1.h0->logits"]), title="circuit")
    found = re.findall(r'<text x="[\d.]+" y="([\d.]+)">([\w.]+)</text></g>', text)
    height = {name: float(y) for y, name in found}
    assert height["logits"] < height["m1.router"] < height["a1.h0"] < height["input"]
