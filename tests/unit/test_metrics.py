"""Every metric against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from acdc_pipeline.metrics import METRICS, MetricInputs, token_mask

# One answer over three tokens, and two circuits.
MODEL = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log()
CIRCUITS = torch.tensor([[[0.5, 0.25, 0.25]], [[0.125, 0.625, 0.25]]], dtype=torch.float64).log()
FIRST = torch.tensor([[True, False, False]])
LAST_TWO = torch.tensor([[False, True, True]])


def _score(name, correct=FIRST, incorrect=LAST_TWO) -> list[float]:
    inputs = MetricInputs(MODEL, CIRCUITS, correct, incorrect)
    return METRICS[name].score(inputs).squeeze(-1).tolist()


def test_kl_same_distribution_is_zero_and_another_is_the_hand_computed_sum():
    by_hand = 0.5 * math.log(0.5 / 0.125) + 0.25 * math.log(0.25 / 0.625)
    assert _score("kl") == pytest.approx([0.0, by_hand])


def test_logit_diff_sets_are_means_of_logits():
    mean_of_last_two = [math.log(0.25), (math.log(0.625) + math.log(0.25)) / 2]
    by_hand = [math.log(0.5) - mean_of_last_two[0], math.log(0.125) - mean_of_last_two[1]]
    assert _score("logit_diff") == pytest.approx(by_hand)


def test_prob_diff_sets_are_sums_of_probabilities():
    assert _score("prob_diff") == pytest.approx([0.0, 0.125 - 0.875])


def test_nll_sets_share_their_probability():
    assert _score("nll", correct=LAST_TWO) == pytest.approx([-math.log(0.5), -math.log(0.875)])


def test_match_nll_is_what_the_circuit_loses_of_the_models_probability_of_the_answers():
    assert _score("match_nll") == pytest.approx([0.0, math.log(0.5 / 0.125)])


def test_match_nll_circuit_surer_than_the_model_is_negative():
    by_hand = [0.0, math.log(0.5 / 0.875)]
    assert _score("match_nll", correct=LAST_TWO) == pytest.approx(by_hand)


def test_match_nll_of_each_prompt_is_measured_from_the_models_own_nll():
    model = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64).log()
    circuit = torch.tensor([[0.25, 0.75], [0.5, 0.5]], dtype=torch.float64).log()
    correct = torch.tensor([[True, False], [True, False]])
    score = METRICS["match_nll"].score(MetricInputs(model, circuit, correct, ~correct))
    assert score.tolist() == pytest.approx([math.log(2), -math.log(2)])


def test_prob_diff_of_years_is_the_mass_after_the_start_less_the_mass_up_to_it():
    # years 00 to 04, and a token that is none; the start is 02
    circuit = torch.tensor([[0.1, 0.05, 0.15, 0.3, 0.2, 0.2]], dtype=torch.float64).log()
    after = torch.tensor([[False, False, False, True, True, False]])
    up_to = torch.tensor([[True, True, True, False, False, False]])
    score = METRICS["prob_diff"].score(MetricInputs(circuit, circuit, after, up_to))
    assert score.tolist() == pytest.approx([0.3 + 0.2 - (0.1 + 0.05 + 0.15)])


def test_accuracy_counts_the_most_likely_token():
    assert _score("accuracy") == [1.0, 0.0]


def test_forced_choice_compares_the_best_correct_token_with_the_best_incorrect_one():
    # the last token is likelier than all that are compared, and plays no part
    circuit = torch.tensor(
        [[0.1, 0.2, 0.15, 0.05, 0.5], [0.2, 0.1, 0.15, 0.05, 0.5], [0.2, 0.2, 0.05, 0.05, 0.5]],
        dtype=torch.float64,
    ).log()
    correct = torch.tensor([[True, True, False, False, False]] * 2 + [[True] + [False] * 4])
    incorrect = torch.tensor(
        [[False, False, True, True, False]] * 2 + [[False, True] + [False] * 3]
    )
    inputs = MetricInputs(circuit, circuit, correct, incorrect)
    # above in two, by one of several correct answers; a tie is no choice
    assert METRICS["forced_choice"].score(inputs).tolist() == [1.0, 1.0, 0.0]
    assert METRICS["accuracy"].score(inputs).tolist() == [0.0, 0.0, 0.0]
    swapped = MetricInputs(circuit, circuit, incorrect, correct)
    assert METRICS["forced_choice"].score(swapped).tolist() == [0.0, 0.0, 0.0]


def test_sign_makes_higher_worse_for_every_metric():
    worse_circuit_last = {name: METRICS[name].sign * _score(name)[1] for name in METRICS}
    better = {name: METRICS[name].sign * _score(name)[0] for name in METRICS}
    assert all(worse_circuit_last[name] > better[name] for name in METRICS)


def test_logit_diff_of_two_tokens_of_a_kind_has_the_bits_of_the_whole_vocabulary():
    draw = torch.Generator().manual_seed(0)
    circuits = torch.randn(3, 4, 999, generator=draw).log_softmax(-1)
    correct = token_mask(circuits[0], [(7,), (998, 3), (5,), (0, 6)])
    incorrect = token_mask(circuits[0], [(9, 8), (1,), (500, 2), (3,)])
    inputs = MetricInputs(circuits[0], circuits, correct, incorrect)
    marked = (correct | incorrect).any(0).nonzero().flatten()
    few = METRICS["logit_diff"].score(inputs.of_tokens(marked))
    assert torch.equal(few, METRICS["logit_diff"].score(inputs))


def test_token_mask_marks_the_tokens_of_each_answer_and_none_where_there_are_none():
    like = torch.zeros(3, 4)
    assert token_mask(like, [(1, 3), (), (0,)]).int().tolist() == [
        [0, 1, 0, 1],
        [0] * 4,
        [1, 0, 0, 0],
    ]
    assert not token_mask(like, [(), (), ()]).any()
