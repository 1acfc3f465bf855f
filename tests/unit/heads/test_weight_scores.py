"""Scores from the weights against whole matrices, formed where the package never forms them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from acdc_pipeline.engine.forward import run_mlp
from acdc_pipeline.graph import Slot, head
from acdc_pipeline.heads import composition as composition_module
from acdc_pipeline.heads.composition import composition
from acdc_pipeline.heads.copying import ov_copying, rank_tokens
from acdc_pipeline.heads.folded import (
    effective_embedding,
    folded_layer,
    folded_mean_unembedding,
)
from acdc_pipeline.heads.random_weights import (
    ENOUGH_HEADS,
    MOST_MODELS,
    random_model_count,
    random_models,
    random_weights,
)
from acdc_pipeline.heads.singular_tokens import top_tokens
from acdc_pipeline.models.weights import Norm, TransformerWeights
from tests import tiny_models
from tests.hand_built import Head, Stream

MEMORY = 1 << 28
NARROW = 4096
"""Bytes that hold a row or two of anything."""

STREAM = Stream(vocab=12, positions=11)

# learned positions, grouped keys, norms behind attention, parallel blocks, no MLP, no norm
KINDS = ("gpt2", "llama", "gemma2", "neox", "native-ln", "native-no-norm")


def norm_matrix(weights: TransformerWeights, layer: int | None) -> Tensor:
    """The linear part of a norm as a matrix: x -> x M."""
    norm = weights.norm_final if layer is None else weights.blocks[layer].norm_attn
    d = weights.d_model
    eye = torch.eye(d, dtype=torch.float64)
    if norm.kind == "none":
        return eye
    centre = eye - 1 / d if norm.kind == "layer" else eye
    return centre if norm.weight is None else centre @ torch.diag(norm.weight)


def circuits(weights: TransformerWeights, layer: int, h: int) -> tuple[Tensor, Tensor]:
    """W_OV and W_QK of a head, d_model x d_model."""
    block = weights.blocks[layer]
    attn = block.attention
    kv = h // attn.heads_per_kv
    norm = norm_matrix(weights, layer)
    post = torch.eye(weights.d_model, dtype=torch.float64)
    if block.post_attn is not None and block.post_attn.weight is not None:
        post = torch.diag(block.post_attn.weight)
    ov = norm @ attn.w_v[kv] @ attn.w_o[h] @ post
    qk = norm @ attn.w_q[h] @ attn.w_k[kv].T @ norm.T
    return ov, qk


def tokens_to_tokens(weights: TransformerWeights, layer: int, h: int) -> Tensor:
    """E' W_OV W_U, vocabulary x vocabulary."""
    embedding = weights.w_e
    if layer > 0 and weights.blocks[0].mlp is not None:
        embedding = embedding + run_mlp(weights.blocks[0], weights.w_e)
    ov, _ = circuits(weights, layer, h)
    return embedding @ ov @ norm_matrix(weights, None) @ weights.w_u


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("memory", [MEMORY, NARROW])
def test_ov_copying_is_that_of_the_whole_token_matrix(name: str, memory: int):
    weights = tiny_models.weights(name)
    got = ov_copying(weights, memory)
    for layer in range(got.shape[0]):
        for h in range(got.shape[1]):
            matrix = tokens_to_tokens(weights, layer, h)
            values = torch.linalg.eigvals(matrix - matrix.mean(dim=1, keepdim=True))
            expected = float(values.real.sum() / values.abs().sum())
            # zeros of the large matrix come out as 1e-16 to the power of 1 / their block's size
            assert got[layer, h] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("memory", [MEMORY, NARROW])
def test_ranks_are_those_of_sorted_rows(name: str, memory: int):
    weights = tiny_models.weights(name)
    sources, targets = torch.tensor([1, 5, 9, 3]), torch.tensor([1, 5, 2, 22])
    ranks = rank_tokens(weights, sources, targets, memory, most=weights.w_u.shape[1])
    for layer in range(len(weights.blocks)):
        for h in range(weights.topology.n_heads):
            rows = tokens_to_tokens(weights, layer, h)
            for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
                order = rows[source].argsort(descending=True).tolist()
                place = order.index(int(target))
                assert ranks.from_top[layer, h, i] == place
                assert ranks.from_bottom[layer, h, i] == len(order) - 1 - place


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("memory", [MEMORY, NARROW])
def test_composition_and_norms_are_those_of_whole_matrices(name: str, memory: int):
    weights = tiny_models.weights(name)
    found = composition(weights, memory)
    norms = found.norms
    n_heads = weights.topology.n_heads
    for h in range(n_heads):
        ov, qk = circuits(weights, 1, h)
        assert norms["ov_norm"][1, h] == pytest.approx(float(ov.norm()))
        assert norms["qk_norm"][1, h] == pytest.approx(float(qk.norm()))
        reads: dict[Slot, Tensor] = {"q": qk, "k": qk.T, "v": ov}
        for slot, read in reads.items():
            expected = {}
            for earlier in range(n_heads):
                written, _ = circuits(weights, 0, earlier)
                value = (written @ read).norm() / (written.norm() * read.norm())
                expected[head(0, earlier)] = float(value) - weights.d_model**-0.5
            assert found.strongest[slot][1, h] == pytest.approx(max(expected.values()))
            partners = dict(found.partners[slot, head(1, h)])
            assert partners == pytest.approx({node: expected[node] for node in partners})
            assert list(partners.values()) == sorted(partners.values(), reverse=True)
    assert np.isnan(found.strongest["q"][0]).all()


