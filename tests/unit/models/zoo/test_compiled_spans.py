"""The true edges of compiled models with their spans, against single removals and searches."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

from acdc_pipeline import discover
from acdc_pipeline.algorithms import AcdcResult, acdc
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.execution.report import agreement
from acdc_pipeline.graph import Circuit, Edge
from acdc_pipeline.models.zoo import compiled, zoo_path
from acdc_pipeline.specs.catalogue import find_task
from acdc_pipeline.specs.names import HeadOrder, Positions
from benchmarks.compiled_auroc import auroc
from tests.compiled_bench import compiled_bench
from tests.compiled_prompts import compiled_prompts
from tests.oracles.compiled_patching import PlainModel
from tests.support import REPOSITORY

NAMES = compiled.list_compiled()
REDUNDANT = ("compiled-backup", "compiled-or")
WITHOUT_REDUNDANCY = tuple(name for name in NAMES if name not in REDUNDANT)

# Programs with spans that matter in some prompts only need more prompts to show it.
PROMPTS: dict[str, int] = dict.fromkeys(
    ("compiled-majority", "compiled-reverse", "compiled-sort"), 32
)

# In nats, as a mean over prompts. An edge that does nothing costs rounding, and what a softmax
# leaves to the loser.
NEEDED, NOTHING = 0.05, 1e-6


def n_prompts(name: str) -> int:
    return PROMPTS.get(name, 6)


def names_of(edges: frozenset[Edge]) -> set[str]:
    return {str(edge) for edge in edges}


@cache
def effects(name: str) -> dict[str, float]:
    """The brute-force effect of each edge removed in each span alone."""
    model = PlainModel(zoo_path(name))
    return dict(model.single_effects(compiled_prompts(name, n_prompts(name), "spans"), "corrupted"))


def found(name: str, positions: Positions, order: HeadOrder = "reverse-heads") -> AcdcResult:
    bench = compiled_bench(name, n=n_prompts(name), positions=positions)
    with torch.no_grad():
        return acdc(
            bench.search(objective_for(bench, "kl"), memory=2**30),
            bench.weights.topology,
            threshold=0.01,
            order=order,
            difference="signed",
        )


@pytest.mark.parametrize("name", WITHOUT_REDUNDANCY)
def test_edge_removed_in_one_span_matters_if_and_only_if_it_is_true_there(name: str):
    true = names_of(compiled.truth_with_spans(name))
    assert {edge for edge, effect in effects(name).items() if effect > NEEDED} == true
    assert {edge for edge, effect in effects(name).items() if effect > NOTHING} == true


@pytest.mark.parametrize("name", NAMES)
def test_truth_with_spans_without_them_is_the_truth_and_what_cancels(name: str):
    collapsed = {replace(edge, span=None) for edge in compiled.truth_with_spans(name)}
    cancels = {"input->m0", "m0->a1.h2<v>"} if name == "compiled-cancel" else set()
    assert names_of(frozenset(collapsed)) == names_of(compiled.truth(name)) | cancels


@pytest.mark.parametrize(
    ("name", "order"),
    [(name, "reverse-heads") for name in NAMES] + [(name, "natural") for name in REDUNDANT],
)
def test_acdc_with_spans_finds_the_constructed_edges_where_they_are(name: str, order: HeadOrder):
    expected = compiled.truth_with_spans(name)
    if name in REDUNDANT:
        kept = compiled.found_by_acdc(name, order=order)
        expected = {edge for edge in expected if replace(edge, span=None) in kept}
    assert found(name, "spans", order).circuit.edges == expected


def test_two_opposite_effects_are_missed_by_components_and_found_by_positions():
    edge, spans = "m0->a1.h2<v>", ("move1", "move2")
    without = found("compiled-cancel", "none").circuit.edges
    assert edge not in names_of(without)
    assert without == compiled.truth("compiled-cancel")
    single = effects("compiled-cancel")
    assert all(single[f"{edge}@{span}"] > 30 for span in spans)
    model = PlainModel(zoo_path("compiled-cancel"))
    together = model.single_effects(compiled_prompts("compiled-cancel", 6), "corrupted")
    assert together[edge] < 1e-9
    with_spans = names_of(found("compiled-cancel", "spans").circuit.edges)
    assert {name for name in with_spans if name.startswith(edge)} == {f"{edge}@{s}" for s in spans}


def test_exact_tells_true_edges_with_spans_from_all_others():
    bench = compiled_bench("compiled-cancel", n=6, positions="spans")
    task = find_task("compiled_cancel", REPOSITORY)
    assert auroc("compiled-cancel", "exact", bench, task, "pessimistic") == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_truth_with_spans_is_the_reference_of_a_run_with_spans_under_corrupted_ablation(name: str):
    graph = compiled_bench(name, n=n_prompts(name), positions="spans").weights.topology
    task, model = compiled.task_of(name), f"zoo:{name}"
    reference = compiled.reference_with_spans(model, task, "corrupted", graph)
    assert reference is not None
    true = Circuit(graph, compiled.truth_with_spans(name))
    assert reference.circuit(graph) == true
    same = agreement(true, reference)
    assert (same["by_position"], same["found"], same["others"]) == (True, len(true), 0)
    plain = graph.collapsed
    assert compiled.reference_with_spans(model, task, "zero", graph) is None
    assert compiled.reference_with_spans(model, task, "corrupted", plain) is None
    assert compiled.reference_with_spans(model, "ioi", "corrupted", graph) is None
    assert compiled.reference_with_spans("zoo:attn-2l", task, "corrupted", graph) is None


@pytest.mark.parametrize(("positions", "found"), [("none", 3), ("spans", 7)])
def test_run_is_compared_with_the_truth_of_its_positions(positions: Positions, found: int):
    circuit = discover(
        "compiled_cancel",
        "zoo:compiled-cancel",
        threshold=0.01,
        prompts=6,
        positions=positions,
        store=None,
    )
    against = circuit.run.details["reference"]
    assert (against["found"], against["total"], against["others"]) == (found, found, 0)
