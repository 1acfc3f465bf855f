"""Scores on task prompts against whole circuits run by the engine's plain forward."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acdc_pipeline.engine import run_circuit
from acdc_pipeline.engine.bench import ablated_outputs
from acdc_pipeline.engine.forward import run_sources, unembed
from acdc_pipeline.errors import OutOfMemoryBudget, PromptError
from acdc_pipeline.graph import Edge, head
from acdc_pipeline.heads.answers import (
    answer_logit,
    find_answer_positions,
    is_ioi_like,
    select_prompts,
)
from acdc_pipeline.heads.batches import row_bytes
from acdc_pipeline.heads.query_effects import query_effects
from acdc_pipeline.heads.task_scores import ABLATIONS, find_other_answers, task_scores
from acdc_pipeline.metrics import kl_divergence
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.prompts.prompt_set import pick_rows
from acdc_pipeline.specs import find_task
from tests import checkpoints, tiny_models
from tests.prompt_sets import random_prompts

MEMORY = 1 << 28

# learned positions, grouped keys, parallel blocks, norms behind attention and across heads, soft
# caps, no MLP
KINDS = ("gpt2", "llama", "neox", "gemma2", "olmo2", "native-capped", "native-ln")


def prompts(n: int = 4) -> PromptSet:
    return random_prompts(n, 6, checkpoints.VOCAB, lengths=[6, 5, 6, 4][:n])


def finals(weights: TransformerWeights, ablated: torch.Tensor, edges: list[Edge]) -> torch.Tensor:
    p = prompts()
    return run_circuit(weights, p.clean, ablated, edges)[p.answer_row, p.answer_pos]


@pytest.mark.parametrize("name", KINDS)
def test_ablations_are_those_of_the_graph_with_all_edges_of_the_head_removed(name: str):
    weights, p = tiny_models.weights(name), prompts()
    found = task_scores(weights, p, memory=MEMORY).samples
    answers = answer_logit(weights, p.correct, p.incorrect)
    clean = run_sources(weights, p.clean).final[p.answer_row, p.answer_pos]
    logprobs = unembed(weights, clean).log_softmax(-1)
    for ablation in ABLATIONS:
        ablated = ablated_outputs(weights, p.corrupted, p.lengths, ablation)
        for node in (head(0, 1), head(1, 0)):
            kept = [edge for edge in weights.topology.edges if edge.src != node]
            final = finals(weights, ablated, kept)
            lost = answers.of(clean) - answers.of(final)
            got = found[f"{ablation}_ablation"][:, node.layer, node.head]
            np.testing.assert_allclose(got, lost.numpy(), rtol=1e-8, atol=1e-10)
            kl = kl_divergence(logprobs, unembed(weights, final).log_softmax(-1))
            got = found[f"{ablation}_ablation_kl"][:, node.layer, node.head]
            np.testing.assert_allclose(got, kl.numpy(), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", KINDS)
def test_direct_effects_are_dot_products_and_self_repair_what_they_leave(name: str):
    weights, p = tiny_models.weights(name), prompts()
    scores = task_scores(weights, p, memory=MEMORY)
    answers = answer_logit(weights, p.correct, p.incorrect)
    clean, other = run_sources(weights, p.clean), run_sources(weights, p.corrupted)
    final = clean.final[p.answer_row, p.answer_pos]
    gradient = answers.gradient(final)
    place = [str(node) for node in weights.topology.sources].index("a1.h0")
    direct, lost = (
        (sources.outputs[place][p.answer_row, p.answer_pos] * gradient).sum(-1).numpy()
        for sources in (clean, other)
    )
    found = {name: samples[:, 1, 0] for name, samples in scores.samples.items()}
    np.testing.assert_allclose(found["direct_effect"], direct, rtol=1e-8, atol=1e-10)
    # Δlogit - Δdirect, both from clean to ablated
    repaired = -found["corrupted_ablation"] - (lost - direct)
    np.testing.assert_allclose(found["self_repair"], repaired, rtol=1e-8, atol=1e-10)
    assert scores.answer.mean == pytest.approx(float(answers.of(final).mean()))


def test_last_layer_without_a_norm_repairs_nothing():
    """What a head of the last layer writes reaches the logits as it is: nothing can answer it."""
    weights = tiny_models.weights("native-no-norm")
    found = task_scores(weights, prompts(), memory=MEMORY).samples
    np.testing.assert_allclose(found["self_repair"][:, -1], 0.0, atol=1e-10)
    np.testing.assert_allclose(
        found["zero_ablation"][:, -1], found["direct_effect"][:, -1], atol=1e-10
    )


def test_scores_are_the_same_however_little_memory_there_is():
    weights, p = tiny_models.weights("llama"), prompts()
    whole = task_scores(weights, p, memory=MEMORY)
    least = task_scores(weights, p, memory=row_bytes(weights, 6))
    for name, samples in whole.samples.items():
        np.testing.assert_allclose(least.samples[name], samples, rtol=1e-10, atol=1e-12)
    movers = [head(1, 0)]
    np.testing.assert_allclose(
        query_effects(weights, p, movers, memory=row_bytes(weights, 6)),
        query_effects(weights, p, movers, memory=MEMORY),
        rtol=1e-10,
        atol=1e-12,
    )
    with pytest.raises(OutOfMemoryBudget):
        task_scores(weights, p, memory=100)


def test_progress_counts_layers_with_those_behind_them_up_to_all_of_them():
    weights = tiny_models.weights("gpt2")
    seen: list[tuple[int, int]] = []
    task_scores(
        weights,
        prompts(),
        memory=8 * row_bytes(weights, 6),
        progress=lambda done, total: seen.append((done, total)),
    )
    # two layers in two parts: the first layer is two layers of work, the second is one
    assert seen == [(2, 6), (3, 6), (5, 6), (6, 6)]


@pytest.mark.parametrize("name", KINDS)
def test_query_effects_are_those_of_the_edges_into_the_movers_queries(name: str):
    weights, p = tiny_models.weights(name), prompts()
    movers = [head(1, 0), head(1, 1)]
    found = query_effects(weights, p, movers, memory=MEMORY)
    answers = answer_logit(weights, p.correct, p.incorrect)
    clean = run_sources(weights, p.clean).final[p.answer_row, p.answer_pos]
    ablated = run_sources(weights, p.corrupted).outputs
    for h in range(weights.topology.n_heads):
        removed = {Edge.parse(f"a0.h{h}->{mover}<q>") for mover in movers}
        kept = [edge for edge in weights.topology.edges if edge not in removed]
        lost = answers.of(clean) - answers.of(finals(weights, ablated, kept))
        np.testing.assert_allclose(found[:, 0, h], lost.numpy(), rtol=1e-8, atol=1e-10)
    # behind the last mover there is nobody to tell
    assert np.isnan(found[:, 1]).all()


def prompt_of(clean: list[int], correct: tuple[int, ...], incorrect: tuple[int, ...]) -> PromptSet:
    tokens = torch.tensor([clean])
    return PromptSet(
        clean=tokens,
        corrupted=tokens,
        lengths=torch.tensor([len(clean)]),
        answer_row=torch.tensor([0]),
        answer_pos=torch.tensor([len(clean) - 2]),
        correct=(correct,),
        incorrect=(incorrect,),
        clean_text=("",),
        corrupted_text=("",),
        template=(0,),
    )


def test_answer_places_are_the_indirect_object_and_the_second_subject():
    #        bos  IO  and  S   ,   S  gave to  (behind the answer: no place)
    places = find_answer_positions(prompt_of([0, 5, 9, 7, 8, 7, 3, 4, 5], (5,), (7,)))
    assert places.answer[0].nonzero().flatten().tolist() == [1]
    assert places.repeat[0].nonzero().flatten().tolist() == [5]


def test_answer_positions_of_words_that_occur_once_or_never_are_none():
    places = find_answer_positions(prompt_of([0, 1, 2, 3], (9,), (2,)))
    assert not places.answer.any()
    assert not places.repeat.any()
    # two incorrect words that stand there once each are no repeated name
    places = find_answer_positions(prompt_of([0, 1, 2, 3, 4], (9,), (1, 2)))
    assert not places.repeat.any()


def test_attention_to_places_counts_only_answers_that_have_them():
    weights = tiny_models.weights("gpt2")
    scores = task_scores(weights, prompt_of([0, 5, 9, 7, 8, 7, 3, 4], (5,), (7,)), memory=MEMORY)
    assert set(scores.counterfactual) == {"attention_to_answer", "attention_to_repeat"}
    # the sides are equal, and so is where they look
    for name, samples in scores.counterfactual.items():
        np.testing.assert_allclose(samples, scores.samples[name])
    scores = task_scores(weights, prompt_of([0, 1, 2, 3], (9,), (8,)), memory=MEMORY)
    assert not scores.counterfactual
    assert "attention_to_answer" not in scores.samples


def test_attention_is_told_apart_by_the_order_of_right_and_wrong_answers():
    """A head that looks at one place has the answer there in one order alone."""
    orders = [((5, 7), 7), ((7, 5), 7), ((5, 7), 7), ((7, 5), 7), ((5, 4), 7)]
    rows = [[0, first, 9, other, 8, last, 3] for (first, other), last in orders]
    clean = torch.tensor(rows)
    n = len(rows)
    prompts = PromptSet(
        clean=clean,
        corrupted=clean,
        lengths=torch.full((n,), len(rows[0])),
        answer_row=torch.arange(n),
        answer_pos=torch.full((n,), len(rows[0]) - 1),
        correct=((5,),) * n,
        incorrect=((7,),) * n,
        clean_text=("",) * n,
        corrupted_text=("",) * n,
        template=(0,) * n,
    )
    places = find_answer_positions(prompts)
    assert places.before.tolist() == [True, False, True, False, True]
    assert places.after.tolist() == [False, True, False, True, False]
    scores = task_scores(tiny_models.weights("gpt2"), prompts, memory=MEMORY)
    both = scores.samples["attention_to_answer"]
    for name, order in (("before", places.before), ("after", places.after)):
        found = scores.samples[f"attention_to_answer_{name}"]
        np.testing.assert_array_equal(found, both[order.numpy()])
    # prompts of one order do not tell
    one = task_scores(tiny_models.weights("gpt2"), pick_rows(prompts, [0, 2, 4]), memory=MEMORY)
    assert {n for n in one.samples if "answer" in n} == {"attention_to_answer"}


def test_other_answers_have_another_right_token_and_may_share_the_wrong_one():
    drawn = find_other_answers([(1,), (2,), (1,), (3,)], [(9,), (9,), (9,), (1,)])
    # 0 and 2 are the same answer; 3 has their right token for a wrong one
    assert drawn.tolist() == [[1, 2, 1, 1]]
    assert find_other_answers([(1,), (1,)], [(), ()]).shape == (0, 2)


def test_rows_of_prompts_keep_their_answers():
    p = prompts()
    part, which = select_prompts(p, slice(1, 3))
    assert which.tolist() == [1, 2]
    assert part.answer_row.tolist() == [0, 1]
    assert part.correct == p.correct[1:3]
    assert torch.equal(part.clean, p.clean[1:3])


def test_ioi_is_ioi_like_and_other_tasks_are_not():
    assert is_ioi_like(find_task("ioi"))
    assert not is_ioi_like(find_task("docstring"))
    assert not is_ioi_like(find_task("induction"))


def test_prompts_longer_than_the_context_are_refused():
    weights = tiny_models.weights("gpt2")
    with pytest.raises(PromptError, match="do not fit"):
        task_scores(weights, random_prompts(2, 13, checkpoints.VOCAB), memory=MEMORY)
