"""Published circuits: groups and links become edges of a model's graph."""

from __future__ import annotations

import pytest
import yaml

from acdc_pipeline.errors import GraphError, SpecError
from acdc_pipeline.execution.report import agreement
from acdc_pipeline.graph import Circuit, Topology, head
from acdc_pipeline.specs import ReferenceCircuit, find_task, parse
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


def test_groups_with_positions_place_their_edges_by_hand():
    groups = {
        "early": {"heads": [[0, 1]], "at": ["S2"], "reads": ["S1"]},
        "late": {"heads": [[1, 0]], "at": ["END"], "reads": ["S2"]},
    }
    links = [["input", "early", "qv"], ["early", "late", "k"], ["late", "logits"]]
    reference = parse({**TINY, "groups": groups, "links": links}, ReferenceCircuit, "circuit.yaml")
    sees = ("S1", "S1 S2", "S1 S2 END")
    topology = Topology(2, 2, False, spans=("S1", "S2", "END"), answer_spans=("END",), sees=sees)
    circuit = reference.circuit(topology)
    assert {str(edge) for edge in circuit.edges} == {
        "input->a0.h1<q>@S2",
        "input->a0.h1<v>@S1",
        "a0.h1->a1.h0<k>@S2",
        "a1.h0->logits@END",
    }
    assert reference.places_every_edge(topology)
    # of a graph without spans, and of one with others, it is the circuit over components
    assert reference.circuit(topology.collapsed) == circuit.collapse()
    tokens = Topology(2, 2, False, spans=("t0", "t1"), answer_spans=("t1",), sees=("t0", "t0 t1"))
    assert not reference.fits_spans(tokens)
    assert reference.circuit(tokens).collapse().edges == circuit.collapse().edges
    found = Circuit.of(topology, ["input->a0.h1<q>@S2", "input->a0.h1<v>@S2", "a1.h0->logits@END"])
    told = agreement(found, reference)
    assert (told["by_position"], told["found"], told["total"], told["others"]) == (True, 2, 4, 1)
    elsewhere = agreement(Circuit.of(tokens, ["input->a0.h1<q>@t0"]), reference)
    assert (elsewhere["by_position"], elsewhere["found"], elsewhere["total"]) == (False, 1, 4)


def test_link_between_groups_at_other_spans_is_rejected():
    groups = {
        "early": {"heads": [[0, 1]], "at": ["S2"]},
        "late": {"heads": [[1, 0]], "at": ["END"]},
    }
    with pytest.raises(SpecError, match="'early' writes at none of the spans that 'late' reads"):
        parse({**TINY, "groups": groups}, ReferenceCircuit, "circuit.yaml")


def test_published_ioi_circuit_reads_and_writes_where_wang_et_al_say():
    reference = find_task("ioi").reference
    assert reference is not None
    spans = ("S1", "S1+1", "IO", "S2", "END")
    sees = tuple(" ".join(spans[: i + 1]) for i in range(len(spans)))
    topology = Topology(12, 12, True, spans=spans, answer_spans=("END",), sees=sees)
    edges = {str(edge) for edge in reference.circuit(topology).edges}
    # figure 2: previous token heads at S1+1, induction heads at S2, S-inhibition heads at END
    # reading S2, name movers at END reading IO
    assert {"a4.h11->a5.h5<k>@S1+1", "a5.h5->a8.h6<v>@S2", "a8.h6->a9.h9<q>@END"} <= edges
    assert {"input->a9.h9<k>@IO", "a9.h9->logits@END", "a3.h0->a8.h6<k>@S2"} <= edges
    assert not any("->a9.h9<v>" in edge and not edge.endswith("@IO") for edge in edges)
