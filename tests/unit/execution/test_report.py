"""A circuit found, against the published one."""

from __future__ import annotations

import pytest

from acdc_pipeline.errors import GraphError
from acdc_pipeline.execution.report import agreement, reference_for
from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.specs import ReferenceCircuit, find_task, parse
from tests import records

GRAPH = Topology(n_layers=2, n_heads=2, has_mlp=False)
FOUND = Circuit.of(GRAPH, ["input->a0.h0<v>", "a0.h0->a1.h1<k>", "a1.h1->logits"])
RUN = records.spec().model_copy(update={"model": "hf:org/name@main"})


def published(**parts: object) -> ReferenceCircuit:
    return parse({"model": "hf:org/name", "source": "s", **parts}, ReferenceCircuit, "circuit.yaml")


def test_agreement_on_edges_by_hand():
    edges = ["input->a0.h0<v>", "a1.h1->logits", "a0.h1->logits", "a1.h0->logits"]
    report = agreement(FOUND, published(edges=edges))
    assert (report["compared"], report["found"], report["total"], report["others"]) == (
        "edges", 2, 4, 1,
    )  # fmt: skip
    assert (report["precision"], report["recall"]) == (2 / 3, 2 / 4)
    assert report["missing"] == ["a0.h1->logits", "a1.h0->logits"]


def test_agreement_on_heads_where_only_heads_are_published():
    report = agreement(FOUND, published(groups={"movers": {"heads": [[1, 1], [1, 0]]}}))
    assert (report["compared"], report["found"], report["others"]) == ("heads", 1, 1)
    assert report["missing"] == ["a1.h0"]


def test_agreement_of_an_empty_circuit_has_no_precision():
    report = agreement(Circuit.of(GRAPH, []), published(edges=["a1.h1->logits"]))
    assert (report["precision"], report["recall"]) == (None, 0.0)


@pytest.mark.parametrize(
    ("model", "compared"),
    [
        ("hf:org/name", True),
        ("hf:org/name@other", True),
        ("hf:org/names", False),
        ("name, 4 layers", False),
    ],
)
def test_reference_counts_for_the_model_it_was_found_in(model: str, compared: bool):
    reference = published(edges=["a1.h1->logits"]).model_copy(update={"model": model})
    task = find_task("ioi").model_copy(update={"reference": reference})
    assert (reference_for(RUN, task, GRAPH) is not None) == compared


def test_reference_with_an_edge_that_its_model_lacks_is_an_error():
    reference = published(edges=["a7.h1->logits"])
    task = find_task("ioi").model_copy(update={"reference": reference})
    with pytest.raises(GraphError, match=r"a7\.h1"):
        reference_for(RUN, task, GRAPH)


def test_reference_decides_no_run():
    task = find_task("ioi")
    assert task.reference is not None
    without = task.model_copy(update={"reference": None})
    assert without.definition_hash() == task.definition_hash()
