"""Figures of circuits with mixers."""

from __future__ import annotations

import re

from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.plotting.circuit import draw_circuit

HYBRID = Circuit.of(
    Topology.of_layers(["rm", "arm"], 2),
    ["input->r0", "r0->a1.h0<q>", "r0->r1", "r1->m1", "a1.h0->m1", "m1->logits"],
)


def test_mixers_have_a_class_and_a_colour_of_their_own_and_are_explained():
    text = draw_circuit(HYBRID, title="circuit")
    assert len(re.findall(r'<g class="node mixer"', text)) == 2
    assert ".node.mixer rect{fill:var(--mixer)}" in text
    assert "into mixer, MLP or logits" in text
    assert "r0, r1, … are mixers" in " ".join(re.findall(r">([^<]+)<", text))


def test_a_mixer_stands_beside_the_heads_of_its_layer_and_below_its_mlp():
    text = draw_circuit(HYBRID, title="circuit")
    found = re.findall(r'<text x="[\d.]+" y="([\d.]+)">([\w.]+)</text></g>', text)
    by_name = {name: float(y) for y, name in found}
    assert by_name["r1"] == by_name["a1.h0"]
    assert by_name["m1"] < by_name["r1"] < by_name["r0"]


def test_figures_without_mixers_do_not_speak_of_them():
    circuit = Circuit.of(Topology(1, 1, has_mlp=True), ["input->m0", "m0->logits"])
    assert "mixer" not in draw_circuit(circuit, title="circuit")
