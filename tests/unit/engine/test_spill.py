"""Activations beyond the memory budget: the same bits, in files, and within the budget."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.search.subgraph_search import SubgraphSearch
from acdc_pipeline.engine.spill import Spill, SpilledTensors
from acdc_pipeline.errors import ExecutionFailed, OutOfMemoryBudget
from acdc_pipeline.evaluation import circuit_logprobs, objective_for
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.prompts.spans import spans_from_names, with_answers
from tests.hugging_face_models import VOCAB
from tests.memory_meter import MemoryMeter
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of
from tests.tiny_models import weights as tiny_weights

PROMPTS = random_prompts(6, 9, VOCAB, seed=3)
SPANS = with_answers(
    spans_from_names([["a", "a", "b", "b", "a", "c", "c", "c", "d"]] * 6, 9),
    PROMPTS.answer_row,
    PROMPTS.answer_pos,
)
PROMPTS_WITH_SPANS = replace(PROMPTS, spans=SPANS)


def benches(
    weights: TransformerWeights, ablation: Any, prompts: PromptSet = PROMPTS
) -> tuple[Bench, Bench, int]:
    """On the same prompts in memory and spilled, and a budget below what the sources take."""
    whole = set_up(weights, prompts, ablation)
    budget = whole.memory_plan().sources - 1
    spilled = set_up(weights, prompts, ablation, memory=budget)
    assert whole.spill is None
    assert spilled.spill is not None
    return whole, replace(spilled, spill=Spill(least=1)), budget


def decisions(bench: Bench, memory: int, threshold: float = 0.01) -> Any:
    return acdc(
        bench.search(objective_for(bench, "kl"), memory=memory),
        bench.weights.topology,
        threshold=threshold,
        order="reverse-heads",
        difference="signed",
    ).decisions


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
@pytest.mark.parametrize("ablation", ["corrupted", "zero", "mean"])
def test_spilled_searches_scores_and_circuits_have_the_same_bits(name: str, ablation: Any):
    weights = tiny_weights(name, "float32")
    whole, spilled, budget = benches(weights, ablation)
    assert torch.equal(whole.ablated, spilled.ablated)
    assert torch.equal(whole.clean.outputs, spilled.clean.outputs)
    # with as much beside the outputs of the sources, batches are the same
    sources = whole.memory_plan().sources
    assert decisions(whole, sources + budget) == decisions(spilled, budget)
    assert scores_of("eap-ig-inputs", whole) == scores_of("eap-ig-inputs", spilled)
    kept = weights.topology.edge_set - set(weights.topology.edges[::3])
    assert torch.equal(circuit_logprobs(whole, kept), circuit_logprobs(spilled, kept))


@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
def test_spilled_searches_with_spans_have_the_same_bits(name: str):
    weights = tiny_weights(name, "float32")
    whole, spilled, budget = benches(weights, "corrupted", PROMPTS_WITH_SPANS)
    assert len(whole.weights.topology.spans) == 4
    assert torch.equal(whole.ablated, spilled.ablated)
    sources = whole.memory_plan().sources
    found = decisions(whole, sources + budget)
    assert found == decisions(spilled, budget)
    assert {d.removed for d in found} == {True, False}
    assert scores_of("eap-ig-inputs", whole) == scores_of("eap-ig-inputs", spilled)


def test_a_fork_of_a_spilled_search_goes_on_with_the_bits_of_the_first():
    _, bench, budget = benches(tiny_weights("gpt2", "float32"), "corrupted")
    search = bench.search(objective_for(bench, "kl"), memory=budget)
    receiver = bench.weights.topology.receivers[-1]
    search.visit(receiver, bench.weights.topology.sources_of(receiver))
    edge = next(e for e in bench.weights.topology.edges if e.receiver == receiver)
    search.metric_without(edge)
    search.remove(edge)
    other = search.fork()
    assert isinstance(search, SubgraphSearch)
    assert isinstance(other, SubgraphSearch)
    assert isinstance(other.circuit.inputs, SpilledTensors)
    for key, tensor in search.circuit.inputs.items():
        assert torch.equal(tensor, other.circuit.inputs[key])


def test_without_a_spill_a_search_beyond_its_budget_is_refused():
    whole, _, budget = benches(tiny_weights("gpt2", "float32"), "corrupted")
    with pytest.raises(OutOfMemoryBudget):
        whole.search(objective_for(whole, "kl"), memory=budget)


def test_files_have_no_name_and_hold_what_was_written(tmp_path: Path):
    spill = Spill(tmp_path, least=64)
    tensor = spill.empty((3, 4), torch.zeros(1, dtype=torch.float64))
    tensor.copy_(torch.arange(12.0).view(3, 4))
    assert list(tmp_path.iterdir()) == []
    assert tensor.dtype is torch.float64
    assert tensor.sum() == 66
    assert spill.keep(small := torch.ones(3)) is small
    large = torch.ones(16)
    kept = spill.keep(large)
    assert kept is not large
    assert torch.equal(kept, large)
    mapped = Path("/proc/self/maps")
    if mapped.exists():
        assert str(tmp_path) in mapped.read_text()
        del tensor, kept
        assert str(tmp_path) not in mapped.read_text()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="blocks cannot be reserved here")
def test_a_temporary_folder_that_is_full_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ExecutionFailed, match="No space left") as raised:
        Spill(tmp_path).empty((10,), torch.zeros(1))
    assert "TMPDIR" in (raised.value.fix or "")
    assert list(tmp_path.iterdir()) == []


def test_tmpdir_is_where_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert Spill().folder == tmp_path


class Allocated(MemoryMeter):
    """Leaves out what is mapped from files."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.from_file.default:
            return func(*args, **(kwargs or {}))
        return super().__torch_dispatch__(func, types, args, kwargs)


@pytest.mark.parametrize(
    ("name", "prompts"),
    [("llama", PROMPTS), ("gemma2", PROMPTS), ("llama", PROMPTS_WITH_SPANS)],
)
def test_a_spilled_search_allocates_less_than_its_budget(name: str, prompts: PromptSet):
    weights = tiny_weights(name, "float32", layers=8)
    whole, spilled, budget = benches(weights, "corrupted", prompts)
    peaks = []
    for bench, memory in ((whole, whole.memory_plan().sources + budget), (spilled, budget)):
        with torch.no_grad(), Allocated() as meter:
            decisions(bench, memory, threshold=0.05)
        peaks.append(meter.peak)
    assert peaks[1] < min(budget, peaks[0])


@pytest.mark.parametrize("ablation", ["corrupted", "zero", "mean"])
def test_setting_up_a_spilled_bench_allocates_less_than_the_outputs(ablation: Any):
    weights = tiny_weights("llama", "float32", layers=8)
    budget = set_up(weights, PROMPTS, ablation).memory_plan().sources - 1
    with torch.no_grad(), Allocated() as meter:
        bench = set_up(weights, PROMPTS, ablation, memory=budget)
    assert meter.peak < bench.clean.outputs.nbytes
