"""What is drift, what is not, and what it is called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from acdc_pipeline.errors import ExecutionFailed, PromptError
from acdc_pipeline.graph import Circuit
from acdc_pipeline.regression.baseline import graph_shape
from acdc_pipeline.regression.cell import cell_of
from acdc_pipeline.regression.finding import finding_of
from acdc_pipeline.regression.verdict import judge, judge_failure, judge_without_baseline
from acdc_pipeline.store import RunRecord
from tests.regressions import EDGES, MODEL, TOPOLOGY, baseline, finding, record

SCATTERED = {seed: finding(EDGES[:3]) for seed in range(1, 6)}


def changed(**parts: object):
    return MODEL.model_copy(update={"revision": "2" * 20, **parts})


def test_judge_same_finding_is_ok_without_a_word():
    verdict = judge(baseline(), record(), MODEL)
    assert verdict.status == "ok"
    assert verdict.causes == ()
    assert verdict.notes == ()
    assert verdict.compared


def test_judge_lost_edges_are_drift_and_named():
    verdict = judge(baseline(), record(EDGES[:3]), MODEL)
    assert verdict.status == "drift"
    assert verdict.causes[0] == "Jaccard of edges 0.600 (at least 0.667)"
    assert verdict.edges == ((), ("a1.h0->logits", "input->logits"))
    assert verdict.heads == ((), ())
    assert "the same question gave another circuit (2 edges differ)" in verdict.notes


def _in_spans(spans: tuple[str, ...], at: str) -> RunRecord:
    made = record()
    sees = tuple(" ".join(spans[: i + 1]) for i in range(len(spans)))
    topology = replace(TOPOLOGY, spans=spans, answer_spans=("END",), sees=sees)
    edges = [*(f"{edge}@{at}" for edge in EDGES[:3]), *(f"{edge}@END" for edge in EDGES[3:])]
    spec = made.spec.model_copy(update={"positions": "spans"})
    return replace(made, spec=spec, circuit=Circuit.of(topology, edges))


def test_judge_edges_in_another_span_are_drift_and_named_with_it():
    was = _in_spans(("S", "IO", "END"), "S")
    expected = finding_of(was)
    made = baseline(
        graph=graph_shape(expected.circuit.topology),
        edges=dict.fromkeys(map(str, expected.circuit.sorted_edges)),
        cell=cell_of(was.spec, was.spec.model),
    )
    assert judge(made, was, MODEL).status == "ok"
    verdict = judge(made, _in_spans(("S", "IO", "END"), "IO"), MODEL)
    assert verdict.status == "drift"
    gained, lost = verdict.edges
    assert gained == tuple(sorted(f"{edge}@IO" for edge in EDGES[:3]))
    assert lost == tuple(sorted(f"{edge}@S" for edge in EDGES[:3]))
    verdict = judge(made, _in_spans(("S", "S+1", "END"), "S"), MODEL)
    assert verdict.status == "incompatible"
    assert "other spans (without IO; with S+1)" in verdict.causes[0]


def test_judge_what_other_samples_do_too_is_no_drift():
    assert judge(baseline(SCATTERED), record(EDGES[:3]), MODEL).status == "ok"


def test_judge_metric_beyond_its_limit_is_drift_with_both_values():
    verdict = judge(baseline(), record(model_accuracy=0.25), MODEL)
    assert verdict.causes == ("model_accuracy 1 -> 0.25 (may differ by 0.001)",)


@pytest.mark.parametrize(
    ("parts", "cause"),
    [
        ({"config": {"eps": 0.001, "n_layers": 2}}, "config changed: eps 1e-05 -> 0.001"),
        ({"config": {"eps": 1e-05}}, "config changed: n_layers 2 -> absent"),
        ({"tokenizer": "bbbb"}, "tokenizer changed"),
        ({"tokenizer": None}, "tokenizer changed: its files are gone"),
    ],
)
def test_judge_changed_definition_is_drift_even_where_the_circuit_stays(
    parts: dict[str, object], cause: str
):
    verdict = judge(baseline(), record(), changed(**parts))
    assert verdict.status == "drift"
    assert verdict.causes == (cause,)


def test_judge_changed_weights_are_a_note_where_the_circuit_stays():
    now = changed(tensors=MODEL.tensors | {"W_K": "ff"})
    verdict = judge(baseline(), record(revision="2" * 20), now)
    assert verdict.status == "ok"
    assert verdict.notes == ("weights changed: 1 of 3 tensors (W_K)",)


def test_judge_changed_weights_stand_behind_the_drift_they_explain():
    now = changed(tensors=dict.fromkeys(MODEL.tensors, "ff"))
    verdict = judge(baseline(), record((), revision="2" * 20), now)
    assert verdict.causes[0].startswith("Jaccard of edges 0.000")
    assert verdict.causes[-1] == "weights changed: all 3 tensors"


def test_judge_heads_that_changed_places_are_drift_even_where_the_circuit_stays():
    heads = {"a0.h0": "x", "a0.h1": "y", "a1.h0": "p", "a1.h1": "q"}
    before = baseline(model=MODEL.model_copy(update={"heads": heads}))
    swapped = changed(heads=heads | {"a1.h0": "q", "a1.h1": "p"})
    verdict = judge(before, record(), swapped)
    assert verdict.status == "drift"
    assert verdict.causes == ("heads a1.h0 and a1.h1 changed places",)
    trained = changed(heads=heads | {"a1.h0": "q2", "a1.h1": "p2"}, tensors={"W_Q": "77"})
    assert judge(before, record(), trained).status == "ok"


def test_judge_another_machine_is_a_note():
    before = baseline(environment={"torch": "2.12.0", "device": "cpu"})
    verdict = judge(before, record(), MODEL)
    assert verdict.status == "ok"
    assert verdict.notes == ("measured elsewhere: torch 2.12.0 -> 2.13.0",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"task_hash": "f" * 64}, "definition of task ioi"), ({"method_version": 7}, "version 7")],
)
def test_judge_baseline_of_another_question_is_incompatible(changes: dict[str, Any], said: str):
    verdict = judge(baseline(**changes), record(), MODEL)
    assert verdict.status == "incompatible"
    assert said in verdict.causes[0]
    assert not verdict.compared


def test_judge_failure_is_an_error_whatever_changed():
    now = changed(config={})
    verdict = judge_failure(baseline().cell, baseline(), now, ExecutionFailed("the worker died"))
    assert verdict.status == "error"
    assert verdict.causes == ("the worker died",)


def test_judge_failure_of_prompts_under_a_changed_tokenizer_is_drift():
    error = PromptError("' Mary' is two tokens")
    cell = baseline().cell
    assert judge_failure(cell, baseline(), MODEL, error).status == "error"
    verdict = judge_failure(cell, baseline(), changed(tokenizer="bbbb"), error)
    assert verdict.status == "drift"
    assert verdict.causes[0] == "tokenizer changed"


def test_judge_failure_of_prompts_without_a_tokenizer_file_is_an_error():
    error = PromptError("there is no tokenizer")
    verdict = judge_failure(baseline().cell, baseline(), changed(tokenizer=None), error)
    assert verdict.status == "error"


def test_no_baseline_says_how_to_make_one():
    verdict = judge_without_baseline(baseline().cell)
    assert verdict.status == "missing"
    assert verdict.error is not None
    assert "--update-baseline" in str(verdict.error)
