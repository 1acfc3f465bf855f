"""Published circuits: groups and links become edges of a model's graph."""

from __future__ import annotations

import pytest
import yaml

from acdc_pipeline.errors import GraphError, SpecError
from acdc_pipeline.graph import Topology, head
from acdc_pipeline.specs import ReferenceCircuit, parse
from tests.support import shared_path

TINY = {
    "model": "m",
    "source": "s",
    "groups": {"early": {"heads": [[0, 1]]}, "late": {"heads": [[1, 0]], "mlps": [1]}},
    "links": [["input", "early", "v"], ["early", "late", "qk"], ["late", "logits"]],
}


def test_reference_links_become_the_edges_between_members_by_hand():
    reference = parse(TINY, ReferenceCircuit, "circuit.yaml")
    circuit = reference.circuit(Topology(n_layers=2, n_heads=2, has_mlp=True))
    # m0 comes after layer 0's heads, so of "input and every MLP" only input feeds a0.h1;
    # the first line is what holds that group together
    assert {str(edge) for edge in circuit.edges} == {
        "input->m0",
        "input->m1",
        "m0->m1",
        "input->a0.h1<v>",
        "a0.h1->a1.h0<q>",
        "a0.h1->a1.h0<k>",
        "a0.h1->m1",
        "a1.h0->logits",
        "m1->logits",
    }
    assert reference.heads == {head(0, 1), head(1, 0)}


def test_reference_that_does_not_fit_the_model_is_an_error():
    reference = parse(TINY, ReferenceCircuit, "circuit.yaml")
    with pytest.raises(GraphError, match=r"a1\.h0"):
        reference.circuit(Topology(n_layers=1, n_heads=2, has_mlp=True))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"links": [["erly", "late", "q"]]}, "links.0"),
        ({"links": [["early", "late", "x"]]}, "links.0.2"),
        ({"edges": ["a0.h1->"]}, "edges.0"),
        ({"groups": {}, "links": []}, "edges"),
        ({"groups": {"early": {"heads": [[0, -1]]}}}, "groups.early.heads.0.1"),
    ],
)
def test_reference_with_a_mistake_is_rejected(changes: dict[str, object], field: str):
    with pytest.raises(SpecError) as raised:
        parse({**TINY, **changes}, ReferenceCircuit, "circuit.yaml")
    assert raised.value.field == field


def test_published_ioi_circuit_has_its_26_heads_on_gpt2():
    published = yaml.safe_load(shared_path("reference", "published-circuits.yaml").read_text())
    ioi = published["ioi"]
    data = {
        "model": ioi["model"],
        "source": ioi["source"],
        "ablation": ioi["ablation"],
        "groups": {name: {"heads": heads} for name, heads in ioi["heads"].items()},
        "links": ioi["links"],
    }
    reference = parse(data, ReferenceCircuit, "circuit.yaml")
    # 3 + 8 + 2 + 4 + 4 + 3 + 2 heads in seven groups
    assert len(reference.heads) == 26
    circuit = reference.circuit(Topology(n_layers=12, n_heads=12, has_mlp=True))
    assert {node for node in circuit.nodes if node.kind == "head"} == reference.heads
    # an MLP after layer 10 feeds no head of the circuit; nothing else is without effect
    without_effect = {edge.dst for edge in circuit.edges - circuit.live_edges}
    assert {str(node) for node in without_effect} <= {"m10", "m11"}
