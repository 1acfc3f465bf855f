"""EAP against the attribution patching that TransformerLens ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from acdc_pipeline.models import load_model
from benchmarks.against_transformer_lens import (
    Kind,
    largest_difference,
    our_scores,
    scores_of_transformer_lens,
    with_all_key_heads,
    with_graph,
)
from tests import checkpoints
from tests.float64 import Float64Throughout
from tests.prompt_sets import random_prompts

PROMPTS = random_prompts(3, 6, checkpoints.VOCAB, seed=5)


def scores_of_both(directory: Path, kind: Kind) -> tuple[dict[str, float], dict[str, float]]:
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    bridge: Any = model.bridge
    bridge.eval()
    with with_graph(bridge), torch.enable_grad(), Float64Throughout():
        theirs = scores_of_transformer_lens(bridge, PROMPTS, kind)()
    return our_scores(model, PROMPTS, kind)(), theirs


@pytest.mark.parametrize("name", ["gpt2", "neox", "neox-sequential"])
@pytest.mark.parametrize("kind", ["edge", "node", "patch"])
def test_scores_are_what_transformer_lens_calculates(name: str, kind: Kind, tmp_path: Path):
    ours, theirs = scores_of_both(checkpoints.HUGGING_FACE[name](tmp_path / name), kind)
    # Both add the same products in float64; patching keeps what it found in float32.
    assert largest_difference(ours, theirs) < (1e-6 if kind == "patch" else 1e-10)
    assert largest_difference({n: -s for n, s in ours.items()}, theirs) > 1


def test_scores_of_grouped_queries_are_those_of_a_copy_with_all_key_heads(tmp_path: Path):
    grouped = checkpoints.HUGGING_FACE["llama"](tmp_path / "llama")
    with pytest.raises(ValueError, match="GQA"):
        scores_of_both(grouped, "edge")
    copy = with_all_key_heads(grouped, tmp_path / "copy")
    ours, theirs = scores_of_both(copy, "edge")
    assert largest_difference(ours, theirs) < 1e-10
    model = load_model(f"dir:{grouped}", dtype="float64", device="cpu")
    assert largest_difference(our_scores(model, PROMPTS, "edge")(), theirs) < 1e-10
