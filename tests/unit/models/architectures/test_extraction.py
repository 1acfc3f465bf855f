"""What is peculiar about an architecture is found in its modules, and is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from acdc_pipeline.engine import parity_error
from acdc_pipeline.models import TransformerWeights
from acdc_pipeline.models.weights import Attention, Block, RotaryPairs
from tests import checkpoints, tiny_models

TOKENS = torch.randint(checkpoints.VOCAB, (3, 9), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("name", "windows"),
    [
        ("llama", [None, None]),
        ("mistral", [3, 3]),
        ("starcoder2", [3, 3]),
        ("phi3", [3, 3]),
        ("qwen2", [None, 3]),
        ("qwen3", [None, None]),
        ("gpt-neo", [None, 3]),
        ("gemma2", [3, None]),
        ("gemma3", [3, None]),
        ("olmo3", [3, None]),
    ],
)
def test_extract_weights_windows_are_those_of_each_layer(name: str, windows: list[int | None]):
    found = [block.attention.window for block in tiny_models.loaded(name).weights.blocks]
    assert found == windows


@pytest.mark.parametrize(
    ("name", "scale"),
    [("gpt2", 8**-0.5), ("mistral", 12**-0.5), ("gpt-neo", 1.0), ("gemma2", 5**-0.5)],
)
def test_extract_weights_score_scale_comes_from_the_module(name: str, scale: float):
    assert tiny_models.loaded(name).weights.blocks[0].attention.scale == pytest.approx(scale)


def _blocks(weights: TransformerWeights, change: Callable[[Block], Block]) -> TransformerWeights:
    return replace(weights, blocks=tuple(change(block) for block in weights.blocks))


def _attention(
    change: Callable[[Attention], Attention],
) -> Callable[[TransformerWeights], TransformerWeights]:
    return lambda weights: _blocks(weights, lambda b: replace(b, attn=change(b.attention)))


def _turned(attn: Attention, pairs: RotaryPairs) -> Attention:
    assert attn.rotary is not None
    return replace(attn, rotary=replace(attn.rotary, pairs=pairs))


def _rotated_as_the_first(weights: TransformerWeights) -> TransformerWeights:
    first = weights.blocks[0].attention.rotary
    return _blocks(weights, lambda b: replace(b, attn=replace(b.attention, rotary=first)))


def _keys_across(attn: Attention) -> Attention:
    assert attn.q_norm is not None
    return replace(attn, q_norm=replace(attn.q_norm, across="head"))


WITHOUT: dict[tuple[str, str], Callable[[TransformerWeights], TransformerWeights]] = {
    ("mistral", "window"): _attention(lambda a: replace(a, window=None)),
    ("qwen2", "window"): _attention(lambda a: replace(a, window=None)),
    ("starcoder2", "window"): _attention(lambda a: replace(a, window=None)),
    ("phi3", "window"): _attention(lambda a: replace(a, window=None)),
    ("gpt-neo", "window"): _attention(lambda a: replace(a, window=None)),
    ("gpt-neo", "no scale"): _attention(lambda a: replace(a, scale=8**-0.5)),
    ("gptj", "pairs"): _attention(lambda a: _turned(a, RotaryPairs.HALVES)),
    ("cohere", "pairs"): _attention(lambda a: _turned(a, RotaryPairs.HALVES)),
    ("cohere", "head norms"): _attention(lambda a: replace(a, q_norm=None, k_norm=None)),
    ("stablelm-parallel", "head norms"): _attention(lambda a: replace(a, k_norm=None)),
    ("qwen3", "head norms"): _attention(lambda a: replace(a, q_norm=None)),
    ("olmo2", "norm across heads"): _attention(_keys_across),
    ("olmo2", "norm after attention"): lambda w: _blocks(w, lambda b: replace(b, post_attn=None)),
    ("gemma2", "norm after MLP"): lambda w: _blocks(w, lambda b: replace(b, post_mlp=None)),
    ("gemma2", "cap of scores"): _attention(lambda a: replace(a, score_cap=None)),
    ("gemma2", "cap of logits"): lambda w: replace(w, logit_cap=None),
    ("gemma3", "second rotary base"): _rotated_as_the_first,
    ("gemma", "embedding scale"): lambda w: replace(w, w_e=w.w_e / 12**0.5),
    ("opt", "position offset"): lambda w: replace(
        w, w_pos=None if w.w_pos is None else w.w_pos.roll(2, 0)
    ),
    ("llama-biased", "gate bias"): lambda w: _blocks(
        w, lambda b: replace(b, mlp=None if b.mlp is None else replace(b.mlp, b_gate=None))
    ),
    ("native-capped", "cap of scores"): _attention(lambda a: replace(a, score_cap=None)),
}


@pytest.mark.parametrize(("name", "part"), WITHOUT)
def test_parity_is_lost_without_what_is_peculiar_to_an_architecture(name: str, part: str):
    model = tiny_models.loaded(name)
    poorer = replace(model, weights=WITHOUT[name, part](model.weights))
    assert parity_error(poorer, TOKENS, torch.full((3,), 9)) > 1e-3
