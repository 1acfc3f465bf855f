"""Donors of removed edges: plain hooks, and brute force over all of them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.errors import PromptError
from acdc_pipeline.evaluation import circuit_logits
from acdc_pipeline.evaluation.donors import DonorBench, donors_of, resample, search_donors
from acdc_pipeline.evaluation.measure import score
from acdc_pipeline.graph import Circuit
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.prompts import Pair, align
from acdc_pipeline.specs.names import COMPARED
from acdc_pipeline.workflows.ablations import compare_ablations, donors_from_runs
from acdc_pipeline.workflows.measured import measured_metrics
from tests import checkpoints
from tests.compiled_bench import compiled_bench
from tests.oracles.hooked_gpt2 import logprobs, outputs
from tests.tokenizers import word_tokenizer

SIDES = [((3, 5, 7), (3, 4, 7)), ((6, 5, 2), (6, 8, 2)), ((9, 1), (9, 4)), ((8, 5, 7), (2, 5, 7))]
TOKENS = [list(side) for number in (0, 1) for side in (pair[number] for pair in SIDES)]
"""What donor d reads: the clean prompts, then their counterfactuals."""

REMOVED = ["a0.h1", "m0", "a1.h0", "m1"]
"""Nodes without edges: a hook replaces what a node writes for all of its readers."""

METRICS = ["kl", "nll"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, Any]:
    from transformers import GPT2LMHeadModel

    folder = checkpoints.gpt2(tmp_path_factory.mktemp("gpt2"))
    theirs = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float64).eval()
    return load_model(f"dir:{folder}", dtype="float64"), theirs


def bench_of(model: LoadedModel, ablation: Any = "corrupted", whole: bool = False) -> Bench:
    pairs = [Pair(clean, corrupted, (4,), (1,), whole=whole) for clean, corrupted in SIDES]
    prompts = align(pairs, word_tokenizer("abcdefgh"), bos=False, name="x")
    return set_up(model.weights, prompts, ablation)


def circuit_without(bench: Bench, removed: list[str]) -> Circuit:
    topology = bench.weights.topology
    kept = (edge for edge in topology.edges if str(edge.src) not in removed)
    return Circuit(topology, frozenset(kept))


def by_hooks(model: Any, prompt: int, donors: dict[str, int]) -> tuple[float, float]:
    """KL and NLL of a prompt where some nodes write what they write on their donors."""
    replaced = {name: outputs(model, TOKENS[donor])[name] for name, donor in donors.items()}
    whole, found = (logprobs(model, SIDES[prompt][0], them)[-1] for them in ({}, replaced))
    return float((whole.exp() * (whole - found)).sum()), -float(found[4])


def test_donors_are_all_prompts_of_the_length_but_the_clean_one_itself(models):
    assert donors_of(bench_of(models[0]).prompts) == [
        [4, 5, 7, 1, 3],
        [5, 4, 7, 0, 3],
        [6],
        [7, 4, 5, 0, 1],
    ]
    with pytest.raises(PromptError, match="cannot be exchanged"):
        donors_of(bench_of(models[0], whole=True).prompts)


def test_ablations_are_those_of_plain_hooks_with_the_donors_named(models):
    ours, theirs = models
    bench = bench_of(ours)
    circuit, names = circuit_without(bench, REMOVED), [str(n) for n in bench.weights.topology.nodes]
    whole, nothing = (score(bench, x, METRICS) for x in (bench.logits, circuit_logits(bench, ())))
    own = score(bench, circuit_logits(bench, circuit.edges), METRICS)
    metrics = measured_metrics(own, whole, nothing, METRICS, 0)
    found = compare_ablations(
        bench, "corrupted", circuit, metrics, "kl", COMPARED, forwards=40, seed=0
    )
    assert list(found) == list(COMPARED)
    # the metrics under the donors that the search names
    assert found["adversarial"].donors is not None
    donors = donors_from_runs(found["adversarial"].donors)
    by_prompt = [
        by_hooks(theirs, p, {name: int(donors[names.index(name), p]) for name in REMOVED})
        for p in range(len(SIDES))
    ]
    for number, name in enumerate(METRICS):
        expected = sum(each[number] for each in by_prompt) / len(SIDES)
        assert found["adversarial"].metrics[name].circuit == pytest.approx(expected, abs=1e-9)
    # the mean over every donor of every prompt
    for number, name in enumerate(METRICS):
        means = [
            sum(by_hooks(theirs, p, dict.fromkeys(REMOVED, d))[number] for d in of) / len(of)
            for p, of in enumerate(donors_of(bench.prompts))
        ]
        expected = sum(means) / len(SIDES)
        assert found["resample"].metrics[name].circuit == pytest.approx(expected, abs=1e-9)
    assert found["resample"].forwards == 5
    resampled, adversarial = (
        found[name].metrics["kl"].faithfulness or 0.0 for name in ("resample", "adversarial")
    )
    assert adversarial < resampled
    # the others are benches of their own
    for name in ("corrupted", "zero", "mean"):
        there = bench_of(ours, name)
        expected = score(there, circuit_logits(there, circuit.edges), METRICS)
        nothing = score(there, circuit_logits(there, ()), METRICS)
        for metric in METRICS:
            measured = found[name].metrics[metric]
            assert (measured.circuit, measured.ablated) == (
                expected.mean[metric],
                nothing.mean[metric],
            )


def test_donors_of_positional_circuits_are_read_at_the_same_positions():
    bench = compiled_bench("compiled-sum", n=6, positions="spans")
    topology = bench.weights.topology
    kept = [edge for number, edge in enumerate(topology.edges) if number % 3]
    circuit, names = Circuit(topology, frozenset(kept)), ["kl"]
    whole, nothing = (score(bench, x, names) for x in (bench.logits, circuit_logits(bench, ())))
    own = score(bench, circuit_logits(bench, kept), names)
    metrics = measured_metrics(own, whole, nothing, names, 0)
    found = compare_ablations(
        bench, "corrupted", circuit, metrics, "kl", ["adversarial"], forwards=9, seed=0
    )["adversarial"]
    assert found.donors is not None
    assert found.metrics["kl"].circuit >= own.mean["kl"]
    donors, pool = (
        donors_from_runs(found.donors),
        torch.cat([bench.clean.outputs, bench.ablated], 1),
    )
    ablated = torch.stack([pool[source, of.tolist()] for source, of in enumerate(donors)])
    again = score(
        replace(bench, ablated=ablated),
        circuit_logits(replace(bench, ablated=ablated), kept),
        names,
    )
    assert again.mean["kl"] == pytest.approx(found.metrics["kl"].circuit, abs=1e-12)


@pytest.mark.parametrize("removed", [["m0"], ["a0.h1", "m1"]])
def test_search_is_bounded_by_every_assignment_of_donors_to_sources(models, removed: list[str]):
    bench = bench_of(models[0])
    topology = bench.weights.topology
    mask = topology.edge_mask(circuit_without(bench, removed).edges)
    at = [[str(node) for node in topology.sources].index(name) for name in removed]
    pool = torch.cat([bench.clean.outputs, bench.ablated], 1)
    best = []
    for prompt, donors in enumerate(donors_of(bench.prompts)):
        kls = []
        for chosen in itertools.product(donors, repeat=len(removed)):
            ablated = bench.ablated.clone()
            ablated[at, prompt] = pool[at, list(chosen)]
            there = replace(bench, ablated=ablated)
            kept = topology.edges_in(mask)
            kls.append(score(there, circuit_logits(there, kept), ["kl"]).by_prompt["kl"][prompt])
        best.append(max(kls))
    carrier = DonorBench(bench, bench.ablated)

    def harm(found: Any) -> np.ndarray:
        return found.by_prompt["kl"]

    every = resample(carrier, mask, ["kl"], harm)
    alone = search_donors(carrier, mask, ["kl"], harm, every.worst, forwards=0)
    found = search_donors(carrier, mask, ["kl"], harm, every.worst, forwards=40)
    single, together = (each.circuit.by_prompt["kl"] for each in (alone, found))
    assert (together >= single - 1e-12).all()
    assert (together <= np.array(best) + 1e-12).all()
    if len(removed) == 1:
        assert single == pytest.approx(best)
        assert (alone.forwards, found.forwards) == (2, 2)
    else:
        assert together == pytest.approx(best)
        assert (together > single + 1e-6).any()
