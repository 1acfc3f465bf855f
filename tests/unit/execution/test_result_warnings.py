"""What is said beside a result: whether the whole model does the task at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acdc_pipeline.execution.result_warnings import (
    circuit_warnings,
    guessing,
    profile_warnings,
    prompt_warnings,
)
from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.prompts.spans import spans_from_names
from acdc_pipeline.specs import RunSpec, parse
from tests import records
from tests.prompt_sets import random_prompts

N = 16
"""Of 16 guesses between two, 0.5 are right; two standard deviations, 2 * sqrt(0.25 / 16), are
0.25."""


def _prompts(incorrect: int = 1) -> PromptSet:
    prompts = random_prompts(N, 4, 32)
    return replace(prompts, incorrect=tuple(tuple(range(20, 20 + incorrect)) for _ in range(N)))


def test_pairs_without_the_spans_that_others_have_are_counted():
    rows = [["bos", "rest", "S1", "END"], *[["bos", "rest", "rest", "END"]] * 11]
    prompts = replace(random_prompts(12, 4, 32), spans=spans_from_names(rows, 4))
    run = records.spec().model_copy(update={"positions": "spans"})
    (warning,) = prompt_warnings(run, prompts)
    assert warning.startswith("11 of 12 pairs name no spans, which others do (the first: pair 2)")
    every = replace(prompts, spans=spans_from_names(rows[:1] * 12, 4))
    assert prompt_warnings(run, every) == []


@pytest.mark.parametrize(("forced", "warned"), [(0.75, False), (0.6875, True), (0.0, True)])
def test_model_is_judged_by_forced_choice_where_there_are_incorrect_answers(
    forced: float, warned: bool
):
    # first tokens are all wrong, as of a model that would rather say " the" than a name
    found = profile_warnings(_prompts(), {"model_accuracy": 0.0, "model_forced_choice": forced})
    assert [
        f"{forced:.1%} of the prompts, where guessing gives 50.0%" in line for line in found
    ] == ([True] if warned else [])


def test_model_that_is_right_everywhere_is_never_warned_about_however_few_prompts():
    one = replace(random_prompts(1, 4, 32), incorrect=((20,),))
    metrics = {"model_accuracy": 1.0, "model_forced_choice": 1.0}
    assert profile_warnings(one, metrics) == []


def test_model_without_incorrect_answers_is_judged_by_first_tokens():
    prompts = _prompts(incorrect=0)
    (line,) = profile_warnings(prompts, {"model_accuracy": 0.0625})
    assert "answers only 6.2% of the prompts right" in line
    assert profile_warnings(prompts, {"model_accuracy": 0.5}) == []


def test_guessing_is_the_share_of_correct_answers_among_those_that_count():
    assert guessing(_prompts(incorrect=3)) == 0.25


def _warned(method: dict[str, object], circuit: Circuit, forced: float, **more: float) -> list[str]:
    run = records.spec()
    plain = run.plain() | {"method": method}
    metrics = {"model_accuracy": 1.0, "model_forced_choice": forced, **more}
    return circuit_warnings(parse(plain, RunSpec, "here"), circuit, _prompts(), metrics)


_BOTH: dict[str, object] = {"metric": "kl", "ablation": "corrupted"}
_ACDC: dict[str, object] = {
    "name": "acdc",
    "threshold": 9.0,
    "order": "reverse-heads",
    "difference": "signed",
    **_BOTH,
}
_RANDOM = {"name": "random", "share": None, "edges": 1, **_BOTH}
_GRAPH = Topology(n_layers=1, n_heads=1, has_mlp=False)


@pytest.mark.parametrize("forced", [1.0, 0.5])
def test_empty_circuit_of_a_search_names_what_removing_every_edge_costs(forced: float):
    empty = Circuit.of(_GRAPH, [])
    *fails, line = _warned(_ACDC, empty, forced, ablated_kl=0.08312)
    assert line == (
        "the circuit is empty: at threshold 9 no path from input to logits is left; removing every "
        "edge changes kl by 0.0831, less than the threshold; try a lower --threshold, or "
        "--faithful 0.9"
    )
    assert ["hardly a behaviour" in said for said in fails] == ([] if forced == 1.0 else [True])
    costly = _warned(_ACDC, empty, forced, ablated_kl=9.5)[-1]
    assert "removing every edge changes kl by 9.50; try" in costly
    by_difference: dict[str, object] = _ACDC | {"metric": "logit_diff"}
    values = {"model_logit_diff": 2.0, "ablated_logit_diff": -1.0}
    line = _warned(by_difference, empty, forced, **values)[-1]
    assert "changes logit_diff by 3.00, less than the threshold;" in line


def test_empty_circuit_of_scores_says_from_which_size_on_there_are_edges():
    # the graph has 5 edges; the best whole path is input->a0.h0<q>, a0.h0->logits
    values = {"a0.h0->logits": 3.0, "input->a0.h0<q>": 2.0, "input->logits": 1.0}
    scores = {edge: values.get(str(edge), 0.0) for edge in _GRAPH.edges}
    assert len(scores) == 5
    (line,) = _warned(_RANDOM, Circuit(_GRAPH, frozenset(), scores), forced=1.0)
    assert line.endswith("it has edges from --edges 2 (--share 0.4) on")
