"""The public functions with a model in memory in place of a reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

import acdc_pipeline as acdc
from acdc_pipeline.errors import InvalidInput, PromptError, SpecError
from acdc_pipeline.found_circuit import found_circuit
from acdc_pipeline.models.zoo import zoo_path
from acdc_pipeline.specs import ModelRef, load_yaml
from acdc_pipeline.specs.sweep import SweepSpec
from tests import checkpoints
from tests.command_line import acdc as command
from tests.memory_models import IDS, assert_same, bridge, gpt2, pretrained, state


def results(circuit: acdc.FoundCircuit) -> tuple[Any, ...]:
    """All that a run decided and measured."""
    run = circuit.run
    return circuit.edges, circuit.scores, run.decisions, run.metrics, run.details


def wrapped(folder: Path) -> Any:
    return bridge(pretrained(folder))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("gpt2", pretrained),
        ("neox", wrapped),
        ("llama", pretrained),
        ("gemma2", pretrained),
        ("qwen3", wrapped),
    ],
)
def test_discover_in_memory_decides_and_scores_as_in_its_folder(
    name: str, form: Callable[[Path], Any], tmp_path: Path
):
    folder = checkpoints.HUGGING_FACE[name](tmp_path / name)
    model = form(folder)
    before = state(model)
    both: list[dict[str, Any]] = [{"threshold": 0.01}, {"method": "eap", "edges": 9}]
    for how in both:
        stored = acdc.discover(IDS, f"dir:{folder}", device="cpu", **how)
        ours = acdc.discover(IDS, model, device="cpu", **how)
        assert results(ours) == results(stored)
        assert ours.run_id != stored.run_id
    assert_same(before, state(model))


def test_discover_text_task_in_memory_decides_as_the_zoo_does():
    folder = zoo_path("gpt2-4l-s0")
    model, tokenizer = pretrained(folder), AutoTokenizer.from_pretrained(folder)
    how: dict[str, Any] = {"threshold": 0.3, "prompts": 4, "device": "cpu"}
    stored = acdc.discover("ioi", "zoo:gpt2-4l-s0", **how)
    assert results(acdc.discover("ioi", model, tokenizer=tokenizer, **how)) == results(stored)
    with pytest.raises(PromptError, match="task 'ioi' needs a tokenizer, and none was given") as no:
        acdc.discover("ioi", model, **how)
    assert no.value.fix == "pass its tokenizer as tokenizer=..."


def test_discover_model_of_load_model_is_the_run_of_its_reference(tmp_path: Path):
    model = acdc.load_model("zoo:compiled-induction", device="cpu")
    how: dict[str, Any] = {"threshold": 0.01, "prompts": 2, "device": "cpu", "store": tmp_path}
    first = acdc.discover("induction", model, **how)
    again = acdc.discover("induction", "zoo:compiled-induction", **how)
    assert (again.run_id, again) == (first.run_id, first)
    assert first.run.spec.model == "zoo:compiled-induction"
    assert acdc.open_store(tmp_path).run_ids() == [first.run_id]
    assert first.evaluate(null=0).kl == again.evaluate(null=0).kl


def test_store_answers_for_the_same_weights_and_no_others(tmp_path: Path):
    folder = tmp_path / "store"
    how: dict[str, Any] = {"threshold": 0.01, "device": "cpu", "store": folder}
    first = acdc.discover(IDS, gpt2(tmp_path), **how)
    again = acdc.discover(IDS, gpt2(tmp_path), **how)
    assert (again.run_id, again) == (first.run_id, first)
    changed = gpt2(tmp_path)
    with torch.no_grad():
        changed.transformer.h[0].attn.c_proj.weight[0, 0] += 0.5
    other = acdc.discover(IDS, changed, **how)
    assert sorted(acdc.open_store(folder).run_ids()) == sorted([first.run_id, other.run_id])
    assert {p.name for p in tmp_path.iterdir()} == {"store", "gpt2-0"}  # nothing else is written


def test_evaluate_found_circuit_uses_the_model_in_memory(tmp_path: Path):
    folder = checkpoints.gpt2(tmp_path / "gpt2")
    expected = acdc.discover(IDS, f"dir:{folder}", threshold=0.01, device="cpu").evaluate(null=5)
    model = pretrained(folder)
    found = acdc.discover(IDS, model, threshold=0.01, device="cpu")
    assert found.evaluate(null=5) == expected
    assert acdc.evaluate(found, IDS, model, null=5, device="cpu").kl == expected.kl
    with torch.no_grad():
        model.transformer.wte.weight[3] += 1
    with pytest.raises(InvalidInput, match="are not those of run") as changed:
        found.evaluate(null=5)
    assert "run discover on this one" in str(changed.value.fix)


def test_stored_run_of_a_model_in_memory_reads_everywhere_and_asks_for_the_model_to_measure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    loaded = acdc.load_model("zoo:compiled-induction", device="cpu")
    store, model, tokenizer = tmp_path / "store", loaded.bridge, loaded.tokenizer
    model.cfg.model_name = "me/tuned model"
    how: dict[str, Any] = {"tokenizer": tokenizer, "prompts": 2, "device": "cpu", "store": store}
    found = acdc.discover("induction", model, threshold=0.01, **how)
    other = acdc.discover("induction", model, threshold=0.1, **how)
    run, at = found.run_id, ("--store", str(store))
    assert found.run.spec.model == "memory:tuned-model"
    shown = command(capsys, "runs", "list", "--model", "memory:tuned-model", *at)
    assert (shown.code, run[:8] in shown.out) == (0, True)
    assert command(capsys, "runs", "show", run, *at).code == 0
    assert command(capsys, "runs", "compare", run, other.run_id, *at).code == 0
    assert command(capsys, "compare", "--measure", *at).code == 3  # its rows cannot be measured
    exported = tmp_path / "x.graphml"
    assert command(capsys, "runs", "export", run, "--out", str(exported), *at).code == 0
    assert command(capsys, "wiki", "build", "--out", str(tmp_path / "wiki"), *at).code == 0
    assert list((tmp_path / "wiki").rglob("*memory-tuned-model*"))

    command(capsys, "evaluate", run, *at).refuses(
        "'memory:tuned-model' was a model in memory", "circuit.evaluate(model=model)"
    )
    record = acdc.open_store(store).get(run)
    read = found_circuit(record, acdc.load_task("induction"), None)
    with pytest.raises(InvalidInput, match="was a model in memory"):
        read.evaluate(null=0)
    again = read.evaluate(model=model, tokenizer=tokenizer, null=0)
    assert again.kl == found.evaluate(null=0).kl
    with pytest.raises(InvalidInput, match="are not those of run"):
        read.evaluate(model=gpt2(tmp_path, seed=1))


def test_profile_heads_in_memory_scores_as_in_its_folder(tmp_path: Path):
    folder = checkpoints.gpt2(tmp_path / "gpt2")
    (stored,) = acdc.profile_heads(f"dir:{folder}", [IDS], device="cpu")
    (ours,) = acdc.profile_heads(pretrained(folder), [IDS], device="cpu")
    assert [(s.layer, s.head, s.metric, s.value) for s in ours.heads] == [
        (s.layer, s.head, s.metric, s.value) for s in stored.heads
    ]
    assert ours.spec.model == "memory:gpt2"


def test_sweep_and_regress_name_models_that_workers_can_load(tmp_path: Path):
    file = tmp_path / "s.yaml"
    file.write_text(
        "name: s\ntasks: [induction]\nmodels: ['memory:gpt2']\nmethods: [{name: acdc, "
        "thresholds: [0.1]}]\nprompts: 2\nseeds: [0]\n"
    )
    with pytest.raises(SpecError, match=r"models.0: 'memory:gpt2' was a model in memory"):
        load_yaml(file, SweepSpec)
    with pytest.raises(SpecError, match="was a model in memory"):
        acdc.regress("regress", replace={"zoo:attn-2l": "memory:gpt2"})
    with pytest.raises(SpecError, match="a GPT2LMHeadModel is not a model reference: workers load"):
        ModelRef.parse(gpt2(tmp_path))