def test_composition_is_the_same_with_few_layers_in_memory(monkeypatch: pytest.MonkeyPatch):
    weights = tiny_models.weights("gpt2")
    deep = replace(weights, blocks=tuple(weights.blocks) * 3)
    every = composition(deep, MEMORY)
    for few in (1, 2):
        monkeypatch.setattr(composition_module, "_writers_at_once", lambda *_, few=few: few)
        found = composition(deep, MEMORY)
        assert found.partners == every.partners
        for name in found.norms:
            np.testing.assert_array_equal(found.norms[name], every.norms[name])
        for slot in found.strongest:
            np.testing.assert_array_equal(found.strongest[slot], every.strongest[slot])


@pytest.mark.parametrize("across", [False, True])
def test_mean_of_a_narrow_unembedding_is_that_of_the_widened_one(across: bool):
    drawn = torch.randn(130, 3001, generator=torch.Generator().manual_seed(0)).bfloat16()
    narrow = drawn.T.contiguous().T if across else drawn
    plain = Norm("none", None, None, 1e-5)
    weights = TransformerWeights(
        w_e=torch.zeros(7, 130),
        w_pos=None,
        blocks=(),
        norm_final=plain,
        w_u=narrow,
        b_u=None,
        parallel=False,
        n_ctx=8,
    )
    found = folded_mean_unembedding(weights)
    assert torch.equal(found, narrow.float().mean(dim=-1, keepdim=True))


def test_composition_baseline_is_the_mean_square_over_random_rotations():
    """‖A R X‖² over rotations R has the mean ‖A‖²‖X‖²/d; here 400 of them, to 5 %."""
    generator = torch.Generator().manual_seed(0)
    d = 8
    left = torch.randn(d, d, generator=generator, dtype=torch.float64)[:, :2] @ torch.randn(
        2, d, generator=generator, dtype=torch.float64
    )
    right = torch.randn(d, d, generator=generator, dtype=torch.float64)
    squares = []
    for _ in range(400):
        rotation, _ = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))
        squares.append(float((left @ rotation @ right).norm() ** 2))
    expected = float(left.norm() ** 2 * right.norm() ** 2 / d)
    assert np.mean(squares) == pytest.approx(expected, rel=0.05)


def test_composition_finds_the_head_that_writes_what_is_read():
    previous = STREAM.offset(1, writes="copy")
    elsewhere = STREAM.uniform(writes="out")
    readers = [STREAM.matching("copy"), STREAM.uniform()]
    found = composition(STREAM.weights([elsewhere, previous], readers), MEMORY)
    # W_OV of the first takes 12 tokens to `copy`, W_QK^T reads all of it: both of rank 12 with
    # equal singular values, so the product has 1/12 of the two norms' product, squared
    expected = 12**-0.5 - STREAM.d_model**-0.5
    assert found.partners["k", head(1, 0)][0] == (head(0, 1), pytest.approx(expected))
    # keys do not read `out`, queries do not read `copy`
    nothing = pytest.approx(-(STREAM.d_model**-0.5))
    assert found.partners["k", head(1, 0)][1] == (head(0, 0), nothing)
    assert found.strongest["q"][1, 0] == nothing


def test_copying_suppressing_and_idle_heads():
    lowers = replace(STREAM.uniform(), o=STREAM.writes("out", -2.0))
    elsewhere = STREAM.uniform(writes="copy")
    weights = STREAM.weights([STREAM.uniform(), lowers, STREAM.idle(), elsewhere])
    assert ov_copying(weights, MEMORY)[0] == pytest.approx([1.0, -1.0, np.nan, np.nan], nan_ok=True)
    every = torch.arange(12)
    ranks = rank_tokens(weights, every, every, MEMORY, most=12)
    assert ranks.from_top[0, 0].tolist() == [0] * 12
    assert ranks.from_bottom[0, 1].tolist() == [0] * 12
    # a head that writes nothing puts no token first: all twelve share one logit
    assert ranks.from_top[0, 2].tolist() == ranks.from_bottom[0, 2].tolist() == [11] * 12


def along_one_direction(sign: float) -> Head:
    """Reads tokens as 1 … 12 along one direction, and writes that times 1 … 12 to their logits."""
    places = torch.arange(1, 13, dtype=torch.float64)
    v, o = STREAM.nothing(), STREAM.nothing().T.clone()
    v[STREAM.part("token"), 0] = places
    o[0, STREAM.part("out")] = sign * places
    return replace(STREAM.uniform(), v=v, o=o)


