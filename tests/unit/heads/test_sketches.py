"""Sketches of weights against whole matrices."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import torch

from acdc_pipeline.heads.folded import folded_layer
from acdc_pipeline.heads.sketches import SIZE, head_sketches, weights_plain
from acdc_pipeline.models import load_model
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.wiki.families.sketches import Sketches, cosines, likeness


def exact(weights: TransformerWeights) -> dict[str, np.ndarray]:
    """W_OV and W_QK of every head, [layer head d_model d_model]."""
    layers = [folded_layer(weights, layer) for layer in weights.topology.layers_with_heads]
    return {
        "ov": torch.stack([f.w_v @ f.w_o for f in layers]).double().numpy(),
        "qk": torch.stack([f.w_q @ f.w_k.transpose(1, 2) for f in layers]).double().numpy(),
    }


@pytest.fixture(scope="module")
def models() -> dict[str, TransformerWeights]:
    names = ("gpt2-4l-s0", "gpt2-4l-s0-edited", "gpt2-4l-s1")
    return {name: load_model(f"zoo:{name}", device="cpu").weights for name in names}


@pytest.mark.parametrize("circuit", ["ov", "qk"])
def test_estimated_cosines_are_those_of_the_matrices_within_their_error(models, circuit):
    base = models["gpt2-4l-s0"]
    stored = {n: Sketches.from_document(weights_plain(w)["sketches"]) for n, w in models.items()}
    for name, spread in (("gpt2-4l-s0-edited", None), ("gpt2-4l-s1", 0.09)):
        a, b = (exact(w)[circuit] for w in (base, models[name]))
        norms = np.linalg.norm(a, axis=(2, 3)) * np.linalg.norm(b, axis=(2, 3))
        wanted = (a * b).sum((2, 3)) / norms
        found = cosines(stored["gpt2-4l-s0"], stored[name], circuit)
        assert found is not None
        # of 16 heads none is further away than 3.5 standard errors; the levels are 1/127 wide
        assert (np.abs(found - wanted) <= 3.5 * (1 - wanted**2) / SIZE**0.5 + 0.01).all()
        if spread is not None:
            assert np.abs(found - wanted).std() < 1.5 * spread
    assert (likeness(stored["gpt2-4l-s0"], stored["gpt2-4l-s0-edited"]) or 0) > 0.9
    assert abs(likeness(stored["gpt2-4l-s0"], stored["gpt2-4l-s1"]) or 0) < 0.2


def test_sketches_are_the_same_on_every_machine_and_outlive_the_store(models):
    found = head_sketches(models["gpt2-4l-s0"])
    first = np.frombuffer(base64.b64decode(found["ov"]["a0.h0"]), np.int8)
    assert first.shape == (SIZE,)
    assert np.abs(first).max() == 127
    sketches = Sketches.from_document({"size": SIZE, **found})
    assert sketches.shape == (4, 4, SIZE)
    assert Sketches.from_plain(sketches.plain()) == sketches
    assert (sketches.grid("ov")[0, 0] == first).all()
    itself = cosines(sketches, sketches, "qk")
    assert itself == pytest.approx(np.ones((4, 4)))


def test_heads_that_share_keys_are_counted_where_some_do(models):
    assert "heads_per_key" not in weights_plain(models["gpt2-4l-s0"])
    grouped = load_model("zoo:llama-4l", device="cpu").weights
    assert weights_plain(grouped)["heads_per_key"] == [2, 2, 2, 2]
