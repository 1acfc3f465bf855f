from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import SpecError, UnknownName
from acdc_pipeline.specs import (
    METHODS,
    ModelRef,
    SweepSpec,
    TaskSpec,
    circuit_method,
    load_yaml,
    parse,
)
from tests.specs_text import write_task

ZOO = ["attn-2l", "gpt2-4l-s0", "gpt2-4l-s1"]


def sweep_with(**changes: object) -> SweepSpec:
    data = {
        "name": "s",
        "tasks": ["ioi"],
        "models": ["zoo:gpt2-*", "hf:org/name"],
        "methods": [{"name": "acdc", "thresholds": [0.1, 0.01]}],
        "prompts": 8,
        "seeds": [0, 1],
    }
    return parse({**data, **changes}, SweepSpec, "s.yaml")


def test_sweep_pattern_matches_zoo_names_and_keeps_order():
    refs = sweep_with(models=["zoo:gpt2-4l-s1", "zoo:*", "hf:a/b"]).model_refs(ZOO)
    assert [str(ref) for ref in refs] == [
        "zoo:gpt2-4l-s1", "zoo:attn-2l", "zoo:gpt2-4l-s0", "hf:a/b",
    ]  # fmt: skip


@pytest.mark.parametrize("model", ["zoo:gpt3-*", "zoo:gpt2-4l-s7"])
def test_sweep_zoo_name_that_matches_nothing_is_unknown(model: str):
    with pytest.raises(UnknownName, match="unknown model") as raised:
        sweep_with(models=[model]).model_refs(ZOO)
    assert "zoo:gpt2-4l-s0" in (raised.value.allowed or "")
    assert raised.value.fix == "correct it under 'models' of the sweep 's'"


@pytest.mark.parametrize("threshold", [-1, "0.5", float("nan")])
def test_sweep_with_one_bad_threshold_points_to_nothing_else(threshold: object):
    with pytest.raises(SpecError) as raised:
        sweep_with(methods=[{"name": "acdc", "thresholds": [0.1, threshold]}])
    assert "look at" not in (raised.value.fix or "")


@pytest.mark.parametrize("entry", [{"name": "acdc"}, {"name": "eap"}])
def test_sweep_of_a_faithfulness_is_refused_with_the_reason(entry: dict[str, object]):
    with pytest.raises(SpecError, match="unknown key") as raised:
        sweep_with(methods=[{**entry, "faithful": 0.9}])
    assert raised.value.field == "methods.0.faithful"
    assert "names its runs before any of them is executed" in (raised.value.fix or "")
    assert "acdc discover --faithful" in (raised.value.fix or "")


def test_sweep_of_a_consensus_of_less_than_two_searches_is_refused():
    with pytest.raises(SpecError, match="1 is too small") as raised:
        sweep_with(methods=[{"name": "acdc", "thresholds": [0.1], "consensus": 1}])
    assert raised.value.field == "methods.0.consensus"
    assert raised.value.allowed == "at least 2"


def test_sweep_cells_are_the_product_with_one_model_after_the_other(tmp_path: Path):
    task = load_yaml(write_task(tmp_path), TaskSpec)
    models = [ModelRef("zoo", "gpt2-4l-s0"), ModelRef("hf", "org/name")]
    cells = sweep_with().cells({"ioi": task}, models, "float32")
    assert [(c.model.name, c.seed, c.method.plain()["threshold"]) for c in cells] == [
        ("gpt2-4l-s0", 0, 0.1), ("gpt2-4l-s0", 0, 0.01),
        ("gpt2-4l-s0", 1, 0.1), ("gpt2-4l-s0", 1, 0.01),
        ("org/name", 0, 0.1), ("org/name", 0, 0.01),
        ("org/name", 1, 0.1), ("org/name", 1, 0.01),
    ]  # fmt: skip
    assert {circuit_method(c.method).metric for c in cells} == {task.metrics.discovery}


def test_sweep_excludes_hub_models_by_their_short_name(tmp_path: Path):
    tasks = {"ioi": load_yaml(write_task(tmp_path), TaskSpec)}
    models = ["gpt2", "EleutherAI/pythia-70m", "hf:openai-community/gpt2"]
    sweep = sweep_with(models=models, exclude=[{"tasks": ["ioi"], "models": ["gpt2"]}])
    refs = sweep.model_refs(ZOO)
    assert [str(r) for r in refs] == ["hf:openai-community/gpt2", "hf:EleutherAI/pythia-70m"]
    cells = sweep.cells(tasks, refs, "float32")
    assert {str(cell.model) for cell in cells} == {"hf:EleutherAI/pythia-70m"}


