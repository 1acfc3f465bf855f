from __future__ import annotations

from dataclasses import replace

import pytest

from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.specs import AcdcMethod, RunSpec
from acdc_pipeline.specs.methods.scored import EapMethod
from acdc_pipeline.wiki.circuits import CircuitSeries, find_weakness, group_circuits
from acdc_pipeline.wiki.models import group_models
from acdc_pipeline.wiki.pages.head_feeds import say_circuit
from acdc_pipeline.wiki.runs import KeptEdge, Run, StoreContents

SHAPE = Topology(2, 2, has_mlp=False)


def acdc(threshold: float, **more: object) -> AcdcMethod:
    usual = {"metric": "kl", "ablation": "corrupted", "order": "reverse-heads"}
    return AcdcMethod.model_validate(
        {"name": "acdc", "threshold": threshold, "difference": "signed", **usual, **more}
    )


def run(method, edges: dict[str, float], *, seed: int = 0, kl: float = 1.0) -> Run:
    circuit = Circuit.of(SHAPE, edges)
    spec = RunSpec(
        task="ioi",
        task_hash="0" * 64,
        model="zoo:attn-2l",
        model_revision="1" * 40,
        method=method,
        prompts=64,
        seed=seed,
        dtype="float32",
    )
    return Run(
        run_id=spec.run_id(),
        digest="",
        measured="",
        spec=spec,
        shape=SHAPE,
        edges=tuple(
            KeptEdge(str(e.src), str(e.dst), e.slot or "", edges[str(e)])
            for e in circuit.sorted_edges
        ),
        edges_total=SHAPE.n_edges,
        metrics={"kl": kl, "ablated_kl": 4.0},
        details={},
        code_version="0",
        scores={},
    )


SMALL = {"input->a1.h0<v>": 0.5, "a1.h0->logits": 0.7}
LARGE = {**SMALL, "input->a0.h1<k>": 0.02, "a0.h1->a1.h0<k>": 0.03}


def series() -> CircuitSeries:
    runs = [run(acdc(0.01), LARGE, kl=0.4), run(acdc(0.1), SMALL, kl=2.0)]
    (found,) = group_circuits(runs)["ioi"]
    return found


def test_series_orders_its_circuits_by_threshold_largest_first():
    found = series()
    assert [cut.label for cut in found.cuts] == ["0.1", "0.01"]
    assert [len(cut.edges) for cut in found.cuts] == [2, 4]
    assert found.cuts[0].share == pytest.approx(2 / SHAPE.n_edges)


def test_series_knows_the_circuits_of_every_head_and_edge():
    found = series()
    assert found.heads == {"a1.h0": (True, True), "a0.h1": (False, True)}
    assert found.edges[("a0.h1", "a1.h0", "k")] == (False, True)
    smallest = found.smallest_with_head("a0.h1")
    assert smallest is not None
    assert smallest.threshold == 0.01
    assert found.smallest_with_head("a0.h0") is None
    assert found.score(("a1.h0", "logits", "")) == 0.7
    assert found.outgoing["a0.h1"] == [("a0.h1", "a1.h0", "k")]
    assert found.incoming["a1.h0"] == [("a0.h1", "a1.h0", "k"), ("input", "a1.h0", "v")]


@pytest.mark.parametrize(
    ("kl", "first"),
    [
        ((2.0, 0.4), 1),  # faithfulness 0.5 and 0.9
        ((0.4, 2.0), 0),
        ((0.44, 0.4), 0),  # 0.89 and 0.9: alike, the smaller one
        ((9.0, 6.0), 1),  # -1.25 and -0.5
    ],
)
def test_series_shows_the_most_faithful_circuit(kl: tuple[float, float], first: int):
    runs = [run(acdc(0.1), SMALL, kl=kl[0]), run(acdc(0.01), LARGE, kl=kl[1])]
    (found,) = group_circuits(runs)["ioi"]
    assert found.first_shown == first


