"""Every edge of every compiled model, removed alone by an independent full recompute."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest

from acdc_pipeline.errors import UnknownName
from acdc_pipeline.graph import Circuit, Edge
from acdc_pipeline.models.zoo import compiled, zoo_path
from acdc_pipeline.models.zoo.compiled.catalogue import PROGRAMS
from acdc_pipeline.specs.circuit_reference import ReferenceCircuit
from acdc_pipeline.specs.load import load_yaml
from tests.compiled_prompts import compiled_prompts
from tests.oracles.compiled_patching import PlainModel
from tests.oracles.plain_acdc import plain_acdc, uniform_steps
from tests.support import REPOSITORY

NAMES = compiled.list_compiled()
REDUNDANT = ("compiled-backup", "compiled-or")
WITHOUT_REDUNDANCY = tuple(name for name in NAMES if name not in REDUNDANT)
ABLATIONS = ("corrupted", "zero", "mean")

# In nats. The least a true edge costs is log 2: an answer that ties with one other token. An edge
# that does nothing costs rounding, and what a softmax leaves to the loser, exp(-32).
NEEDED, NOTHING = 0.5, 1e-9


@cache
def plain(name: str) -> PlainModel:
    return PlainModel(zoo_path(name))


def names_of(edges: frozenset[Edge]) -> set[str]:
    return {str(edge) for edge in edges}


def loss_without(name: str, removed: set[str], ablation: str, n: int = 32) -> np.ndarray:
    """By how many nats the correct answer of each prompt falls with `removed` edges ablated."""
    model, drawn = plain(name), compiled_prompts(name, n)
    rows = np.arange(n)
    left = model.answer_logprobs(drawn, removed, model.ablated_outputs(drawn, ablation))
    return model.answer_logprobs(drawn)[rows, drawn.correct] - left[rows, drawn.correct]


def test_shipped_compiled_models_are_fourteen_of_which_two_are_redundant():
    assert len(NAMES) == 14
    assert {name for name in NAMES if len(compiled.alternatives(name)) > 1} == set(REDUNDANT)


@pytest.mark.parametrize("name", NAMES)
def test_compiled_model_answers_every_prompt_of_its_task(name: str):
    n = 256
    drawn = compiled_prompts(name, n)
    logprobs = plain(name).answer_logprobs(drawn)
    correct = logprobs[np.arange(n), drawn.correct]
    assert (logprobs.argmax(-1) == drawn.correct).all()
    assert correct.min() > -1e-5


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", WITHOUT_REDUNDANCY)
def test_edge_removed_alone_matters_if_and_only_if_it_is_true(name: str, ablation: str):
    effects = plain(name).single_effects(compiled_prompts(name), ablation)
    true = names_of(compiled.truth(name, ablation))
    assert {edge for edge, effect in effects.items() if effect > NEEDED} == true
    assert {edge for edge, effect in effects.items() if effect > NOTHING} == true


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_true_circuit_alone_answers_as_the_model_does(name: str, ablation: str):
    removed = set(plain(name).edges()) - names_of(compiled.truth(name, ablation))
    np.testing.assert_allclose(loss_without(name, removed, ablation), 0, atol=1e-9)


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_every_alternative_suffices_alone_and_has_no_edge_to_spare(name: str, ablation: str):
    every = set(plain(name).edges())
    found = compiled.alternatives(name, ablation)
    assert frozenset().union(*found) == compiled.truth(name, ablation)
    for alternative in map(names_of, found):
        np.testing.assert_allclose(loss_without(name, every - alternative, ablation), 0, atol=1e-9)
        for edge in alternative:
            loss = loss_without(name, every - alternative | {edge}, ablation)
            assert loss.mean() > NEEDED, edge


@pytest.mark.parametrize(
    ("name", "order"),
    [(name, "reverse-heads") for name in NAMES] + [(name, "natural") for name in REDUNDANT],
)
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_plain_acdc_finds_what_was_derived_by_hand(name: str, ablation: str, order: str):
    model = plain(name)
    steps = plain_acdc(
        model.kl(compiled_prompts(name, 16), ablation),
        steps=uniform_steps(
            model.config["n_layers"], has_mlp=not model.config["attn_only"], parallel=False
        ),
        n_heads=model.config["n_heads"],
        threshold=0.01,
        reverse_heads=order == "reverse-heads",
    )
    found = {step.edge for step in steps if not step.removed}
    assert found == names_of(compiled.found_by_acdc(name, ablation, order))


LOWER = {"input->a0.h1<k>", "input->a0.h1<v>", "a0.h1->m0"}
UPPER = {"input->a0.h2<k>", "input->a0.h2<v>", "a0.h2->m0"}
MAIN = {"input->a0.h1<k>", "input->a0.h1<v>", "a0.h1->logits"}
BACKUP = {"input->a1.h2<k>", "input->a1.h2<v>", "a1.h2->logits"}
PATHS = {"compiled-or": (LOWER, UPPER), "compiled-backup": (MAIN, BACKUP)}

# What alone has no stand-in: the junction of the two paths; and the main head's voice, since the
# backup goes on hearing the main head, and is silent.
ALONE = {"compiled-or": {"m0->logits"}, "compiled-backup": {"a0.h1->logits"}}


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", REDUNDANT)
def test_redundant_program_shows_a_single_removal_only_where_nothing_stands_in(
    name: str, ablation: str
):
    effects = plain(name).single_effects(compiled_prompts(name), ablation)
    assert {edge for edge, effect in effects.items() if effect > NOTHING} == ALONE[name]
    first, second = PATHS[name]
    assert names_of(compiled.truth(name, ablation)) == first | second | ALONE[name]


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", REDUNDANT)
def test_redundant_program_loses_the_answer_with_any_edge_of_each_path(name: str, ablation: str):
    for pair in product(*PATHS[name]):
        assert loss_without(name, set(pair), ablation).min() > NEEDED, pair


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_compiled_or_loses_either_path_whole_and_unharmed(ablation: str):
    for path in (LOWER, UPPER):
        np.testing.assert_allclose(loss_without("compiled-or", path, ablation), 0, atol=1e-3)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_compiled_backup_answers_with_either_head_removed_and_not_with_both(ablation: str):
    edges = plain("compiled-backup").edges()
    main, backup = (
        {edge for edge in edges if edge.startswith(f"{head}->")} for head in ("a0.h1", "a1.h2")
    )
    for one in (main, backup):
        np.testing.assert_allclose(loss_without("compiled-backup", one, ablation), 0, atol=1e-9)
    assert loss_without("compiled-backup", main | backup, ablation).min() > NEEDED


def test_compiled_or_acdc_keeps_the_path_whose_head_it_tests_last():
    last_head_first = names_of(compiled.found_by_acdc("compiled-or", order="reverse-heads"))
    first_head_first = names_of(compiled.found_by_acdc("compiled-or", order="natural"))
    assert last_head_first == LOWER | {"m0->logits"}
    assert first_head_first == UPPER | {"m0->logits"}


def test_compiled_backup_acdc_keeps_the_main_path_in_either_order():
    for order in ("reverse-heads", "natural"):
        assert names_of(compiled.found_by_acdc("compiled-backup", order=order)) == MAIN


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


@pytest.mark.parametrize("name", [program.name for program in PROGRAMS if program.has_own_task])
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
    assert caught.value.allowed


def test_found_by_acdc_unknown_order_is_refused():
    with pytest.raises(UnknownName, match="unknown order 'random'"):
        compiled.found_by_acdc("compiled-or", order="random")
