"""Every supported class of transformers against brute force on the class itself."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.forward import run_sources, unembed
from acdc_pipeline.evaluation import circuit_logprobs, measure, objective_for
from acdc_pipeline.models import LoadedModel, describe_model, load_model
from acdc_pipeline.models.architectures import SUPPORTED
from acdc_pipeline.models.directory import NATIVE
from acdc_pipeline.models.weights import TokenModule
from tests.every_class import EVERY_CLASS, TinyModel
from tests.float64 import Float64Throughout
from tests.hugging_face_models import VOCAB
from tests.oracles.edge_gates import EdgeGates
from tests.oracles.hugging_face_patching import HuggingFacePatching
from tests.oracles.plain_acdc import plain_acdc, visits
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of

PROMPTS = random_prompts(2, 5, VOCAB, seed=5)

# Relative to the largest value: the same sums in another order.
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


@dataclass(frozen=True)
class Case:
    """A class on both sides."""

    tiny: TinyModel
    model: LoadedModel
    bench: Bench
    plain: HuggingFacePatching
    tolerance: float

    def engine(self) -> AbstractContextManager[Any]:
        """Where the engine computes: parts that are the model's own modules need float64 too."""
        own = any(
            isinstance(block.mlp, TokenModule) or block.mixer is not None
            for block in self.model.weights.blocks
        )
        return Float64Throughout() if own else nullcontext()

    def scores(self, method: str) -> dict[str, float]:
        with self.engine():
            return scores_of(method, self.bench)

    @property
    def edges(self) -> list[str]:
        return [str(edge) for edge in self.model.topology.edges]

    def assert_close(self, ours: dict[str, float], theirs: dict[str, float]) -> None:
        largest = max(map(abs, theirs.values()))
        # An edge without an effect could be patched in any way.
        assert min(largest, *map(abs, theirs.values())) > 0 or self.tiny.dtype == "float32"
        differences = {edge: abs(ours[edge] - theirs[edge]) for edge in theirs}
        assert max(differences.values()) < self.tolerance * largest, max(
            differences, key=lambda edge: differences[edge]
        )


@pytest.fixture(scope="module", params=EVERY_CLASS, ids=lambda tiny: tiny.name)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    tiny: TinyModel = request.param
    directory: Path = tiny.save(tmp_path_factory.mktemp(tiny.name))
    model = load_model(f"dir:{directory}", dtype=tiny.dtype, device="cpu")
    plain = HuggingFacePatching(tiny.load(directory), tiny.family, PROMPTS.clean, PROMPTS.corrupted)
    # Outputs of parts that are the model's own modules are kept in float64 as well.
    with Float64Throughout():
        bench = set_up(model.weights, PROMPTS, "corrupted")
    return Case(tiny, model, bench, plain, TOLERANCE[tiny.dtype])


def logit_diff(logits: Tensor) -> Tensor:
    """Minus the difference of logits or log-probabilities of the two answers, mean over prompts."""
    rows = torch.arange(len(PROMPTS))
    right = torch.tensor([token for (token,) in PROMPTS.correct])
    wrong = torch.tensor([token for (token,) in PROMPTS.incorrect])
    return -(logits[..., rows, right] - logits[..., rows, wrong]).mean(-1)


def test_every_supported_class_has_a_tiny_model():
    assert {tiny.name for tiny in EVERY_CLASS} == set(SUPPORTED) - {NATIVE}


def test_class_whole_model_has_the_logits_of_transformers(case: Case):
    with torch.no_grad(), Float64Throughout():
        theirs = case.plain.model(PROMPTS.clean, use_cache=False).logits
        ours = unembed(case.model.weights, run_sources(case.model.weights, PROMPTS.clean).final)
    assert (ours - theirs).abs().max() < case.tolerance * theirs.abs().max()


def test_class_sizes_from_config_alone_are_those_of_the_weights(case: Case):
    described, weights = describe_model(case.model.ref), case.model.weights
    assert described.refused is None
    assert described.topology == weights.topology
    assert described.d_model == weights.d_model
    assert described.vocab == weights.w_u.shape[1]
    # Kinds of layers may differ in these two: the config states those of one kind.
    assert described.n_kv_heads in {attn.w_k.shape[0] for attn in weights.attentions}
    assert described.d_head in {attn.d_qk for attn in weights.attentions}