def test_series_does_not_show_a_circuit_without_edges_if_another_has_some():
    runs = [run(acdc(0.1), {}, kl=4.0), run(acdc(0.01), LARGE, kl=9.0)]
    (found,) = group_circuits(runs)["ioi"]
    assert found.first_shown == 1


def test_runs_under_other_settings_are_another_series_and_the_longest_comes_first():
    runs = [run(acdc(0.1, ablation="zero"), SMALL), run(acdc(0.1), SMALL), run(acdc(0.01), LARGE)]
    first, second = group_circuits(runs)["ioi"]
    assert [len(s.cuts) for s in (first, second)] == [2, 1]
    assert second.spec.method.ablation == "zero"


def test_runs_of_a_method_that_scores_are_told_apart_by_size_and_come_after_acdc():
    plain = {"name": "eap", "metric": "logit_diff", "ablation": "corrupted", "rank": "magnitude"}
    few = run(EapMethod.model_validate({**plain, "share": None, "edges": 2}), SMALL)
    many = run(EapMethod.model_validate({**plain, "share": None, "edges": 4}), LARGE)
    first, second = group_circuits([many, few, run(acdc(0.1), SMALL)])["ioi"]
    assert first.has_thresholds
    assert not second.has_thresholds
    assert [cut.label for cut in second.cuts] == ["2", "4"]


@pytest.mark.parametrize(
    ("metrics", "weak"),
    [
        ({"kl": 1.0, "ablated_kl": 4.0}, None),
        ({"kl": 3.0, "ablated_kl": 4.0}, ("kl", 0.25)),
        ({"kl": 4.0, "ablated_kl": 4.0}, ("kl", 0.0)),
        # (m(C) - m(empty)) / (m(model) - m(empty)) in the task's metric
        (
            {"logit_diff": -1.0, "ablated_logit_diff": 0.0, "model_logit_diff": 5.0},
            ("logit_diff", -0.2),
        ),
        ({"logit_diff": 4.0, "ablated_logit_diff": 0.0, "model_logit_diff": 5.0}, None),
        ({}, None),
    ],
)
def test_circuit_is_weak_below_a_half_in_either_of_its_metrics(
    metrics: dict[str, float], weak: tuple[str, float] | None
):
    usual = {"kl": 1.0, "ablated_kl": 4.0} if metrics else {}
    one = replace(run(acdc(0.1), SMALL), metrics={**usual, **metrics})
    (found,) = group_circuits([one])["ioi"]
    assert find_weakness(found) == (None if weak is None else (weak[0], pytest.approx(weak[1])))


def test_titles_of_models_leave_out_folders_of_absolute_paths_unless_two_would_be_alike():
    refs = {
        "zoo:attn-2l": "zoo:attn-2l",
        "hf:a/b@main": "hf:a/b@main",
        "gguf:/home/me/.cache/Small.Q4_1.gguf": "gguf:Small.Q4_1.gguf",
        "gguf:/one/same.gguf": "gguf:/one/same.gguf",
        "gguf:/two/same.gguf": "gguf:/two/same.gguf",
        "dir:/data/runs/mine/checkpoint-500": "dir:mine/checkpoint-500",
        "dir:/mine": "dir:/mine",
        "dir:models/mine": "dir:models/mine",
    }
    one = run(acdc(0.1), SMALL)
    runs = [replace(one, spec=one.spec.model_copy(update={"model": ref})) for ref in refs]
    found = group_models(StoreContents("store", tuple(runs), (), None, {}, {}, 0))
    assert {model.ref: model.title for model in found} == refs


@pytest.mark.parametrize(
    ("kl", "said"),
    [(3.0, "In the circuit at τ = 0.1 (faithfulness 25\u202f% by KL divergence), "), (1.0, None)],
)
def test_sentence_on_what_feeds_a_head_says_that_its_circuit_is_weak(kl: float, said: str | None):
    (found,) = group_circuits([run(acdc(0.1), SMALL, kl=kl)])["ioi"]
    first, _ = say_circuit(found, found.cuts[0], None, "a1.h0")[0]
    assert first == (said or "In the circuit at τ = 0.1, ")
