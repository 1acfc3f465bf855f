"""Run ids: the same for the same result, different for anything that decides it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from acdc_pipeline.cli.options import parsers
from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs import AcdcMethod, RunSpec, parse
from acdc_pipeline.specs.run import MAX_PROMPTS

PLAIN: dict[str, Any] = {
    "task": "ioi",
    "task_hash": "ab" * 32,
    "model": "zoo:gpt2-4l-s0",
    "model_revision": "cd" * 32,
    "method": {
        "name": "acdc",
        "threshold": 0.01,
        "metric": "kl",
        "ablation": "corrupted",
        "order": "reverse-heads",
        "difference": "signed",
    },
    "prompts": 64,
    "seed": 0,
    "dtype": "float32",
    "schema_version": 1,
}


def run_with(**changes: Any) -> RunSpec:
    method = {**PLAIN["method"], **changes.pop("method", {})}
    return parse({**PLAIN, "method": method, **changes}, RunSpec, "run.json")


def test_run_id_is_sha256_of_the_canonical_json_written_out_by_hand():
    text = (
        '{"dtype":"float32","method":{"ablation":"corrupted","difference":"signed",'
        '"metric":"kl","name":"acdc","order":"reverse-heads","threshold":0.01},'
        f'"method_version":1,"model_revision":"{"cd" * 32}","prompts":64,'
        f'"schema_version":1,"seed":0,"task_hash":"{"ab" * 32}"}}'
    )
    assert run_with().run_id() == hashlib.sha256(text.encode()).hexdigest()[:20]


def test_run_id_of_acdc_is_what_it_was_when_acdc_was_the_only_method():
    assert run_with().run_id() == "17d6a2eb4e00866cb9df"


def test_run_of_another_method_survives_plain_data_unchanged():
    method = {
        "name": "random",
        "metric": "kl",
        "ablation": "corrupted",
        "share": None,
        "edges": 60,
    }
    run = parse({**PLAIN, "method": method}, RunSpec, "run.json")
    assert run.plain() == {**PLAIN, "method": method}
    assert RunSpec.from_plain(run.plain()) == run
    assert run.run_id() != run_with().run_id()


@pytest.mark.parametrize("changes", [{"task": "other"}, {"model": "dir:/elsewhere"}])
def test_run_id_ignores_names(changes: dict[str, Any]):
    assert run_with(**changes).run_id() == run_with().run_id()


@pytest.mark.parametrize(
    "changes",
    [
        {"task_hash": "00" * 32},
        {"model_revision": "00" * 32},
        {"prompts": 65},
        {"seed": 1},
        {"dtype": "float64"},
        {"method": {"threshold": 0.02}},
        {"method": {"metric": "logit_diff"}},
        {"method": {"ablation": "zero"}},
        {"method": {"order": "natural"}},
        {"method": {"difference": "abs"}},
    ],
)
def test_run_id_changes_with_everything_that_decides(changes: dict[str, Any]):
    assert run_with(**changes).run_id() != run_with().run_id()


def test_run_id_of_a_whole_number_threshold_equals_that_of_the_same_float():
    assert (
        run_with(method={"threshold": 1}).run_id() == run_with(method={"threshold": 1.0}).run_id()
    )


def test_run_spec_survives_plain_data_unchanged():
    run = run_with()
    assert run.plain() == PLAIN
    assert RunSpec.from_plain(run.plain()) == run
    assert hash(RunSpec.from_plain(run.plain())) == hash(run)


@pytest.mark.parametrize("threshold", [0, -0.1, float("inf"), float("nan"), "0.1", None])
def test_method_threshold_that_is_no_positive_number_is_rejected(threshold: object):
    with pytest.raises(SpecError) as raised:
        run_with(method={"threshold": threshold})
    assert raised.value.field == "method.threshold"


@pytest.mark.parametrize("field", ["threshold", "metric", "ablation", "order", "difference"])
def test_method_has_no_silent_default(field: str):
    method = {key: value for key, value in PLAIN["method"].items() if key != field}
    with pytest.raises(SpecError, match="is missing") as raised:
        parse(method, AcdcMethod, "method")
    assert raised.value.field == field


def test_run_of_more_prompts_than_can_be_made_is_refused_as_on_the_command_line():
    assert run_with(prompts=MAX_PROMPTS).prompts == parsers.MAX_PROMPTS
    with pytest.raises(SpecError, match="prompts: 1000001 is not at most"):
        run_with(prompts=MAX_PROMPTS + 1)


def test_run_with_experts_as_nodes_is_another_run_and_says_so():
    run = run_with(experts="nodes")
    assert run.plain() == {**PLAIN, "experts": "nodes"}
    assert RunSpec.from_plain(run.plain()) == run
    assert run.run_id() != run_with().run_id()
    assert run_with(experts="layer").plain() == PLAIN
    assert run_with(experts="layer").run_id() == run_with().run_id()
    with pytest.raises(SpecError, match="did you mean 'nodes'"):
        run_with(experts="node")
