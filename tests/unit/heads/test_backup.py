"""The search for backups, of every kind, where it is known who stands in for whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from acdc_pipeline.graph import Topology, head
from acdc_pipeline.heads.answers import frozen_gradient, token_logit
from acdc_pipeline.heads.backup import (
    OTHER_HEADS,
    Backup,
    draw_other_heads,
    find_backups,
    random_token_measures,
    task_measure,
)
from acdc_pipeline.heads.batches import row_bytes
from acdc_pipeline.heads.layer_run import Edits, run_tokens, zero_heads
from acdc_pipeline.heads.random_tokens import draw_sequences
from acdc_pipeline.models import load_model
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import find_task
from tests import checkpoints
from tests.hand_built import SHARP, Head, Stream

MEMORY = 1 << 28
PERIOD = 6
STREAM = Stream(vocab=14, positions=2 * PERIOD + 1)
TOKENS = draw_sequences(range(1, 14), bos=0, period=PERIOD, n=4, seed=0).tokens


def standing_in(main: Head, signal: str) -> Head:
    """`main`, but for queries that turn round to <bos> once anything stands in `signal`."""
    wide = Stream(STREAM.vocab, STREAM.positions)
    q, k = (
        torch.zeros(wide.d_model, 40, dtype=torch.float64),
        torch.zeros(wide.d_model, 40, dtype=torch.float64),
    )
    q[:, : main.q.shape[1]] = main.q
    k[:, : main.k.shape[1]] = main.k
    # any token in `signal` adds three times the match's score for <bos>
    q[wide.part(signal), 39] = 3 * SHARP
    k[wide.part("token").start, 39] = 1.0
    v = torch.zeros_like(q)
    v[:, : main.v.shape[1]] = main.v
    o = torch.zeros(40, wide.d_model, dtype=torch.float64)
    o[: main.o.shape[0]] = main.o
    return Head(q, k, v, o)


def widened(plain: Head) -> Head:
    """`plain` with as many dimensions as a head that stands in."""

    def wide(matrix: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(STREAM.d_model, 40, dtype=torch.float64)
        out[:, : matrix.shape[1]] = matrix
        return out

    return Head(wide(plain.q), wide(plain.k), wide(plain.v), wide(plain.o.T).T)


def searched(weights: TransformerWeights, kind: str, *mains: tuple[int, int]) -> Backup:
    nodes = [head(*main) for main in mains]
    measures = random_token_measures(weights, TOKENS, PERIOD, {kind: nodes}, MEMORY)
    return find_backups(measures[kind], nodes, weights, seed=0)


def test_backup_of_a_previous_token_head_is_found_and_nothing_else():
    main = STREAM.offset(1, writes="copy")
    stand_in = standing_in(STREAM.offset(1, writes="out"), signal="copy")
    plain = widened(STREAM.uniform())
    weights = STREAM.weights([widened(main), plain], [plain, stand_in])
    found = searched(weights, "previous_token", (0, 0))
    gained = found.gained.mean(0)
    # From position 1 on it looked at <bos>, which at position 1 is the token before; now it
    # looks at the token before everywhere.
    assert gained[1, 1] == pytest.approx(1 - 1 / (2 * PERIOD), abs=1e-6)
    assert gained[1, 0] == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(gained[0, 0])
    # silencing the uniform head instead wakes nobody
    assert found.others == pytest.approx(0.0, abs=1e-12)


def test_backup_of_a_duplicate_token_head_is_found_and_nothing_else():
    main = STREAM.offset(PERIOD, writes="copy")
    # <bos> writes into `copy` as well, through uniform attention before there is a duplicate
    stand_in = standing_in(STREAM.offset(PERIOD, writes="out"), signal="copy")
    plain = widened(STREAM.uniform())
    weights = STREAM.weights([widened(main), plain], [plain, stand_in])
    gained = searched(weights, "duplicate_token", (0, 0)).gained.mean(0)
    assert gained[1, 1] == pytest.approx(1.0, abs=1e-6)
    assert gained[1, 0] == pytest.approx(0.0, abs=1e-12)


def test_backup_of_an_induction_head_is_found_by_its_direct_effect():
    previous = widened(STREAM.offset(1, writes="copy"))
    induction = STREAM.matching("copy", scale=3.0)
    plain = widened(replace(STREAM.uniform(), o=STREAM.writes("copy", 0.0)))
    # the main head says the token in `out`, and its stand-in is silent while it does
    stand_in = standing_in(induction, signal="out")
    weights = STREAM.weights([previous, plain], [widened(induction), plain], [plain, stand_in])
    found = searched(weights, "induction", (1, 0))
    gained = found.gained.mean(0)
    # 3 on the right token against a mean of 3/14, where it said <bos> before, which is not right:
    # minus 3/14 more
    assert gained[2, 1] == pytest.approx(3.0, abs=1e-6)
    assert np.nanmax(np.delete(gained.ravel(), 5)) == pytest.approx(0.0, abs=1e-12)


def test_compiled_backup_is_found_and_only_it():
    model = load_model("zoo:compiled-backup", device="cpu")
    assert model.tokenizer is not None
    prompts = make_prompts(find_task("compiled_backup"), model.tokenizer, n=16, seed=0)
    measure = task_measure(model.weights, prompts, MEMORY)
    found = find_backups(measure, [head(0, 1)], model.weights, seed=0)
    gained = found.gained.mean(0)
    assert gained[1, 2] == pytest.approx(64.0)
    gained[1, 2] = 0
    assert np.nanmax(np.abs(gained)) == pytest.approx(0.0, abs=1e-4)
    assert np.abs(found.others).max() < 1e-4


def test_other_heads_are_as_many_of_the_same_layers_and_no_main_heads():
    mains = [head(1, 0), head(1, 2), head(3, 1)]
    drawn = draw_other_heads(mains, Topology(4, 8, has_mlp=False), seed=0)
    assert len(drawn) == len({frozenset(one) for one in drawn}) == OTHER_HEADS
    for nodes in drawn:
        assert sorted(node.layer or 0 for node in nodes) == [1, 1, 3]
        assert not set(nodes) & set(mains)
    assert drawn == draw_other_heads(mains, Topology(4, 8, has_mlp=False), seed=0)


def test_other_heads_of_a_layer_that_is_all_main_heads_are_none():
    topology = Topology(2, 2, has_mlp=False)
    assert draw_other_heads(topology.heads(0), topology, seed=0) == []


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "neox"])
@pytest.mark.parametrize("first", [0, 1])
def test_measure_from_the_edited_layer_on_is_that_of_whole_runs(
    name: str, first: int, tmp_path: Path
):
    """What heads write in a whole edited run, times the gradient that the unedited run freezes."""
    directory = checkpoints.EVERY[name](tmp_path / name)
    weights = load_model(f"dir:{directory}", dtype="float64", device="cpu").weights
    period = 3
    tokens = draw_sequences(range(1, 20), bos=0, period=period, n=4, seed=1).tokens
    edits = zero_heads([head(first, 0)], weights.w_e)
    queries = torch.arange(period + 1, 2 * period)
    direction = token_logit(weights, tokens[:, queries - (period - 1)])
    final = run_tokens(weights, tokens)[:, queries]
    gradient = frozen_gradient(final, weights.norm_final, direction)
    found: list[torch.Tensor] = []
    run_tokens(
        weights,
        tokens,
        edits=edits,
        visit=lambda run: found.append((run.written[:, :, queries] * gradient).sum(-1).mean(-1)),
    )
    expected = torch.stack(found).permute(2, 0, 1).numpy()
    # the layer that edits begin at was announced, or was not
    for memory, announced in ((MEMORY, first), (row_bytes(weights, tokens.shape[1]), 1 - first)):
        mains = {"induction": [head(announced, 0)]}
        measure = random_token_measures(weights, tokens, period, mains, memory)["induction"]
        np.testing.assert_allclose(measure(edits), expected, rtol=1e-9, atol=1e-12)
        # and once more, from what was kept
        np.testing.assert_allclose(measure(edits), expected, rtol=1e-9, atol=1e-12)


def test_scores_measured_together_are_those_measured_alone(tmp_path: Path):
    directory = checkpoints.EVERY["llama"](tmp_path / "llama")
    weights = load_model(f"dir:{directory}", dtype="float64", device="cpu").weights
    tokens = draw_sequences(range(1, 20), bos=0, period=3, n=4, seed=1).tokens
    mains = {"induction": [head(1, 0)], "previous_token": [head(0, 1)]}
    together = random_token_measures(weights, tokens, 3, mains, MEMORY)
    for kind, nodes in mains.items():
        alone = random_token_measures(weights, tokens, 3, {kind: nodes}, MEMORY)[kind]
        for edits in (Edits(), zero_heads(nodes, weights.w_e)):
            np.testing.assert_allclose(together[kind](edits), alone(edits), rtol=1e-12)


def test_backup_counts_its_measurements_up_to_all_of_them():
    plain = widened(STREAM.uniform())
    weights = STREAM.weights([plain, plain], [plain, plain])
    seen: list[tuple[int, int]] = []
    nodes = [head(0, 0)]
    measures = random_token_measures(weights, TOKENS, PERIOD, {"previous_token": nodes}, MEMORY)
    find_backups(
        measures["previous_token"],
        nodes,
        weights,
        seed=0,
        progress=lambda done, total: seen.append((done, total)),
    )
    # unedited, the main head zeroed, and the one other head of its layer
    assert seen == [(1, 3), (2, 3), (3, 3)]
