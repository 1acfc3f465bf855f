"""ACDC on models whose circuit is known: it must return it, no more and no less."""

from __future__ import annotations

from functools import cache
from typing import get_args

import pytest
import torch

from acdc_pipeline.algorithms import AcdcResult, acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.models import load_model
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.specs.catalogue import find_task
from acdc_pipeline.specs.names import Ablation, Difference, HeadOrder
from tests.support import REPOSITORY

ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)
ORDERS: tuple[HeadOrder, ...] = get_args(HeadOrder)


NAMES = compiled.list_compiled()
REDUNDANT = tuple(name for name in NAMES if len(compiled.alternatives(name)) > 1)
WITHOUT_REDUNDANCY = tuple(name for name in NAMES if name not in REDUNDANT)


@cache
def bench_of(name: str, ablation: Ablation, dtype: str = "float32") -> Bench:
    model = load_model(f"zoo:{name}", dtype=dtype, device="cpu")
    assert model.tokenizer is not None
    task = find_task(compiled.task_of(name), REPOSITORY)
    return set_up(model.weights, make_prompts(task, model.tokenizer, n=16, seed=0), ablation)


def found(
    name: str,
    ablation: Ablation,
    *,
    order: HeadOrder = "reverse-heads",
    dtype: str = "float32",
    threshold: float = 0.01,
    difference: Difference = "signed",
) -> AcdcResult:
    bench = bench_of(name, ablation, dtype)
    with torch.no_grad():
        return acdc(
            bench.search(objective_for(bench, "kl"), memory=2**30),
            bench.weights.topology,
            threshold=threshold,
            order=order,
            difference=difference,
        )


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", WITHOUT_REDUNDANCY)
def test_acdc_without_redundancy_recovers_exactly_the_constructed_edges(
    name: str, ablation: Ablation, order: HeadOrder
):
    result = found(name, ablation, order=order)
    assert result.circuit.edges == compiled.truth(name, ablation)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", REDUNDANT)
def test_acdc_of_redundant_paths_keeps_the_one_it_tests_last(
    name: str, ablation: Ablation, order: HeadOrder
):
    """One edge at a time, the first path it meets goes without loss; the other has to stay."""
    result = found(name, ablation, order=order)
    assert result.circuit.edges == compiled.found_by_acdc(name, ablation, order)
    assert result.circuit.edges in compiled.alternatives(name, ablation)
    assert result.circuit.edges < compiled.truth(name, ablation)


@pytest.mark.parametrize("difference", get_args(Difference))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threshold", [1e-4, 1.0])
def test_acdc_compiled_reverse_is_the_same_at_any_threshold_and_precision(
    threshold: float, dtype: str, difference: Difference
):
    result = found(
        "compiled-reverse", "corrupted", threshold=threshold, dtype=dtype, difference=difference
    )
    assert result.circuit.edges == compiled.truth("compiled-reverse")


@pytest.mark.parametrize("threshold", [1e-4, 1.0])
@pytest.mark.parametrize("name", WITHOUT_REDUNDANCY)
def test_acdc_recovers_the_truth_at_a_small_and_at_a_large_threshold(name: str, threshold: float):
    assert found(name, "corrupted", threshold=threshold).circuit.edges == compiled.truth(name)
