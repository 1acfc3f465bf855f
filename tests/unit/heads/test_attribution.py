"""Attention scores as sums over sources, against patterns and a plain implementation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from acdc_pipeline.engine.components import normalise
from acdc_pipeline.engine.forward import run_sources
from acdc_pipeline.engine.slots import rotate
from acdc_pipeline.graph import Node, head
from acdc_pipeline.heads.attribution import (
    Attribution,
    Question,
    attribute,
)
from acdc_pipeline.heads.layer_run import LayerRun, attend, run_tokens
from acdc_pipeline.heads.source_names import DISTANCE, REST
from acdc_pipeline.models.weights import TransformerWeights
from tests import attention_models, checkpoints, tiny_models

ROW = torch.randint(checkpoints.VOCAB, (1, 7), generator=torch.Generator().manual_seed(3))
QUERY = 5


def every_head(weights: TransformerWeights, query: int = QUERY) -> list[Question]:
    return [Question(node, 0, query) for node in weights.topology.sources if node.kind == "head"]


def attributions(
    weights: TransformerWeights, tokens: torch.Tensor, questions: list[Question]
) -> dict[Node, Attribution]:
    found: dict[Node, Attribution] = {}

    def visit(one_row: list[Attribution], final: torch.Tensor) -> None:
        assert final.shape[1] == weights.d_model
        found.update({one.question.node: one for one in one_row})

    attribute(weights, tokens, questions, visit)
    return found


def contrast(pattern: torch.Tensor, key: int, query: int = QUERY) -> float:
    """The mean over the other keys of ln A[q, k*] / A[q, k], a plain loop."""
    row = pattern[query].double()
    logs = [
        float(row[key].log() - row[k].log()) for k in range(len(row)) if row[k] > 0 and k != key
    ]
    return sum(logs) / len(logs)


def check_sums(one: Attribution) -> None:
    """Contributions add up to what they are of, and pairs to contributions."""
    for found in (one.by_key, one.by_query):
        assert sum(found.values()) == pytest.approx(one.contrast, rel=1e-9, abs=1e-9)
    for found, sums, names in (
        (one.by_key, one.pairs.sum(0), one.columns),
        (one.by_query, one.pairs.sum(1), one.rows),
    ):
        assert names[-1] == REST
        expected = [found[name] for name in names[:-1]]
        assert sums[:-1].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert float(sums.sum()) == pytest.approx(one.contrast, rel=1e-9, abs=1e-9)
    assert sum(one.by_value.values()) == pytest.approx(1.0, rel=1e-9, abs=1e-9)
    assert float(one.by_token.sum()) == pytest.approx(1.0, rel=1e-9, abs=1e-9)


# Learned positions, rotary with grouped keys, parallel blocks and partial rotary, norms of queries
# and keys for each head and across heads, a soft cap and norms behind attention.
@pytest.mark.parametrize("name", ["gpt2", "llama", "neox", "opt", "qwen3", "olmo2", "gemma2"])
def test_contributions_sum_to_the_contrast_of_scores(name: str):
    weights = tiny_models.weights(name)
    found = attributions(weights, ROW, every_head(weights))
    assert len(found) == weights.topology.n_heads_total
    uncapped = replace(
        weights,
        blocks=tuple(
            replace(block, attn=replace(block.attention, score_cap=None))
            for block in weights.blocks
        ),
    )
    runs: list[LayerRun] = []
    run_tokens(weights, ROW, visit=runs.append)
    for node, one in found.items():
        assert node.layer is not None
        assert node.head is not None
        own = runs[node.layer].pattern[node.head, 0]
        assert one.key == int(own[QUERY].argmax())
        assert one.weight == pytest.approx(float(own[QUERY, one.key]))
        pattern = attend(uncapped, node.layer, runs[node.layer].stream).pattern[node.head, 0]
        assert one.contrast == pytest.approx(contrast(pattern, one.key), rel=1e-8)
        written = runs[node.layer].written[node.head, 0, QUERY]
        torch.testing.assert_close(one.output, written)
        check_sums(one)


@pytest.mark.parametrize("name", ["gpt2", "llama", "neox", "opt"])
def test_contributions_sum_to_the_contrast_of_the_patterns_of_the_bridge(name: str):
    model = tiny_models.loaded(name)
    found = attributions(model.weights, ROW, every_head(model.weights))
    patterns: dict[int, torch.Tensor] = {}

    def keep(pattern: torch.Tensor, hook: Any) -> None:
        patterns[hook.layer()] = pattern

    hooks: list[Any] = [
        (f"blocks.{layer}.attn.hook_pattern", keep) for layer in range(len(model.bridge.blocks))
    ]
    with torch.no_grad():
        model.bridge.run_with_hooks(ROW, fwd_hooks=hooks)
    largest = max(abs(one.contrast) for one in found.values())
    for node, one in found.items():
        assert node.layer is not None
        expected = contrast(patterns[node.layer][0, node.head], one.key)
        # the bridge and the engine both compute in float32
        assert sum(one.by_key.values()) == pytest.approx(expected, rel=1e-5, abs=1e-5 * largest)


@pytest.mark.parametrize(
    "kind", ["sinks", "latents", "latents-layer-norm", "gate", "chunks", "normed", "coupled"]
)
def test_contributions_sum_to_the_contrast_in_other_kinds_of_attention(kind: str):
    weights = attention_models.build(kind)
    tokens = torch.tensor([[3, 1, 4, 1, 5, 9]])
    found = attributions(weights, tokens, every_head(weights))
    runs: list[LayerRun] = []
    run_tokens(weights, tokens, visit=runs.append)
    assert len(found) == weights.topology.n_heads_total
    for node, one in found.items():
        assert node.layer is not None
        pattern = runs[node.layer].pattern[node.head, 0]
        assert one.contrast == pytest.approx(contrast(pattern, one.key), rel=1e-8)
        assert (DISTANCE in one.by_query) == (kind == "coupled")  # ALiBi is no part of a query
        check_sums(one)


@pytest.mark.parametrize("kind", ["alibi", "difference"])
def test_heads_whose_scores_are_no_sum_over_sources_are_left_out(kind: str):
    weights = attention_models.build(kind)
    assert not attributions(weights, torch.tensor([[3, 1, 4, 1, 5, 9]]), every_head(weights))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_contributions_are_those_of_a_plain_implementation(name: str):
    """One source and key at a time, from the outputs of the engine's forward pass."""
    weights = tiny_models.weights(name)
    sources = run_sources(weights, ROW).outputs[:, 0]
    number = {str(node): i for i, node in enumerate(weights.topology.sources)}
    block, attn = weights.blocks[1], weights.blocks[1].attention
    stream = sources[: number["a1.h0"]].sum(0)
    before, weight = weights.blocks[0].attention.b_o, block.norm_attn.weight
    assert weight is not None
    if before is not None:
        stream = stream + before
    for node, one in attributions(weights, ROW, every_head(weights)).items():
        if node.layer != 1 or node.head is None:
            continue
        w_k = attn.w_k[node.head // attn.heads_per_kv]
        b_q = 0.0 if attn.b_q is None else attn.b_q[node.head]
        query = normalise(stream, block.norm_attn)[QUERY] @ attn.w_q[node.head] + b_q

        def turned(x: torch.Tensor, at: int) -> torch.Tensor:
            if attn.rotary is None:
                return x
            return rotate(x[None], attn.rotary, torch.tensor([at]))[0]

        query = turned(query, QUERY)
        for source in ("a0.h1", "m0"):
            keys = []
            for at in range(QUERY + 1):
                x, whole = sources[number[source]][at], stream[at]
                if block.norm_attn.kind == "layer":
                    x = (x - x.mean()) / (whole.var(correction=0) + block.norm_attn.eps).sqrt()
                else:
                    x = x / (whole.square().mean() + block.norm_attn.eps).sqrt()
                keys.append((x * weight) @ w_k)
            mean = torch.stack(keys).mean(0)
            scores = [
                float(query @ turned(key - mean, at)) * attn.scale for at, key in enumerate(keys)
            ]
            others = [score for at, score in enumerate(scores) if at != one.key]
            expected = scores[one.key] - sum(others) / len(others)
            assert one.by_key[source] == pytest.approx(expected, rel=1e-8)


def test_key_is_the_most_attended_of_those_asked_for_and_a_single_key_has_no_contrast():
    weights = tiny_models.weights("gpt2")
    (one,) = attributions(weights, ROW, [Question(head(1, 0), 0, QUERY, (1, 3))]).values()
    runs: list[LayerRun] = []
    run_tokens(weights, ROW, visit=runs.append)
    row = runs[1].pattern[0, 0, QUERY]
    best = 1 if row[1] > row[3] else 3
    assert one.key == (best if row[best] >= 0.5 * row.max() else int(row.argmax()))
    # one that is hardly looked at is not explained
    least = int(row[: QUERY + 1].argmin())
    assert row[least] < 0.5 * row.max()
    (other,) = attributions(weights, ROW, [Question(head(1, 0), 0, QUERY, (least,))]).values()
    assert other.key == int(row.argmax())
    assert not attributions(weights, ROW, [Question(head(1, 0), 0, 0)])
