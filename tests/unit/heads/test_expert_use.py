"""How a task uses the experts of a model, against counts of what the model itself passes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from acdc_pipeline.heads.expert_use import expert_use
from acdc_pipeline.models import load_model
from tests.every_class import EVERY_CLASS

TOKENS = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 0, 0]])
LENGTHS = torch.tensor([5, 3])
REAL = torch.arange(5) < LENGTHS[:, None]


def load(name: str, folder: Path) -> tuple[Any, Any]:
    """The model of a class on both sides."""
    tiny = next(one for one in EVERY_CLASS if one.name == name)
    directory = tiny.save(folder)
    return tiny.load(directory), load_model(f"dir:{directory}", dtype=tiny.dtype, device="cpu")


@pytest.mark.parametrize(
    ("name", "memory"),
    [("Glm4MoeForCausalLM", 2**16), ("FlexOlmoForCausalLM", 2**30), ("GptOssForCausalLM", 2**30)],
)
def test_expert_use_counts_what_the_model_hands_to_its_experts(
    name: str, memory: int, tmp_path: Path
):
    theirs, ours = load(name, tmp_path)
    calls: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def keep(layer: int, args: tuple[Any, ...]) -> None:
        _, index, weights = args
        calls[layer] = index[REAL.flatten()], weights[REAL.flatten()]

    for layer, block in enumerate(theirs.model.layers):
        if hasattr(block.mlp, "experts"):
            block.mlp.experts.register_forward_pre_hook(
                lambda _, args, layer=layer: keep(layer, args)
            )
    with torch.no_grad():
        theirs(TOKENS, use_cache=False)
    used = expert_use(ours.weights, TOKENS, LENGTHS, memory=memory)
    assert used is not None
    assert used["tokens"] == 8
    assert used["layers"].keys() == {str(layer) for layer in calls}
    for layer, (index, weights) in calls.items():
        found = used["layers"][str(layer)]
        total = float(weights.sum())
        for expert, (share, weight) in enumerate(zip(found["share"], found["weight"], strict=True)):
            assert share == pytest.approx(int((index == expert).sum()) / 8, abs=1e-6)
            expected = float(weights[index == expert].sum()) / total
            assert weight == pytest.approx(expected, abs=1e-5)  # six digits are kept


def test_expert_use_is_none_where_no_routing_can_be_read(tmp_path: Path):
    for name in ("LlamaForCausalLM", "Llama4ForCausalLM"):
        _, model = load(name, tmp_path / name)
        assert expert_use(model.weights, TOKENS, LENGTHS, memory=2**30) is None
