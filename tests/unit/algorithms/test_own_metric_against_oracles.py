"""A metric of one's own in every method, against plain forwards and against built-in metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from acdc_pipeline.algorithms import AcdcResult, acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.specs import SCORED_METHODS
from acdc_pipeline.specs.own_metric import Metric
from tests import checkpoints
from tests.every_class.known import FAMILIES, load_original
from tests.oracles.edge_gates import Added, EdgeGates
from tests.oracles.hugging_face_patching import HuggingFacePatching
from tests.oracles.plain_acdc import plain_acdc, uniform_steps
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of

PROMPTS = random_prompts(3, 6, checkpoints.VOCAB, seed=5)
ROWS = torch.arange(len(PROMPTS))
RIGHT = torch.tensor([token for (token,) in PROMPTS.correct])
WRONG = torch.tensor([token for (token,) in PROMPTS.incorrect])
NAME = "gpt-neo"


def odd(outputs: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    """Nothing that anybody would measure: not linear, of answers and of the whole vocabulary."""
    length = (outputs * outputs).sum(-1).sqrt()
    return torch.tanh(outputs[ROWS, right]) * outputs[ROWS, wrong] + length


def odd_metric(uses: Any) -> Metric:
    def function(outputs: Tensor, answers: Any) -> Tensor:
        right, wrong = answers.correct.int().argmax(-1), answers.incorrect.int().argmax(-1)
        return odd(outputs, right, wrong)

    return Metric("odd", function, version=1, lower_is_better=True, uses=uses)


class Plain(HuggingFacePatching):
    """The model of transformers, which gives logits or log-probabilities at the last position."""

    uses = "logprobs"

    def at_answers(self, logits: Tensor) -> Tensor:
        return logits if self.uses == "logits" else logits.log_softmax(-1)

    def gated(self, gates: Added) -> Tensor:
        return self.at_answers(self.gated_logits(gates))

    def odd(self, removed: set[str]) -> float:
        return float(odd(self.at_answers(self.logits([removed])[0]), RIGHT, WRONG).mean())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, Plain]:
    directory = checkpoints.EVERY[NAME](tmp_path_factory.mktemp("own") / NAME)
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    original = load_original(directory)
    return model, Plain(original, FAMILIES[NAME], PROMPTS.clean, PROMPTS.corrupted)


def found_by_acdc(bench: Bench, metric: str, threshold: float) -> AcdcResult:
    with torch.no_grad():
        return acdc(
            bench.search(objective_for(bench, metric), memory=2**30),
            bench.weights.topology,
            threshold=threshold,
            order="reverse-heads",
            difference="signed",
        )


def assert_equal(ours: dict[str, float], theirs: dict[str, float]) -> None:
    assert ours.keys() == theirs.keys()
    largest = max(abs(score) for score in theirs.values())
    assert largest > 0
    # Two ways to add up the same products in float64.
    assert max(abs(ours[edge] - theirs[edge]) for edge in ours) < 1e-10 * largest


@pytest.mark.parametrize("uses", ["logprobs", "logits"])
def test_own_metric_that_is_odd_is_scored_as_plain_forwards_score_it(
    plain: tuple[LoadedModel, Plain], uses: str
):
    model, forward = plain
    forward.uses = uses
    own = odd_metric(uses)
    bench = set_up(model.weights, PROMPTS, "corrupted", own)
    edges = [str(edge) for edge in model.topology.edges]
    oracle = EdgeGates(forward, edges, lambda outputs: odd(outputs, RIGHT, WRONG).mean())
    assert_equal(scores_of("eap", bench, metric=own.key), oracle.eap())
    assert_equal(
        scores_of("eap-ig-inputs", bench, metric=own.key, steps=2), oracle.eap_ig_inputs(2)
    )
    whole = forward.odd(set())
    assert_equal(
        scores_of("exact", bench, metric=own.key),
        {edge: forward.odd({edge}) - whole for edge in edges},
    )


@pytest.mark.parametrize("uses", ["logprobs", "logits"])
def test_own_metric_that_is_odd_decides_acdc_as_plain_forwards_do(
    plain: tuple[LoadedModel, Plain], uses: str
):
    model, forward = plain
    forward.uses = uses
    own, topology = odd_metric(uses), model.topology
    steps = plain_acdc(
        forward.odd,
        steps=uniform_steps(
            topology.n_layers, has_mlp=topology.has_mlp, parallel=topology.parallel
        ),
        n_heads=topology.n_heads,
        threshold=0.02,
    )
    assert min(step.margin for step in steps) > 1e-10
    found = found_by_acdc(set_up(model.weights, PROMPTS, "corrupted", own), own.key, 0.02)
    assert [str(d.edge) for d in found.decisions] == [step.edge for step in steps]
    assert [d.removed for d in found.decisions] == [step.removed for step in steps]
    assert 0 < len(found.circuit) < len(found.decisions)
    after = [d.metric_after for d in found.decisions]
    assert after == pytest.approx([step.after for step in steps], abs=1e-10)


def logit_difference(outputs: Tensor, answers: Any) -> Tensor:
    return outputs[answers.correct] - outputs[answers.incorrect]


def divergence(logprobs: Tensor, answers: Any) -> Tensor:
    return (answers.model.exp() * (answers.model - logprobs)).sum(-1)


BY_HAND = {
    "logit_diff": Metric("difference", logit_difference, version=1, uses="logits"),
    "kl": Metric("divergence", divergence, version=1, lower_is_better=True),
}


SCORING = [
    "eap", "eap-ig-inputs", "eap-ig-activations", "clean-corrupted", "exact", "node-exact",
    "node-attribution", "hisp", "edge-pruning", "subnetwork-probing", "node-pruning",
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "built_in"),
    [
        (method, metric)
        for method in SCORING
        for metric in BY_HAND
        if metric not in SCORED_METHODS[method].UNFIT
    ],
)
def test_own_metric_that_repeats_a_built_in_one_gives_its_scores(
    plain: tuple[LoadedModel, Plain], method: str, built_in: str
):
    own = BY_HAND[built_in]
    bench = set_up(plain[0].weights, PROMPTS, "corrupted", own)
    score: Callable[[str], dict[str, float]] = lambda metric: scores_of(  # noqa: E731
        method, bench, metric=metric, steps=2, share=0.2
    )
    assert_equal(score(own.key), score(built_in))


@pytest.mark.parametrize("built_in", BY_HAND)
def test_own_metric_that_repeats_a_built_in_one_gives_its_circuit(
    plain: tuple[LoadedModel, Plain], built_in: str
):
    own = BY_HAND[built_in]
    bench = set_up(plain[0].weights, PROMPTS, "corrupted", own)
    ours, theirs = (found_by_acdc(bench, metric, 0.02) for metric in (own.key, built_in))
    assert ours.circuit.edges == theirs.circuit.edges
    assert 0 < len(ours.circuit) < len(ours.decisions)
    after = [d.metric_after for d in ours.decisions]
    assert after == pytest.approx([d.metric_after for d in theirs.decisions], abs=1e-10)