def test_sweep_with_an_alias_of_a_method_runs_that_method(tmp_path: Path):
    tasks = {"ioi": load_yaml(write_task(tmp_path), TaskSpec)}
    model = [ModelRef("zoo", "attn-2l")]
    aliased, named = (
        sweep_with(methods=[{"name": name, "steps": 3}]) for name in ("eap-ig", "eap-ig-inputs")
    )
    assert aliased.cells(tasks, model, "float32") == named.cells(tasks, model, "float32")
    assert (aliased.aliases(), named.aliases()) == ({"eap-ig": "eap-ig-inputs"}, {})


def test_sweep_of_several_methods_has_each_with_its_usual_values(tmp_path: Path):
    tasks = {"ioi": load_yaml(write_task(tmp_path), TaskSpec)}
    sweep = sweep_with(methods=[{"name": "acdc", "thresholds": [0.1]}, {"name": "random"}])
    cells = sweep.cells(tasks, [ModelRef("zoo", "attn-2l")], "float32")
    assert [(c.method.name, c.seed) for c in cells] == [
        ("acdc", 0), ("random", 0), ("acdc", 1), ("random", 1),
    ]  # fmt: skip
    assert {c.method.plain().get("share") for c in cells} == {None, 0.05}


def test_sweep_leaves_out_what_it_excludes(tmp_path: Path):
    tasks = {"ioi": load_yaml(write_task(tmp_path), TaskSpec)}
    models = [ModelRef("zoo", name) for name in ZOO]
    sweep = sweep_with(exclude=[{"tasks": ["ioi"], "models": ["zoo:gpt2-*"]}], seeds=[0])
    assert [str(cell.model) for cell in sweep.cells(tasks, models, "float32")] == [
        "zoo:attn-2l",
        "zoo:attn-2l",
    ]


def test_sweep_dtype_wins_over_the_profiles(tmp_path: Path):
    tasks = {"ioi": load_yaml(write_task(tmp_path), TaskSpec)}
    models = [ModelRef("zoo", "attn-2l")]
    assert sweep_with().cells(tasks, models, "bfloat16")[0].dtype == "bfloat16"
    assert sweep_with(dtype="float64").cells(tasks, models, "bfloat16")[0].dtype == "float64"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"methods": [{"name": "acdc", "thresholds": [-0.1]}]}, "methods.0.thresholds.0"),
        ({"methods": [{"name": "acdc", "thresholds": [0.1, 0.1]}]}, "methods.0.thresholds"),
        ({"methods": [{"name": "acdc", "threshold": 0.1}]}, "methods.0.threshold"),
        ({"methods": [{"name": "adcd", "thresholds": [0.1]}]}, "methods.0.name"),
        ({"methods": [{"name": "random", "share": 2}]}, "methods.0.share"),
        ({"methods": [{"name": "random", "share": 0.1, "edges": 2}]}, "methods.0.edges"),
        ({"methods": [{"name": "random", "threshold": 0.1}]}, "methods.0.threshold"),
        ({"models": ["hf:org/*"]}, "models.0"),
        ({"models": ["attn-2l"]}, "models.0"),
        ({"tasks": []}, "tasks"),
        ({"exclude": [{"tasks": ["io"], "models": ["zoo:*"]}]}, "exclude.0.tasks.0"),
        ({"seeds": [-1]}, "seeds.0"),
        ({"prompts": 0}, "prompts"),
    ],
)
def test_sweep_with_a_mistake_is_rejected(changes: dict[str, object], field: str):
    with pytest.raises(SpecError) as raised:
        sweep_with(**changes)
    assert raised.value.field == field


def test_sweep_size_is_that_of_its_cells_without_making_them(tmp_path: Path):
    task = load_yaml(write_task(tmp_path), TaskSpec)
    refs = tuple(ModelRef.parse(text) for text in ("zoo:gpt2-4l-s0", "hf:org/name"))
    exclude = [{"tasks": ["ioi"], "models": ["hf:*"]}]
    for sweep, size in ((sweep_with(), 8), (sweep_with(exclude=exclude), 4)):
        assert sweep.size({"ioi": task}, refs) == size
        assert len(sweep.cells({"ioi": task}, refs, "float32")) == size


def test_sweep_with_experts_as_nodes_says_so_and_others_are_written_as_before(tmp_path: Path):
    task = load_yaml(write_task(tmp_path), TaskSpec)
    refs = (ModelRef.parse("hf:org/name"),)
    for sweep, experts in ((sweep_with(), "layer"), (sweep_with(experts="nodes"), "nodes")):
        cells = sweep.cells({"ioi": task}, refs, "float32")
        assert {cell.experts for cell in cells} == {experts}
        assert ("experts" in sweep.plain()) == (experts == "nodes")


@pytest.mark.parametrize("name", METHODS)
def test_sweep_that_was_written_is_read_again(name: str):
    given = {"thresholds": [0.1]} if "threshold" in METHODS[name].parameters() else {}
    sweep = sweep_with(methods=[{"name": name, **given}])
    assert SweepSpec.from_plain(sweep.plain()) == sweep
