"""Every edge of every compiled model, removed alone by an independent full recompute."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from transformers import AutoTokenizer

from acdc_pipeline.errors import UnknownName
from acdc_pipeline.graph import Circuit, Edge
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.models.zoo.catalogue import zoo_path
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.specs.catalogue import find_task
from acdc_pipeline.specs.circuit_reference import ReferenceCircuit
from acdc_pipeline.specs.load import load_yaml
from tests.oracles.compiled_patching import PlainModel, Prompts
from tests.oracles.plain_acdc import plain_acdc
from tests.support import REPOSITORY

NAMES = ("compiled-induction", "compiled-or", "compiled-reverse")
WITHOUT_REDUNDANCY = ("compiled-induction", "compiled-reverse")
ABLATIONS = ("corrupted", "zero", "mean")

# In nats. A true edge costs at least log(16) / 2 here; an edge that does nothing costs rounding,
# and what a softmax leaves to the loser, exp(-32).
NEEDED, NOTHING = 1.0, 1e-9


@cache
def plain(name: str) -> PlainModel:
    return PlainModel(zoo_path(name))


@cache
def prompts(name: str, n: int = 32) -> Prompts:
    task = find_task(compiled.task_of(name), REPOSITORY)
    drawn = make_prompts(task, AutoTokenizer.from_pretrained(zoo_path(name)), n=n, seed=0)
    assert drawn.answer_row.tolist() == list(range(n))
    return Prompts(
        clean=drawn.clean.numpy(),
        corrupted=drawn.corrupted.numpy(),
        answer_pos=drawn.answer_pos.numpy(),
        correct=np.array([only for (only,) in drawn.correct]),
    )


def names_of(edges: frozenset[Edge]) -> set[str]:
    return {str(edge) for edge in edges}


def test_shipped_compiled_models_are_the_three():
    assert compiled.list_compiled() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_compiled_model_answers_every_prompt_of_its_task(name: str):
    drawn = prompts(name, 64)
    logprobs = plain(name).answer_logprobs(drawn)
    correct = logprobs[np.arange(64), drawn.correct]
    assert (logprobs.argmax(-1) == drawn.correct).all()
    assert correct.min() > -1e-5


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", WITHOUT_REDUNDANCY)
def test_edge_removed_alone_matters_if_and_only_if_it_is_true(name: str, ablation: str):
    effects = plain(name).single_effects(prompts(name), ablation)
    true = names_of(compiled.truth(name, ablation))
    assert {edge for edge, effect in effects.items() if effect > NEEDED} == true
    assert {edge for edge, effect in effects.items() if effect > NOTHING} == true


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_true_circuit_alone_answers_as_the_model_does(name: str, ablation: str):
    model, drawn = plain(name), prompts(name)
    removed = set(model.edges()) - names_of(compiled.truth(name, ablation))
    alone = model.answer_logprobs(drawn, removed, model.ablated_outputs(drawn, ablation))
    np.testing.assert_allclose(np.exp(alone), np.exp(model.answer_logprobs(drawn)), atol=1e-9)


@pytest.mark.parametrize("order", ["reverse-heads", "natural"])
@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_plain_acdc_finds_what_was_derived_by_hand(name: str, ablation: str, order: str):
    model = plain(name)
    steps = plain_acdc(
        model.kl(prompts(name, 16), ablation),
        n_layers=model.config["n_layers"],
        n_heads=model.config["n_heads"],
        has_mlp=not model.config["attn_only"],
        parallel=False,
        threshold=0.01,
        reverse_heads=order == "reverse-heads",
    )
    found = {step.edge for step in steps if not step.removed}
    assert found == names_of(compiled.found_by_acdc(name, ablation, order))


LOWER = {"input->a0.h1<k>", "input->a0.h1<v>", "a0.h1->m0"}
UPPER = {"input->a0.h2<k>", "input->a0.h2<v>", "a0.h2->m0"}


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_compiled_or_single_removal_shows_only_where_both_paths_have_met(ablation: str):
    effects = plain("compiled-or").single_effects(prompts("compiled-or"), ablation)
    assert {edge for edge, effect in effects.items() if effect > NOTHING} == {"m0->logits"}
    assert names_of(compiled.truth("compiled-or", ablation)) == LOWER | UPPER | {"m0->logits"}


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_compiled_or_loses_either_path_unharmed_and_the_answer_with_both(ablation: str):
    model, drawn = plain("compiled-or"), prompts("compiled-or")
    ablated = model.ablated_outputs(drawn, ablation)

    def probability(removed: set[str]) -> np.ndarray:
        logprobs = model.answer_logprobs(drawn, removed, ablated)
        return np.exp(logprobs[np.arange(len(logprobs)), drawn.correct])

    assert probability(LOWER).min() > 0.999
    assert probability(UPPER).min() > 0.999
    for lower in LOWER:
        for upper in UPPER:
            assert probability({lower, upper}).max() < 0.001, (lower, upper)


def test_compiled_or_acdc_keeps_the_path_whose_head_it_tests_last():
    last_head_first = names_of(compiled.found_by_acdc("compiled-or", order="reverse-heads"))
    first_head_first = names_of(compiled.found_by_acdc("compiled-or", order="natural"))
    assert last_head_first == LOWER | {"m0->logits"}
    assert first_head_first == UPPER | {"m0->logits"}


def test_truth_induction_by_ablation_is_what_the_construction_says():
    always = {"input->a0.h1<v>", "a0.h1->a1.h2<k>", "input->a1.h2<v>", "a1.h2->logits"}
    positions = {"input->a0.h1<q>", "input->a0.h1<k>"}
    query = {"input->a1.h2<q>"}
    assert names_of(compiled.truth("compiled-induction")) == always
    assert names_of(compiled.truth("compiled-induction", "mean")) == always | query
    assert names_of(compiled.truth("compiled-induction", "zero")) == always | query | positions


def test_true_circuit_lies_on_paths_from_input_to_logits():
    for name in NAMES:
        circuit = compiled.true_circuit(name, "zero")
        assert circuit.live_edges == circuit.edges


@pytest.mark.parametrize("name", NAMES)
def test_graph_of_the_truth_is_the_graph_of_the_model(name: str):
    model = plain(name)
    topology = compiled.true_circuit(name).topology
    assert {str(edge) for edge in topology.edges} == set(model.edges())
    assert [str(node) for node in topology.sources] == model.sources()


@pytest.mark.parametrize("name", ["compiled-or", "compiled-reverse"])
def test_reference_circuit_of_the_task_is_the_truth(name: str):
    file = REPOSITORY / "tasks" / compiled.task_of(name) / "circuit.yaml"
    reference = load_yaml(file, ReferenceCircuit)
    assert reference.model == f"zoo:{name}"
    true: Circuit = compiled.true_circuit(name, reference.ablation or "corrupted")
    assert reference.circuit(true.topology).edges == true.edges


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compiled-inducton", "zero"), "unknown compiled model 'compiled-inducton'"),
        (("attn-2l", "zero"), "unknown compiled model 'attn-2l'"),
        (("compiled-or", "resample"), "unknown ablation 'resample'"),
    ],
)
def test_truth_of_something_unknown_names_what_there_is(arguments, message):
    with pytest.raises(UnknownName, match=message) as caught:
        compiled.truth(*arguments)
    assert "allowed:" in str(caught.value)


def test_found_by_acdc_unknown_order_is_refused():
    with pytest.raises(UnknownName, match="unknown order 'random'"):
        compiled.found_by_acdc("compiled-or", order="random")
