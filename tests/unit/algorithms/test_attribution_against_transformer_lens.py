"""EAP against the attribution patching that TransformerLens ships."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformer_lens.tools.analysis.attribution_patching import (
    EdgeAttributionConfig,
    attribution_patch,
)

from acdc_pipeline.engine import set_up
from acdc_pipeline.models import load_model
from acdc_pipeline.models.bridge import load_bridge
from tests import checkpoints
from tests.float64 import Float64Throughout
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of

# The same right and wrong token everywhere: TransformerLens takes one metric for all prompts.
RIGHT, WRONG = 3, 4
PROMPTS = random_prompts(3, 6, checkpoints.VOCAB, seed=5)


def score_by_transformer_lens(directory: Path) -> dict[str, float]:
    """By edge: (output on the other prompt - output here) · gradient here, of the metric below.

    It takes gradients on the prompts it calls corrupt: here, those that we call clean. It scores
    each position apart.
    """
    bridge: Any = load_bridge(directory, dtype=torch.float64)
    bridge.eval()
    for parameter in bridge.parameters():
        parameter.requires_grad_(True)

    def wrong_less_right(logits: Tensor) -> Tensor:
        return logits[0, -1, WRONG] - logits[0, -1, RIGHT]

    with torch.enable_grad(), Float64Throughout():
        found = attribution_patch(
            bridge,
            PROMPTS.corrupted,
            PROMPTS.clean,
            wrong_less_right,
            EdgeAttributionConfig(granularity="edge"),
        )
    scores: dict[str, float] = {}
    for (writer, reader), score in found.edge_scores.items():
        edge = f"{named(writer)}->{named(reader)}"
        scores[edge] = scores.get(edge, 0.0) + score
    return scores


def named(node: Any) -> str:
    match node.kind:
        case "embed":
            return "input"
        case "attn_head_out":
            return f"a{node.layer}.h{node.head}"
        case "mlp_out" | "mlp_in":
            return f"m{node.layer}"
        case "logits":
            return "logits"
    return f"a{node.layer}.h{node.head}<{node.kind[0]}>"


@pytest.mark.parametrize("name", ["gpt2", "neox", "neox-sequential"])
def test_eap_is_what_transformer_lens_calculates(name: str, tmp_path: Path):
    directory = checkpoints.HUGGING_FACE[name](tmp_path / name)
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    prompts = replace(PROMPTS, correct=((RIGHT,),) * 3, incorrect=((WRONG,),) * 3)
    ours = scores_of("eap", set_up(model.weights, prompts, "corrupted"))
    theirs = score_by_transformer_lens(directory)
    assert ours.keys() == theirs.keys()
    largest = max(map(abs, theirs.values()))
    # Both add the same products in float64.
    assert max(abs(ours[edge] - theirs[edge]) for edge in ours) < 1e-10 * largest
