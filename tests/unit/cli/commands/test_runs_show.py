"""What is shown of a run: its strongest edges, its experts, and what cannot be measured of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.specs import RunSpec, parse
from acdc_pipeline.store import RunRecord, open_store
from tests import records
from tests.command_line import acdc

SCORES = {"input->a0.h1<q>": 0.25, "input->a0.h1<v>": -2.0, "a0.h1->logits": 1.0}
ROUTED = ["input->m0.router", "m0.e2->logits"]
ALL = [edge for k in range(15) for edge in (f"input->m0.e{k}", f"m0.e{k}->logits")]


def _eap(rank: str) -> RunRecord:
    """A run of EAP that ranks by `rank`, with a strong edge of negative score."""
    record = records.record()
    method = {"name": "eap", "share": None, "edges": 3, "rank": rank}
    plain = record.spec.plain() | {
        "method": method | {"metric": "logit_diff", "ablation": "corrupted"}
    }
    scores = {Edge.parse(name): score for name, score in SCORES.items()}
    circuit = Circuit.of(Topology(1, 2, has_mlp=False), list(scores), scores)
    spec = parse(plain, RunSpec, "here")
    return replace(record, spec=spec, circuit=circuit, decisions=(), heads=(), profile=None)


def _edges_listed(shown: str) -> list[str]:
    return [line.split()[0] for line in shown.splitlines() if "->" in line]


def test_runs_show_lists_edges_by_magnitude_where_the_method_ranks_by_it(capsys, store_url: str):
    by_magnitude, signed = _eap("magnitude"), _eap("signed")
    store = open_store(store_url)
    for record in (by_magnitude, signed):
        store.commit(record)
    shown = acdc(capsys, "runs", "show", by_magnitude.spec.run_id()).out
    assert _edges_listed(shown) == ["input->a0.h1<v>", "a0.h1->logits", "input->a0.h1<q>"]
    assert "Edges by |score| (" in shown
    shown = acdc(capsys, "runs", "show", signed.spec.run_id()).out
    assert _edges_listed(shown) == ["a0.h1->logits", "input->a0.h1<q>", "input->a0.h1<v>"]
    assert "Edges by score (" in shown
    compared = acdc(capsys, "runs", "compare", by_magnitude.spec.run_id(), signed.spec.run_id())
    assert "input->a0.h1<v>, a0.h1->logits, input->a0.h1<q>" in compared.out


@pytest.mark.parametrize(
    ("edges", "named"),
    [
        # expert 0 leads nowhere, expert 2 is reached through the router alone
        (["input->m0.e0", "input->m0.e1", "m0.e1->logits", *ROUTED], "m0.e1, m0.e2"),
        (["input->logits", "input->m0.e0"], "none"),
        (ALL, ", ".join(f"m0.e{k}" for k in range(12)) + " and 3 more"),
    ],
)
def test_runs_show_names_the_experts_on_a_path_from_input_to_logits(
    capsys, store_url: str, edges: list[str], named: str
):
    record = records.record()
    spec = record.spec.model_copy(update={"experts": "nodes"})
    circuit = Circuit.of(Topology(1, 1, has_mlp=True, experts=(15,)), edges)
    open_store(store_url).commit(
        replace(record, spec=spec, circuit=circuit, decisions=(), heads=(), profile=None)
    )
    out = acdc(capsys, "runs", "show", spec.run_id()).out
    (line,) = (line for line in out.splitlines() if line.startswith("experts "))
    assert line.removeprefix("experts").strip() == named


def test_evaluate_of_an_empty_circuit_has_no_null_and_no_area_and_says_why(capsys):
    size = ("--threshold", "1000", "--prompts", "8", "--json")
    run = acdc(capsys, "discover", "compiled_or", "zoo:compiled-or", *size).document
    assert run["edges_kept"] == 0
    assert run["details"]["faithfulness"] == 0
    assert run["metrics"]["kl"] == run["metrics"]["ablated_kl"]
    document = acdc(capsys, "evaluate", run["run_id"], "--json").document
    assert document["faithfulness"] == 0
    assert {document[name] for name in ("null", "curve", "cpr", "cmd")} == {None}
    shown = acdc(capsys, "evaluate", run["run_id"]).out
    assert "null (a circuit of no edges is the only one of its size), CMD and CPR (" in shown
    assert "random circuit" not in shown
    assert "null (a circuit of no edges" in acdc(capsys, "runs", "show", run["run_id"]).out
    # another size of the same search gives it a curve, and still no null
    found = acdc(capsys, "discover", "compiled_or", "zoo:compiled-or", "--prompts", "8", "--json")
    assert 0 < found.document["edges_kept"] < found.document["edges_total"]
    document = acdc(capsys, "evaluate", run["run_id"], "--json").document
    assert (document["null"], document["cpr"] is None) == (None, False)
    assert "null (a circuit of no edges is the only one of its size)\n" in (
        acdc(capsys, "evaluate", run["run_id"]).out
    )


def test_evaluate_of_the_whole_graph_has_no_null_and_a_curve_by_its_scores(capsys):
    method = ("--method", "eap-ig-inputs", "--share", "1", "--prompts", "8", "--json")
    run = acdc(capsys, "discover", "compiled_or", "zoo:compiled-or", *method).document
    assert run["edges_kept"] == run["edges_total"]
    document = acdc(capsys, "evaluate", run["run_id"], "--json").document
    assert (document["null"], document["cpr"] is None) == (None, False)
    shown = acdc(capsys, "evaluate", run["run_id"]).out
    assert "null (a circuit of all edges is the only one of its size)\n" in shown
