"""Searches with spans against brute force on models of every kind of norm and attention."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import set_up
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts.spans import spans_from_names, with_answers
from tests.every_class import EVERY_CLASS, TinyModel
from tests.float64 import Float64Throughout
from tests.hugging_face_models import VOCAB
from tests.oracles.hugging_face_patching import HuggingFacePatching
from tests.oracles.plain_acdc import Step, decide_all, visits, visits_in_spans
from tests.prompt_sets import random_prompts

ROWS = [["first", "NAME", "rest", "NAME", "END"], ["first", "rest", "NAME", "rest", "END"]]
SPANS = ("first", "NAME", "rest", "END")
SEES = {
    "first": {"first"},
    "NAME": {"first", "NAME", "rest"},
    "rest": {"first", "NAME", "rest"},
    "END": {"first", "NAME", "rest", "END"},
}

KINDS = {
    "GPT2LMHeadModel": "layer norms",
    "GPTNeoXForCausalLM": "parallel blocks",
    "LlamaForCausalLM": "grouped queries",
    "Gemma2ForCausalLM": "norms after attention, windows",
    "Olmo2ForCausalLM": "norms across queries",
    "BloomForCausalLM": "ALiBi",
    "GptOssForCausalLM": "sinks, a mixture",
    "DeepseekV3ForCausalLM": "latents",
    "JambaForCausalLM": "mixers",
}
TINY = [tiny for tiny in EVERY_CLASS if tiny.name in KINDS]


def test_every_kind_is_there():
    assert {tiny.name for tiny in TINY} == set(KINDS)


@pytest.mark.parametrize("tiny", TINY, ids=lambda tiny: tiny.name)
def test_acdc_with_spans_decides_as_a_plain_loop_does(tiny: TinyModel, tmp_path):
    prompts = random_prompts(2, 5, VOCAB, seed=5)
    spans = with_answers(spans_from_names(ROWS, 5), prompts.answer_row, prompts.answer_pos)
    prompts = replace(prompts, spans=spans)
    directory = tiny.save(tmp_path)
    model = load_model(f"dir:{directory}", dtype=tiny.dtype, device="cpu")
    masks = {s: torch.tensor([[float(n == s) for n in row] for row in ROWS]) for s in SPANS}
    plain = HuggingFacePatching(
        tiny.load(directory), tiny.family, prompts.clean, prompts.corrupted, spans=masks
    )
    with torch.no_grad(), Float64Throughout():
        bench = set_up(model.weights, prompts, "corrupted")
        topology = bench.weights.topology
        assert topology.spans == SPANS
        assert topology.visible == {name: frozenset(seen) for name, seen in SEES.items()}
        found = acdc(
            bench.search(objective_for(bench, "kl"), memory=2**30),
            topology,
            threshold=tiny.threshold / 3,
            order="reverse-heads",
            difference="signed",
        )
    visited = [
        ([node], receiver, sources)
        for node, receiver, sources in visits(plain.steps, plain.n_heads)
    ]
    log = decide_all(
        _metric_of(plain, [(str(d.edge), d.removed) for d in found.decisions]),
        visits_in_spans(visited, SPANS, SEES, "END"),
        tiny.threshold / 3,
    )
    _assert_same(found, log, 1e-10 if tiny.dtype == "float64" else 1e-5)


def _assert_same(found, log: list[Step], tolerance: float) -> None:
    # A decision inside the noise of either side proves nothing; thresholds are chosen without.
    assert min(step.margin for step in log) > 10 * tolerance
    assert [str(d.edge) for d in found.decisions] == [step.edge for step in log]
    assert [d.removed for d in found.decisions] == [step.removed for step in log]
    after = [d.metric_after for d in found.decisions]
    assert after == pytest.approx([s.after for s in log], rel=10 * tolerance, abs=1e-12)
    assert 0 < len(found.circuit) < len(found.decisions)


def _metric_of(plain: HuggingFacePatching, decisions: list[tuple[str, bool]]):
    """KL by brute force. The circuits that a search with these decisions meets are run at once."""
    removed: set[str] = set()
    met = [frozenset(removed)]
    for edge, goes in decisions:
        met.append(frozenset(removed | {edge}))
        if goes:
            removed.add(edge)
    known: dict[frozenset[str], float] = {}
    for start in range(0, len(met), 64):
        some = met[start : start + 64]
        known |= dict(zip(some, plain.kl_of_all(some), strict=True))

    def metric(edges: set[str]) -> float:
        return known[frozenset(edges)] if frozenset(edges) in known else plain.kl(edges)

    return metric
