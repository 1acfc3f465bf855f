"""Runs with positions: their identity, and what is refused."""

from __future__ import annotations

import pytest

from acdc_pipeline.engine import set_up
from acdc_pipeline.errors import SpecError
from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.worker import prompts_for
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs import RunSpec, TaskSpec, find_task, method_for
from acdc_pipeline.workflows.circuit_run import compute_logits
from tests import tiny_models

TASK = find_task("ioi")


def _run(method: str = "acdc", **more: str) -> RunSpec:
    values = {"threshold": 0.1} if method == "acdc" else {"share": 0.1}
    chosen = method_for(method, values, TASK, where="tests")
    return plan_run(
        TASK, "zoo:gpt2-4l-s0", method=chosen, prompts=4, seed=0, dtype="float32", **more
    )


def test_run_without_positions_is_stored_as_before():
    plain = _run()
    assert "positions" not in plain.plain()
    assert plain.run_id() == _run(positions="none").run_id()
    spread = _run(positions="spans")
    assert spread.plain()["positions"] == "spans"
    assert len({plain.run_id(), spread.run_id(), _run(positions="tokens").run_id()}) == 3
    assert RunSpec.from_plain(spread.plain()) == spread


def test_unknown_kind_of_positions_names_the_known_ones():
    with pytest.raises(SpecError, match="positions"):
        _run(positions="words")


def test_circuit_runs_on_prompts_that_lack_a_span():
    def pair(*tokens: int, **spans: list[int]) -> dict[str, object]:
        corrupted = [token + 5 for token in tokens]
        return {"clean": list(tokens), "corrupted": corrupted, "correct": 1, "spans": spans}

    model = tiny_models.loaded("gpt2")
    task = TaskSpec.from_pairs([pair(1, 2, 3, A=[0], B=[1]), pair(4, 5, 6, A=[1], B=[0])])
    prompts = prompts_for(model, task, n=2, seed=0, positions="spans")
    topology = set_up(model.weights, prompts, "corrupted").weights.topology
    assert topology.spans == ("A", "B", "END")
    circuit = Circuit.of(topology, [edge for edge in topology.edges if edge.span != "B"])
    both = compute_logits(circuit, [pair(7, 8, 9, A=[0, 1])], model.ref)
    alone = compute_logits(
        circuit, [pair(7, 8, 9, A=[0, 1]), pair(1, 2, 3, A=[0], B=[1])], model.ref
    )
    assert both[0].tolist() == pytest.approx(alone[0].tolist(), abs=1e-5)
