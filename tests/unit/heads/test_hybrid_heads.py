"""Heads of models in which some layers have none: scores, edits, and what is left empty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from acdc_pipeline.engine.forward import run_sources
from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.backup import find_backups, task_measure
from acdc_pipeline.heads.composition import composition
from acdc_pipeline.heads.copying import ov_copying, top_and_bottom_values
from acdc_pipeline.heads.layer_run import LayerRun, run_tokens
from acdc_pipeline.heads.query_effects import query_effects
from acdc_pipeline.heads.random_tokens import draw_sequences, random_token_scores
from acdc_pipeline.heads.random_weights import random_model_count, random_models
from acdc_pipeline.heads.relations import successor_scores
from acdc_pipeline.heads.singular_tokens import top_tokens
from acdc_pipeline.heads.task_scores import task_scores
from acdc_pipeline.models.weights import TransformerWeights
from tests.oracles.hybrid import VOCAB, PlainHybrid, hybrid_weights
from tests.prompt_sets import random_prompts

MEMORY = 2**28
PROMPTS = random_prompts(3, 5, VOCAB, seed=5, lengths=[5, 5, 4])
LAYERS = ("rm", "am", "r", "arm")
HAVING, WITHOUT = [1, 3], [0, 2]


def weights_of(layers: tuple[str, ...] = LAYERS) -> TransformerWeights:
    return hybrid_weights(layers, seed=1, bias=True)


def answers_of(oracle: PlainHybrid, removed: set[str]) -> np.ndarray:
    logprobs, rows = oracle.logprobs(removed), torch.arange(len(PROMPTS))
    right, wrong = (
        torch.tensor([token for (token,) in side]) for side in (PROMPTS.correct, PROMPTS.incorrect)
    )
    return (logprobs[rows, right] - logprobs[rows, wrong]).numpy()


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("layers", [LAYERS, ("m", "ar", "m"), ("a", "rm", "r")])
def test_hybrid_heads_write_what_the_clean_forward_writes(layers: tuple[str, ...], parallel: bool):
    weights = hybrid_weights(layers, parallel=parallel, bias=True)
    runs: list[LayerRun] = []
    final = run_tokens(weights, PROMPTS.clean, visit=runs.append)
    sources = run_sources(weights, PROMPTS.clean)
    torch.testing.assert_close(final, sources.final)
    assert [run.layer for run in runs] == list(weights.topology.layers_with_heads)
    for run in runs:
        at = weights.topology.head_sources(run.layer)
        torch.testing.assert_close(run.written, sources.outputs[at.start : at.stop])


def test_hybrid_ablations_cost_what_a_plain_forward_without_the_head_measures():
    weights = weights_of()
    oracle = PlainHybrid(weights, PROMPTS)
    names = [str(edge) for edge in weights.topology.edges]
    scores = task_scores(weights, PROMPTS, memory=MEMORY)
    found = scores.samples["corrupted_ablation"]
    clean = answers_of(oracle, set())
    for layer in HAVING:
        for index in range(2):
            out_of = {name for name in names if name.startswith(f"a{layer}.h{index}->")}
            lost = clean - answers_of(oracle, out_of)
            np.testing.assert_allclose(found[:, layer, index], lost, rtol=0, atol=1e-10)
    for name, values in scores.samples.items():
        assert values.shape[1:] == (4, 2), name
        assert np.isnan(values[:, WITHOUT]).all()
        assert np.isfinite(values[:, HAVING]).all()


def test_hybrid_query_effects_are_those_of_plain_path_patching():
    weights = weights_of(("a", "r", "am", "rm", "am"))
    oracle = PlainHybrid(weights, PROMPTS)
    movers = [head(2, 1), head(4, 0)]
    found = query_effects(weights, PROMPTS, movers, memory=MEMORY)
    clean = answers_of(oracle, set())
    for layer in (0, 2):
        for index in range(2):
            later = [node for node in movers if (node.layer or 0) > layer]
            removed = {f"a{layer}.h{index}->{node}<q>" for node in later}
            lost = clean - answers_of(oracle, removed)
            np.testing.assert_allclose(found[:, layer, index], lost, rtol=0, atol=1e-10)
    assert np.isnan(found[:, [1, 3, 4]]).all()


def test_hybrid_backups_are_measured_in_layers_with_heads_alone():
    weights = weights_of(("a", "r", "am", "rm"))
    measure = task_measure(weights, PROMPTS, MEMORY)
    found = find_backups(measure, [head(0, 0)], weights, seed=0)
    finite = np.isfinite(found.gained).all(0)
    assert finite.tolist() == [[False, True], [False] * 2, [True] * 2, [False] * 2]


def _with_heads_alone(weights: TransformerWeights) -> TransformerWeights:
    """The same heads in a model of nothing else."""
    blocks = (replace(b, mixer=None, mlp=None, norm_mlp=None) for b in weights.blocks if b.attn)
    return replace(weights, blocks=tuple(blocks))


def test_hybrid_scores_of_weights_are_those_of_the_same_heads_in_a_model_of_heads_alone():
    # Without an MLP in its first layer, so that tokens reach every layer as they are embedded.
    weights = weights_of(("r", "am", "r", "arm"))
    alone = _with_heads_alone(weights)
    place: dict[int, int] = dict(zip(HAVING, range(2), strict=True))

    def same(ours: np.ndarray, theirs: np.ndarray) -> None:
        np.testing.assert_array_equal(ours[..., HAVING, :], theirs)
        assert np.isnan(ours[..., WITHOUT, :]).all()

    ours, theirs = composition(weights, MEMORY), composition(alone, MEMORY)
    for slot, grid in ours.strongest.items():
        same(grid, theirs.strongest[slot])
    for name, grid in ours.norms.items():
        same(grid, theirs.norms[name])
    renamed = {
        (slot, _moved(node, place)): tuple((_moved(other, place), v) for other, v in partners)
        for (slot, node), partners in ours.partners.items()
    }
    assert renamed == dict(theirs.partners)
    same(ov_copying(weights, MEMORY), ov_copying(alone, MEMORY))
    tokens = torch.arange(VOCAB)
    names = ("copy_at_5", "suppress_at_5")
    for one, other in zip(
        top_and_bottom_values(weights, tokens, names, MEMORY),
        top_and_bottom_values(alone, tokens, names, MEMORY),
        strict=True,
    ):
        same(one.mean, other.mean)
    same(successor_scores(weights, [[1, 4, 2, 7]]), successor_scores(alone, [[1, 4, 2, 7]]))
    found = {_moved(node, place): t for node, t in top_tokens(weights, MEMORY).items()}
    assert found == top_tokens(alone, MEMORY)


def _moved(node: Node, place: dict[int, int]) -> Node:
    assert node.layer is not None
    assert node.head is not None
    return head(place[node.layer], node.head)


def test_hybrid_scores_on_random_tokens_are_empty_where_there_is_no_head():
    weights = weights_of()
    drawn = draw_sequences(list(range(VOCAB)), bos=None, period=4, n=3, seed=0)
    scores = random_token_scores(weights, drawn.tokens, drawn.period, memory=MEMORY)
    for values in scores.samples.values():
        assert values.shape == (3, 4, 2)
        assert np.isnan(values[:, WITHOUT]).all()
        assert np.isfinite(values[:, HAVING]).all()


def test_hybrid_random_models_have_other_matrices_in_their_mixers():
    weights = weights_of()
    assert random_model_count(weights) == 32
    mixer = weights.blocks[0].mixer
    assert mixer is not None
    before = {name: value.clone() for name, value in mixer.module.named_parameters()}
    drawn = next(iter(random_models(weights, 0))).blocks[0].mixer
    assert drawn is not None
    after = dict(drawn.module.named_parameters())
    assert isinstance(drawn.module, nn.Module)
    for name, value in mixer.module.named_parameters():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
        assert torch.equal(after[name], value) == (value.dim() == 1)
