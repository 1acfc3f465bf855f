"""Searches of models that are entirely sure of themselves: every value against a fresh forward."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import set_up
from acdc_pipeline.engine.circuit_forward import run_circuits_to_answers
from acdc_pipeline.engine.forward import unembed
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.models import load_model
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import find_task
from tests.decision_logs import masks_tried

SEVERAL_WAYS = ("compiled-induction", "compiled-reverse", "compiled-or")
CASES = [
    (name, threshold, dtype)
    for name in SEVERAL_WAYS
    for threshold in (0.5, 5.0, 15.0, 100.0)
    for dtype in ("float32", "float64")
] + [(name, 5.0, "float32") for name in compiled.list_compiled() if name not in SEVERAL_WAYS]


@pytest.mark.parametrize(("name", "threshold", "dtype"), CASES)
def test_every_value_is_the_divergence_of_its_circuit(name: str, threshold: float, dtype: str):
    model = load_model(f"zoo:{name}", dtype=dtype, device="cpu")
    assert model.tokenizer is not None
    prompts = make_prompts(find_task(compiled.task_of(name)), model.tokenizer, n=8, seed=0)
    bench = set_up(model.weights, prompts, "corrupted")
    with torch.no_grad():
        result = acdc(
            bench.search(objective_for(bench, "kl"), memory=2**30),
            model.topology,
            threshold=threshold,
            order="reverse-heads",
            difference="signed",
        )
    whole = bench.logprobs.double()
    masks = masks_tried(model.topology, result.decisions)
    finals = run_circuits_to_answers(
        bench.weights, prompts.clean, bench.ablated, np.stack(masks), bench.layout
    )
    without = unembed(bench.weights, finals).log_softmax(-1).double()
    expected = (whole.exp() * (whole - without)).sum(-1).mean(-1)
    for decision, value in zip(result.decisions, expected.tolist(), strict=True):
        assert decision.metric_after == pytest.approx(value, rel=1e-5, abs=2e-5)
        assert decision.removed == (decision.metric_after - decision.metric_before < threshold)
