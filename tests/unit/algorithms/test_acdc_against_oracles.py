"""ACDC on the fast engine against the plainest ACDC there is, decision by decision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from shutil import copytree

import pytest
import torch

from acdc_pipeline.algorithms import AcdcResult, acdc
from acdc_pipeline.engine import set_up
from acdc_pipeline.evaluation import circuit_logprobs, measure, objective_for
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.models.bridge import load_bridge
from acdc_pipeline.models.zoo import zoo_path
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.specs.names import Ablation
from tests import checkpoints, tiny_models
from tests.float64 import Float64Throughout
from tests.oracles.bridge_patching import BridgePatching
from tests.oracles.native_patching import NativePatching
from tests.oracles.plain_acdc import Step, metric_of_search, plain_acdc, uniform_steps
from tests.prompt_sets import random_prompts

PROMPTS = random_prompts(3, 6, checkpoints.VOCAB, seed=5)
GIB = 2**30


def _fast(model: LoadedModel, prompts: PromptSet, ablation, threshold: float) -> AcdcResult:
    bench = set_up(model.weights, prompts, ablation)
    with torch.no_grad():
        return acdc(
            bench.search(objective_for(bench, "kl"), memory=GIB),
            model.topology,
            threshold=threshold,
            order="reverse-heads",
            difference="signed",
        )


def _assert_same(fast: AcdcResult, oracle: list[Step], tolerance: float) -> None:
    # A decision inside the noise of either side proves nothing; the inputs are chosen without.
    assert min(tested.margin for tested in oracle) > 10 * tolerance
    assert [str(d.edge) for d in fast.decisions] == [tested.edge for tested in oracle]
    assert [d.removed for d in fast.decisions] == [tested.removed for tested in oracle]
    differences = [
        abs(d.metric_after - t.after) for d, t in zip(fast.decisions, oracle, strict=True)
    ]
    assert max(differences) < tolerance
    assert 0 < len(fast.circuit) < len(fast.decisions)


def _bridge_patching(
    directory: Path, model: LoadedModel, ablation: str, tmp_path: Path, prompts: PromptSet = PROMPTS
) -> BridgePatching:
    weights = model.weights.blocks[0].attention
    if weights.heads_per_kv > 1:
        directory = checkpoints.ungrouped(directory, tmp_path / "ungrouped")
    bridge = load_bridge(directory, dtype=torch.float64)
    return BridgePatching(bridge, prompts.clean, prompts.corrupted, ablation)


def _plain(
    model: LoadedModel, metric: Callable[[set[str]], float], threshold: float = 0.05
) -> list[Step]:
    topology = model.topology
    return plain_acdc(
        metric,
        steps=uniform_steps(
            topology.n_layers, has_mlp=topology.has_mlp, parallel=topology.parallel
        ),
        n_heads=topology.n_heads,
        threshold=threshold,
    )


def _assert_random_circuits_agree(
    model: LoadedModel, ablation: Ablation, oracle: Callable[[set[str]], float]
) -> None:
    bench = set_up(model.weights, PROMPTS, ablation)
    draw = Random(0)
    for share in (0.02, 0.3, 0.7, 1.0):
        gone = {edge for edge in model.topology.edges if draw.random() < share}
        logprobs = circuit_logprobs(bench, model.topology.edge_set - gone)
        ours = measure(bench, logprobs, ["kl"])["kl"]
        assert ours == pytest.approx(oracle({str(edge) for edge in gone}), rel=1e-9, abs=1e-12)


# The other classes are in tests of architectures. The ablations differ in what a removed edge
# carries, which no architecture has a part in.
EVERY_ABLATION = [(name, a) for name in ("gpt2", "llama") for a in ("corrupted", "zero", "mean")]


@pytest.mark.parametrize(("name", "ablation"), EVERY_ABLATION)
def test_acdc_hugging_face_models_decides_as_bridge_hooks_do(
    name: str, ablation: Ablation, tmp_path: Path
):
    model = tiny_models.loaded(name, "float64")
    with Float64Throughout():
        patching = _bridge_patching(tiny_models.folder(name), model, ablation, tmp_path)
        oracle = _plain(model, patching.kl)
        _assert_random_circuits_agree(model, ablation, patching.kl)
    _assert_same(_fast(model, PROMPTS, ablation, 0.05), oracle, 1e-12)


NATIVE = [("native-ln", ablation) for ablation in ("corrupted", "zero", "mean")] + [
    (name, "corrupted") for name in checkpoints.NATIVE if name != "native-ln"
]


@pytest.mark.parametrize(("name", "ablation"), NATIVE)
def test_acdc_native_models_decides_as_a_hand_written_forward_does(name: str, ablation: Ablation):
    directory, model = tiny_models.folder(name), tiny_models.loaded(name, "float64")
    patching = NativePatching(directory, PROMPTS.clean, PROMPTS.corrupted, ablation)
    oracle = _plain(model, patching.kl)
    _assert_random_circuits_agree(model, ablation, patching.kl)
    _assert_same(_fast(model, PROMPTS, ablation, 0.05), oracle, 1e-12)


# Trained weights, whose circuits are sparse and whose heads do something.
TRAINED_THRESHOLD = 0.2


def _trained(name: str, length: int = 9) -> tuple[LoadedModel, PromptSet]:
    model = load_model(f"zoo:{name}", dtype="float64", device="cpu")
    return model, random_prompts(3, length, model.weights.w_e.shape[0], seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2-4l-s0", "neox-4l", "llama-4l"])
def test_acdc_trained_models_decides_as_bridge_hooks_do(name: str, tmp_path: Path):
    model, prompts = _trained(name)
    directory = copytree(zoo_path(name), tmp_path / name)
    with Float64Throughout():
        patching = _bridge_patching(directory, model, "corrupted", tmp_path, prompts)
        oracle = _plain(model, patching.kl, TRAINED_THRESHOLD)
    _assert_same(_fast(model, prompts, "corrupted", TRAINED_THRESHOLD), oracle, 1e-11)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "length"), [("attn-2l", 9), ("attn-4l", 4), ("nopos-2l", 9)])
def test_acdc_trained_models_decides_as_a_hand_written_forward_does(name: str, length: int):
    model, prompts = _trained(name, length)
    patching = NativePatching(zoo_path(name), prompts.clean, prompts.corrupted, "corrupted")
    fast = _fast(model, prompts, "corrupted", TRAINED_THRESHOLD)
    metric = metric_of_search(patching, [(str(d.edge), d.removed) for d in fast.decisions])
    _assert_same(fast, _plain(model, metric, TRAINED_THRESHOLD), 1e-11)
