"""RelP against automatic differentiation of plain forwards whose operations follow its rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.gemma2 import modeling_gemma2

from acdc_pipeline.models import load_model
from tests import checkpoints
from tests.every_class.known import load_patching
from tests.oracles.edge_gates import EdgeGates, GatedNative
from tests.unit.algorithms.test_attribution_against_oracles import (
    PROMPTS,
    assert_equal,
    metric_of,
    scored,
)


def by_identity_rule(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    factor = torch.where(x == 0, torch.zeros_like(x), function(x) / x)
    return x * factor.detach()


def by_half_rule(one: Tensor, other: Tensor) -> Tensor:
    return (one * other.detach() + one.detach() * other) / 2


class RelevantNative(GatedNative):
    """Values of the model itself, with derivatives by the rules."""

    def norm(self, x: Tensor, name: str) -> Tensor:
        kind = self.config["normalization_type"]
        if kind is None:
            return x
        if kind.startswith("LN"):
            x = x - x.mean(-1, keepdim=True)
        x = x / (x.pow(2).mean(-1, keepdim=True) + self.config["eps"]).sqrt().detach()
        return x * self.w.get(f"{name}.w", torch.ones(1)) + self.w.get(f"{name}.b", torch.zeros(1))

    def mlp(self, layer: int, x: Tensor) -> Tensor:
        name = f"blocks.{layer}.mlp"
        function = getattr(functional, self.config["act_fn"])
        if f"{name}.W_gate" in self.w:
            active = by_identity_rule(function, x @ self.w[f"{name}.W_gate"])
            return by_half_rule(active, x @ self.w[f"{name}.W_in"]) @ self.w[f"{name}.W_out"]
        hidden = by_identity_rule(function, x @ self.w[f"{name}.W_in"] + self.w[f"{name}.b_in"])
        return hidden @ self.w[f"{name}.W_out"] + self.w[f"{name}.b_out"]


def assert_relp_is_the_derivative(directory: Path, forward: Any) -> None:
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    edges = list(map(str, model.topology.edges))
    oracle = EdgeGates(forward, edges, metric_of("logit_diff", torch.empty(0)))
    ours = scored(model, "relp")
    assert_equal(ours, oracle.eap())
    if directory.name != "native-no-norm":  # without norms and MLPs every rule is the gradient
        by_gradient = scored(model, "eap")
        assert max(abs(ours[edge] - by_gradient[edge]) for edge in edges) > 1e-3


@pytest.mark.parametrize("name", checkpoints.NATIVE)
def test_relp_differentiates_norms_and_mlps_by_its_rules(name: str, tmp_path: Path):
    directory = checkpoints.NATIVE[name](tmp_path / name)
    forward = RelevantNative(directory, PROMPTS.clean, PROMPTS.corrupted, "corrupted")
    assert_relp_is_the_derivative(directory, forward)


def test_relp_differentiates_norms_after_parts_by_its_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def normalise(self: Any, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps).detach()

    def run_mlp(self: Any, x: Tensor) -> Tensor:
        active = by_identity_rule(self.act_fn, self.gate_proj(x))
        return self.down_proj(by_half_rule(active, self.up_proj(x)))

    monkeypatch.setattr(modeling_gemma2.Gemma2RMSNorm, "_norm", normalise)
    monkeypatch.setattr(modeling_gemma2.Gemma2MLP, "forward", run_mlp)
    directory = checkpoints.EVERY["gemma2"](tmp_path / "gemma2")
    forward = load_patching(directory, PROMPTS.clean, PROMPTS.corrupted, "corrupted")
    assert_relp_is_the_derivative(directory, forward)
