"""Effects of reading the answer, against runs with the output of one head written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.components import normalise
from acdc_pipeline.engine.forward import run_sources
from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.answer_reading import AnswerReading, answer_reading
from acdc_pipeline.heads.answers import answer_logit, find_answer_positions
from acdc_pipeline.heads.batches import row_bytes
from acdc_pipeline.heads.layer_run import Edits, LayerRun, run_tokens
from acdc_pipeline.heads.task_scores import find_other_answers
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet
from tests import checkpoints, tiny_models
from tests.prompt_sets import random_prompts

MEMORY = 1 << 28


def prompts() -> PromptSet:
    """Prompts whose answers stand in them, the last one's twice; that of the second does not."""
    p = random_prompts(4, 6, checkpoints.VOCAB, lengths=[6, 5, 6, 4])
    p.clean[3, 1] = p.clean[3, 0]
    correct = [(int(p.clean[row, 0 if row == 3 else 2]),) for row in p.answer_row.tolist()]
    absent = next(t for t in range(checkpoints.VOCAB) if not (p.clean == t).any())
    correct[1] = (absent,)
    return replace(p, correct=tuple(correct))


def by_hand(
    weights: TransformerWeights,
    p: PromptSet,
    layer: int,
    index: int,
    direction: Float[Tensor, "*draw answer d_model"],
) -> Float[np.ndarray, "*draw standing"]:
    """What is lost along `direction`, with the sum over the answer's places in a loop."""
    runs: list[LayerRun] = []
    for tokens in (p.clean, p.corrupted):
        run_tokens(weights, tokens, visit=runs.append)
    clean, other = (run for run in runs if run.layer == layer)
    written = clean.written[index].clone()
    places = find_answer_positions(p).answer
    for row, query, keys in zip(p.answer_row, p.answer_pos, places, strict=True):
        for key in keys.nonzero().flatten().tolist():
            for run, sign in ((clean, -1), (other, 1)):
                carried = torch.zeros_like(run.carried)
                value = run.pattern[index, row, query, key] * run.values[index, row, key]
                gate = 1 if run.gate is None else run.gate[index, row, query]
                carried[index, row, query] = value * gate
                every = torch.arange(carried.shape[2])
                written[row, query] += sign * run.into_stream(carried, every)[index, row, query]
    edits = Edits(written={head(layer, index): written})
    end = run_tokens(weights, p.clean, edits=edits)[p.answer_row, p.answer_pos]
    start = run_sources(weights, p.clean).final[p.answer_row, p.answer_pos]
    change = normalise(start, weights.norm_final) - normalise(end, weights.norm_final)
    return (change * direction).sum(-1)[..., places.any(-1)].numpy()


def check_by_hand(
    found: AnswerReading, weights: TransformerWeights, p: PromptSet, node: Node
) -> None:
    """Compare the effects on the own answers, and on those of other prompts, of every draw."""
    layer, index = node.layer or 0, node.head or 0
    direction = answer_logit(weights, p.correct, p.incorrect).direction
    others = direction[find_other_answers(p.correct, p.incorrect)]
    np.testing.assert_allclose(
        found.samples[:, layer, index],
        by_hand(weights, p, layer, index, direction),
        rtol=1e-8,
        atol=1e-10,
    )
    np.testing.assert_allclose(
        found.other_answers[:, layer, index],
        by_hand(weights, p, layer, index, others).mean(-1),
        rtol=1e-8,
        atol=1e-10,
    )


# grouped keys, parallel blocks, norms behind attention
@pytest.mark.parametrize("name", ["llama", "neox", "gemma2"])
def test_effect_is_that_of_the_output_without_what_is_read_at_the_answer(name: str):
    weights, p = tiny_models.weights(name), prompts()
    heads = [head(0, 1), head(1, 0)]
    found = answer_reading(weights, p, heads, memory=MEMORY)
    assert len(found.samples) == 3, "one answer stands nowhere"
    for node in heads:
        check_by_hand(found, weights, p, node)
    assert np.isnan(found.samples[:, 0, 0]).all()
    least = answer_reading(weights, p, heads, memory=row_bytes(weights, 6))
    np.testing.assert_allclose(least.samples, found.samples, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(least.other_answers, found.other_answers, rtol=1e-10, atol=1e-12)


def test_last_layer_without_a_norm_loses_what_was_read_there_directly():
    """Nothing comes after it: the effect is a dot product, on other answers as well."""
    weights, p = tiny_models.weights("native-no-norm"), prompts()
    found = answer_reading(weights, p, [head(1, 1)], memory=MEMORY)
    check_by_hand(found, weights, p, head(1, 1))
    p.corrupted.copy_(p.clean)
    same = answer_reading(weights, p, [head(1, 1)], memory=MEMORY)
    np.testing.assert_allclose(same.samples[:, 1, 1], 0.0, atol=1e-10)
    np.testing.assert_allclose(same.other_answers[:, 1, 1], 0.0, atol=1e-10)
