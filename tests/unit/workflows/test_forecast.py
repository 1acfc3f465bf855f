"""What a sweep would take: from runs of its kind, else from a count that can be done by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from acdc_pipeline.models.describe import describe_model
from acdc_pipeline.specs import WorkerProfile, find_profile, find_task, parse
from acdc_pipeline.specs.methods.scored import EapMethod
from acdc_pipeline.store import Store, open_store
from acdc_pipeline.workflows.forecast import (
    CPU_RATE,
    GPU_RATE,
    SECONDS_PER_TEST,
    UNKNOWN_LENGTH,
    CellForecast,
    estimate,
    forecast,
    parameters,
    rough_tokens,
)
from acdc_pipeline.workflows.sweep import SweepStatus, plan_sweep, sweep_status
from tests import records
from tests.sweeps import id_task, sweep, write_pairs, write_shape

LAPTOP = find_profile("laptop").model_copy(update={"cpus": 2.0, "actors": 1})
GPU = find_profile("gpu")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def work(tmp_path: Path, store: Store, **changes: Any) -> SweepStatus:
    if not (tmp_path / "m").exists():
        write_shape(tmp_path / "m")
        write_pairs(tmp_path / "two.jsonl")
    spec = sweep(models=[f"dir:{tmp_path / 'm'}"], tasks=[str(tmp_path / "two.jsonl")], **changes)
    return sweep_status(plan_sweep(spec, dtype="float32"), store)


def test_parameters_of_gpt2_are_about_those_it_has(tmp_path: Path):
    shape = {"n_layer": 12, "n_head": 12, "n_embd": 768, "vocab_size": 50257}
    found = describe_model(f"dir:{write_shape(tmp_path / 'gpt2', **shape)}")
    assert (found.d_head, found.d_mlp) == (64, 3072)
    # a third matrix per MLP is taken for granted, and the unembedding is counted by itself
    extra = 12 * 768 * 3072 + 50257 * 768
    assert parameters(found) - extra == pytest.approx(124e6, rel=0.01)


def test_parameters_of_mixtral_are_about_those_it_has(tmp_path: Path):
    shape = {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}
    shape |= {"hidden_size": 4096, "intermediate_size": 14336, "vocab_size": 32000}
    shape |= {"num_local_experts": 8, "num_experts_per_tok": 2}
    config = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", **shape}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").touch()
    found = describe_model(f"dir:{tmp_path}")
    assert found.to_json()["experts"] == (8, 2)
    # the published sizes: 46.7 billion in all, 12.9 billion for one token
    assert parameters(found) == pytest.approx(46.7e9, rel=0.01)
    one_token = replace(found, experts=(2, 2))
    assert parameters(one_token) == pytest.approx(12.9e9, rel=0.01)


def test_forecast_without_runs_of_its_kind_counts_operations(tmp_path: Path, store: Store):
    (cell,) = forecast(work(tmp_path, store), (), LAPTOP)
    # GPT-2's shape with 2 layers x 2 heads, d 16: heads of width 8, MLPs of width 64
    blocks = 2 * 16 * (2 * 8 * (2 + 2) + 3 * 64)
    forward = 2 * 2 * (3 * blocks + 40 * 16)  # 2 prompts of 3 tokens, one answer each
    edges = describe_model(f"dir:{tmp_path / 'm'}").n_edges
    expected = edges * (0.02 * forward / (2 * CPU_RATE) + SECONDS_PER_TEST)
    assert cell.seconds == pytest.approx(expected)
    assert (cell.edges, cell.edge_tests, cell.measured) == (edges, edges, 0)


def test_forecast_on_a_gpu_takes_less_and_half_a_gpu_is_half_as_fast(tmp_path: Path, store: Store):
    def operations_at(profile: WorkerProfile) -> float:
        (cell,) = forecast(work(tmp_path, store), (), profile)
        return (cell.seconds - cell.edge_tests * SECONDS_PER_TEST) / cell.edge_tests

    whole, half = operations_at(GPU), operations_at(GPU.model_copy(update={"gpus": 0.5}))
    assert half == pytest.approx(2 * whole, rel=1e-3)
    cpu = operations_at(LAPTOP)
    assert cpu == pytest.approx(whole * GPU_RATE / (2 * CPU_RATE), rel=1e-3)


def test_forecast_takes_the_time_of_the_run_whose_threshold_is_nearest(
    tmp_path: Path, store: Store
):
    methods = [{"name": "acdc", "thresholds": [1.0, 0.1, 0.001]}]
    planned = work(tmp_path, store, methods=methods).plan.runs
    for run, seconds in ((planned[0], 5.0), (planned[2], 80.0)):
        store.commit(replace(records.record(), spec=run.run, wall_seconds=seconds))
    (cell,) = forecast(work(tmp_path, store, methods=methods), store.summaries(), LAPTOP)
    assert (cell.cached, cell.to_run, cell.measured) == (2, 1, 1)
    assert cell.seconds == 5.0  # 0.1 is a factor of 10 from 1 and of 100 from 0.001


def test_forecast_of_scores_counts_passes_and_no_edge_tests(tmp_path: Path, store: Store):
    def seconds(**method: Any) -> float:
        (cell,) = forecast(work(tmp_path, store, methods=[method]), (), LAPTOP)
        assert cell.edge_tests == 0
        return cell.seconds

    eap = seconds(name="eap")
    assert 0 < eap < seconds(name="eap-ig-inputs", steps=5)
    (cell,) = forecast(work(tmp_path, store, methods=[{"name": "exact"}]), (), LAPTOP)
    (acdc,) = forecast(work(tmp_path, store), (), LAPTOP)
    assert cell.edge_tests == acdc.edge_tests
    assert cell.seconds > acdc.seconds


class RemovalMethod(EapMethod):
    """A method that runs the whole model once for each edge."""

    TEST_COST: ClassVar[float] = 1.0
    COMPUTES_SCORES: ClassVar[bool] = False

    def edges_tested(self, n_edges: int) -> int:
        return n_edges


def test_forecast_of_a_new_method_takes_its_cost_from_its_class(tmp_path: Path, store: Store):
    (planned,) = work(tmp_path, store).plan.runs
    model = describe_model(planned.run.model)
    method = RemovalMethod(
        name="eap", metric="logit_diff", ablation="zero", share=0.1, edges=None, rank="signed"
    )
    found = estimate(planned.run.model_copy(update={"method": method}), 3, model, {}, LAPTOP)
    # the forward pass of the test above: 2 prompts of 3 tokens, one answer each
    forward = 2 * 2 * (3 * 2 * 16 * (2 * 8 * (2 + 2) + 3 * 64) + 40 * 16)
    expected = model.n_edges * (forward / (2 * CPU_RATE) + SECONDS_PER_TEST)
    assert found.seconds == pytest.approx(expected)
    assert found.edge_tests == model.n_edges


def test_forecast_of_a_screened_search_counts_the_scores_and_the_edges_that_it_leaves(
    tmp_path: Path, store: Store
):
    def cell(**method: Any) -> CellForecast:
        return forecast(work(tmp_path, store, methods=[method]), (), LAPTOP)[0]

    acdc = cell(name="acdc", thresholds=[0.1])
    scores = cell(name="eap-ig-inputs", steps=5)
    both = cell(name="eap-ig-acdc", thresholds=[0.1], steps=5, screen=0.5)
    assert both.edge_tests == round(0.5 * acdc.edge_tests)
    share = both.edge_tests / acdc.edge_tests
    assert both.seconds == pytest.approx(scores.seconds + share * acdc.seconds)


def test_forecast_scales_with_the_prompts(tmp_path: Path, store: Store):
    (run,) = work(tmp_path, store, prompts=1).plan.runs
    store.commit(replace(records.record(), spec=run.run, wall_seconds=5.0))
    (cell,) = forecast(work(tmp_path, store, prompts=2), store.summaries(), LAPTOP)
    assert cell.seconds == 10.0


def test_forecast_says_what_is_there_and_what_is_refused(tmp_path: Path, store: Store):
    seeds, gone = [0, 1, 2], f"dir:{tmp_path / 'gone'}"
    (run, *_) = work(tmp_path, store, seeds=seeds).plan.runs
    store.commit(replace(records.record(), spec=run.run))
    spec = sweep(
        models=[f"dir:{tmp_path / 'm'}", gone], tasks=[str(tmp_path / "two.jsonl")], seeds=seeds
    )
    both = sweep_status(plan_sweep(spec, dtype="float32"), store)
    one, other = forecast(both, (), LAPTOP)
    assert (one.cached, one.to_run, one.failed, one.refused) == (1, 2, 0, 0)
    # it is missing, which is not to say that it is unsupported
    assert (one.unsupported, other.unsupported) == (0, 0)
    assert (other.model, other.refused, other.edges, other.memory) == (gone, 3, None, None)


def test_forecast_memory_grows_with_prompts_and_precision(tmp_path: Path, store: Store):
    (small,) = forecast(work(tmp_path, store, prompts=1), (), LAPTOP)
    (large,) = forecast(work(tmp_path, store, prompts=2), (), LAPTOP)
    (fine,) = forecast(work(tmp_path, store, prompts=2, dtype="float64"), (), LAPTOP)
    assert small.memory is not None
    assert large.memory is not None
    assert small.memory < large.memory < 2 * small.memory
    assert fine.memory == 2 * large.memory


PAIR = {"clean": "The cat's mat", "corrupted": "The dog's mat", "correct": "x"}


@pytest.mark.parametrize(
    ("name", "least", "most"), [("ioi", 12, 25), ("induction", 12, 20), ("docstring", 25, 80)]
)
def test_rough_length_of_a_shipped_task_is_that_of_its_prompts(name: str, least: int, most: int):
    assert least <= rough_tokens(find_task(name)) <= most


def test_rough_length_of_pairs_counts_ids_words_and_marks():
    assert rough_tokens(id_task("ids")) == 3
    assert rough_tokens(id_task("texts", [PAIR])) == 5  # The cat ' s mat
    function = {"kind": "function", "name": "f", "bos": True}
    data = id_task("f").plain() | {"generator": function, "reference": None}
    from acdc_pipeline.specs import TaskSpec

    assert rough_tokens(parse(data, TaskSpec, "f.yaml")) == UNKNOWN_LENGTH