def test_class_oracle_is_the_model_between_no_and_all_edges_removed(case: Case):
    plain = case.plain
    with torch.no_grad(), Float64Throughout():
        clean, corrupted = (
            plain.model(tokens, use_cache=False).logits[:, -1]
            for tokens in (plain.clean, plain.corrupted)
        )
    # Every receiver reads the corrupted prompt: nothing else is in the stream than sources.
    none, every = plain.logits([set(), case.edges])
    tolerance = 0.1 * case.tolerance * clean.abs().max()
    assert (none - clean).abs().max() < tolerance
    assert (every - corrupted).abs().max() < tolerance


def test_class_edges_are_those_of_the_parts_that_read_and_write(case: Case):
    expected = {
        f"{source}->{receiver}"
        for _, receiver, sources in visits(case.plain.steps, case.plain.n_heads)
        for source in sources
    }
    assert set(case.edges) == expected
    assert len(case.edges) == len(expected)


def test_class_exact_scores_are_those_of_brute_force(case: Case):
    some = Random(0).sample(case.edges, min(30, len(case.edges)))
    logits = case.plain.logits([set(), *({edge} for edge in some)])
    whole, *without = logit_diff(logits).tolist()
    theirs = {edge: value - whole for edge, value in zip(some, without, strict=True)}
    case.assert_close(case.scores("exact"), theirs)


def test_class_eap_scores_are_the_gradients_of_transformers(case: Case):
    plain = EdgeGates(case.plain, case.edges, logit_diff)
    case.assert_close(case.scores("eap"), plain.eap())


def test_class_random_circuits_have_the_divergence_of_brute_force(case: Case):
    draw = Random(0)
    edges = case.model.topology.edges
    gone = [{edge for edge in edges if draw.random() < share} for share in (0.1, 0.6)]
    theirs = case.plain.kl_of_all([{str(edge) for edge in some} for some in gone])
    for some, expected in zip(gone, theirs, strict=True):
        with case.engine():
            logprobs = circuit_logprobs(case.bench, case.model.topology.edge_set - some)
        ours = measure(case.bench, logprobs, ["kl"])["kl"]
        assert ours == pytest.approx(expected, rel=10 * case.tolerance, abs=1e-12)


def test_class_acdc_decides_as_a_plain_loop_does(case: Case):
    with torch.no_grad(), case.engine():
        found = acdc(
            case.bench.search(objective_for(case.bench, "kl"), memory=2**30),
            case.model.topology,
            threshold=case.tiny.threshold,
            order="reverse-heads",
            difference="signed",
        )
    plain = plain_acdc(
        _metric_of(case.plain, [(str(d.edge), d.removed) for d in found.decisions]),
        steps=case.plain.steps,
        n_heads=case.plain.n_heads,
        threshold=case.tiny.threshold,
    )
    # A decision inside the noise of either side proves nothing; thresholds are chosen without.
    assert min(step.margin for step in plain) > 10 * case.tolerance
    assert [str(d.edge) for d in found.decisions] == [step.edge for step in plain]
    assert [d.removed for d in found.decisions] == [step.removed for step in plain]
    after = [d.metric_after for d in found.decisions]
    assert after == pytest.approx(
        [step.after for step in plain], rel=10 * case.tolerance, abs=1e-12
    )
    assert 0 < len(found.circuit) < len(found.decisions)


def _metric_of(plain: HuggingFacePatching, decisions: list[tuple[str, bool]]):
    """KL by brute force. The circuits that a search with these decisions meets are run at once."""
    removed: set[str] = set()
    met = [frozenset(removed)]
    for edge, goes in decisions:
        met.append(frozenset(removed | {edge}))
        if goes:
            removed.add(edge)
    known = dict(zip(met, plain.kl_of_all(met), strict=True))

    def metric(gone: set[str]) -> float:
        key = frozenset(gone)
        return known[key] if key in known else plain.kl(key)

    return metric