def test_ov_copying_is_blind_to_what_is_added_to_every_logit():
    """With v = 1 … 12 the matrix of tokens to tokens is -v vᵀ, with one eigenvalue, which is
    -vᵀ(v - mean v) = -(650 - 12 · 6.5²) = -143. A constant in every column of W_U adds 78 v 1ᵀ to
    the matrix and so 78 to each logit alike; without centring the eigenvalue would then be
    -650 + 78 · 78, of the other sign."""
    weights = STREAM.weights([along_one_direction(-1.0)])
    constant = torch.zeros_like(weights.w_u)
    constant[STREAM.part("out")] = -1.0
    for model in (weights, replace(weights, w_u=weights.w_u + constant)):
        assert ov_copying(model, MEMORY)[0] == pytest.approx([-1.0])


def test_positive_eigenvalues_put_no_token_first():
    """v vᵀ has no negative eigenvalue, so that all tokens are raised on the whole; but looking at
    any token, the head raises token 12 most: only that is above all others when looked at, and
    token t has 12 - t above it."""
    weights = STREAM.weights([along_one_direction(1.0)])
    assert ov_copying(weights, MEMORY)[0] == pytest.approx([1.0])
    every = torch.arange(12)
    ranks = rank_tokens(weights, every, every, MEMORY, most=12)
    assert ranks.from_top[0, 0].tolist() == list(range(11, -1, -1))


def test_top_tokens_lie_furthest_along_the_singular_vectors():
    for name in ("gpt2", "llama", "gemma2"):
        weights = tiny_models.weights(name)
        for memory in (MEMORY, NARROW):
            found = top_tokens(weights, memory)
            for h in range(weights.topology.n_heads):
                ov, _ = circuits(weights, 1, h)
                u, s, vh = torch.linalg.svd(ov)
                read = effective_embedding(weights, slice(0, None), 1) @ u[:, 0]
                written = weights.w_u.T @ norm_matrix(weights, None).T @ vh[0]
                sign = 1 if read.max() > (-read).max() else -1
                direction = found[head(1, h)].ov[0]
                assert direction.source == tuple((sign * read).topk(6).indices.tolist())
                assert direction.target == tuple((sign * written).topk(6).indices.tolist())
                assert direction.value == pytest.approx(float(s[0] / s.norm()))


def test_top_tokens_of_queries_and_keys_lie_on_the_same_side():
    weights = tiny_models.weights("llama")
    found = top_tokens(weights, MEMORY)[head(1, 2)].qk[0]
    _, qk = circuits(weights, 1, 2)
    u, _, vh = torch.linalg.svd(qk)
    embedding = effective_embedding(weights, slice(0, None), 1)
    asks, shown = embedding @ u[:, 0], embedding @ vh[0]
    sign = 1 if asks.max() > (-asks).max() else -1
    assert found.source == tuple((sign * asks).topk(6).indices.tolist())
    assert found.target == tuple((sign * shown).topk(6).indices.tolist())


def test_top_tokens_of_an_idle_head_are_none():
    weights = STREAM.weights([STREAM.idle(), STREAM.duplicate()])
    found = top_tokens(weights, MEMORY)
    assert found[head(0, 0)].ov == found[head(0, 0)].qk == ()
    assert found[head(0, 1)].qk


def test_random_models_keep_shape_size_and_norms():
    weights = tiny_models.weights("gemma2")
    drawn = random_weights(weights, seed=1)
    for ours, theirs in zip(drawn.blocks, weights.blocks, strict=True):
        assert ours.norm_attn is theirs.norm_attn
        assert ours.attention.w_q.shape == theirs.attention.w_q.shape
        assert not torch.equal(ours.attention.w_q, theirs.attention.w_q)
        # 16 x 8 entries or more: their mean square is within a third of what was asked
        size = ours.attention.w_q.square().mean() / theirs.attention.w_q.square().mean()
        assert float(size) == pytest.approx(1.0, abs=0.35)
    assert torch.equal(random_weights(weights, seed=1).w_e, drawn.w_e)
    assert not torch.equal(random_weights(weights, seed=2).w_e, drawn.w_e)


def test_random_models_have_enough_heads_and_not_many_more():
    small = tiny_models.weights("gpt2")
    assert small.topology.n_heads == len(small.blocks) == 2
    assert len(list(random_models(small, seed=0))) == random_model_count(small) == MOST_MODELS
    medium = replace(small, blocks=(*small.blocks,) * 5)
    models = list(random_models(medium, seed=0))
    assert len(models) == random_model_count(medium) == 13
    heads = sum(len(model.blocks) * model.topology.n_heads for model in models)
    assert ENOUGH_HEADS <= heads < ENOUGH_HEADS + 20
    deep = replace(small, blocks=(*small.blocks,) * 200)
    (model,) = random_models(deep, seed=0)
    assert len(model.blocks) * model.topology.n_heads == ENOUGH_HEADS


def test_folded_layer_repeats_the_keys_of_a_group():
    weights = tiny_models.weights("qwen2")
    assert weights.blocks[0].attention.heads_per_kv == 2
    folded = folded_layer(weights, 0)
    assert torch.equal(folded.w_k[0], folded.w_k[1])
    assert not torch.equal(folded.w_q[0], folded.w_q[1])
