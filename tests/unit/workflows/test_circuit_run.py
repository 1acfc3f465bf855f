"""Logits of circuits on prompts of any form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from acdc_pipeline import Circuit, FoundCircuit, compute_logits, discover, evaluate, load_model
from acdc_pipeline.errors import GraphError, InvalidInput, PromptError, SpecError, UnknownName
from acdc_pipeline.found_circuit import CircuitOfRun
from acdc_pipeline.graph import Topology
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import find_task

MODEL = "zoo:compiled-or"
TASK = "compiled_or"


@pytest.fixture(scope="module")
def found() -> FoundCircuit:
    return discover(TASK, MODEL, method="eap", metric="logit_diff", edges=4, prompts=6)


@pytest.fixture(scope="module")
def prompts() -> Any:
    tokenizer = load_model(MODEL, device="cpu").tokenizer
    assert tokenizer is not None
    return make_prompts(find_task(TASK), tokenizer, n=6, seed=0)


def kl(model: Tensor, circuit: Tensor) -> float:
    p, q = model.log_softmax(-1), circuit.log_softmax(-1)
    return float((p.exp() * (p - q)).sum(-1).mean())


def test_logits_of_a_found_circuit_have_the_kl_of_its_run(found: FoundCircuit):
    whole = compute_logits(Circuit.full(found.topology), TASK, MODEL, count=6)
    ours = found.logits()
    assert ours.shape == (6, load_model(MODEL, device="cpu").weights.w_u.shape[1])
    # float32
    assert kl(whole, ours) == pytest.approx(found.metrics["kl"], rel=1e-4)
    assert found.metrics["kl"] > 0.01


def test_logits_of_the_whole_graph_are_those_of_the_model(prompts: Any):
    model = load_model(MODEL, device="cpu")
    logits = compute_logits(Circuit.full(model.topology), prompts, MODEL)
    theirs = model.reference_logits(prompts.clean)[prompts.answer_row, prompts.answer_pos]
    assert (logits - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_logits_are_the_same_for_every_form_of_the_same_prompts(
    found: FoundCircuit, prompts: Any, tmp_path: Path
):
    expected = found.logits()
    ids = [
        (clean[:length].tolist(), corrupted[:length].tolist())
        for clean, corrupted, length in zip(
            prompts.clean, prompts.corrupted, prompts.lengths.tolist(), strict=True
        )
    ]
    file = tmp_path / "pairs.jsonl"
    lines = [{"clean": clean, "corrupted": corrupted, "correct": 0} for clean, corrupted in ids]
    file.write_text("\n".join(map(json.dumps, lines)))
    forms: list[Any] = [prompts, ids, lines, file, str(file)]
    forms.append([(torch.tensor(clean), torch.tensor(corrupted)) for clean, corrupted in ids])
    for form in forms:
        # prompts in one batch are summed in another order than alone
        assert torch.allclose(found.logits(form), expected, atol=1e-5)
        assert torch.allclose(compute_logits(found, form, MODEL), expected, atol=1e-5)
    for task in (TASK, find_task(TASK)):
        assert torch.allclose(compute_logits(found, task, MODEL, count=6), expected, atol=1e-5)
        assert torch.allclose(found.logits(task)[:6], expected, atol=1e-5)  # all of its 256 pairs


def _pair(clean: list[int], **more: Any) -> dict[str, Any]:
    return {"clean": clean, "corrupted": [clean[0] + 1, *clean[1:]], "correct": 5, **more}


@pytest.fixture(scope="module")
def in_spans() -> FoundCircuit:
    task = [_pair([5, 6, 7], spans={"A": [0], "B": [1], "C": [2]})]
    return discover(task, "zoo:attn-2l", method="eap", metric="nll", edges=9, positions="spans")


@pytest.mark.parametrize(
    ("spans", "problem"),
    [
        ({"A": [0], "D": [1], "E": [2]}, r"have the spans D, E that .* lack the .* spans B, C"),
        ({"A": [0], "B": [1], "D": [2]}, r"have the span D that .* lack the circuit's span C"),
        ({"B": [0], "A": [1], "C": [2]}, r"the span A sees the span B, and not in the graph"),
        (None, r"have no spans, and the circuit has positions"),
    ],
)
def test_prompts_with_other_spans_than_the_circuit_are_refused_with_those(
    in_spans: FoundCircuit, spans: dict[str, list[int]] | None, problem: str
):
    pairs = [_pair([5, 6, 7], **({} if spans is None else {"spans": spans}))]
    with pytest.raises(InvalidInput, match=problem) as refused:
        in_spans.logits(pairs)
    assert "circuit.collapse()" in str(refused.value.fix)
    assert "model has" not in str(refused.value)
    assert compute_logits(in_spans.collapse(), pairs, "zoo:attn-2l").shape[0] == 1


def test_prompts_may_lack_spans_of_the_circuit(in_spans: FoundCircuit):
    assert in_spans.logits([_pair([5, 6], spans={"A": [0], "C": [1]})]).shape[0] == 1


def test_evaluation_on_prompts_of_other_spans_is_refused_with_those(in_spans: FoundCircuit):
    pairs = [_pair([5, 6, 7], spans={"A": [0], "B": [1], "D": [2]})]
    circuit = Circuit.full(in_spans.topology)
    with pytest.raises(GraphError, match="have the span D that the circuit lacks"):
        evaluate(circuit, pairs, "zoo:attn-2l", null=0)


def test_circuit_of_tokens_is_refused_on_prompts_of_several_lengths_with_a_fix_that_exists():
    task = [_pair([5, 6, 7])]
    found = discover(task, "zoo:attn-2l", method="eap", metric="nll", edges=9, positions="tokens")
    with pytest.raises(PromptError, match="differ in length") as refused:
        found.logits([_pair([5, 6, 7]), _pair([5, 6])])
    assert "positions 'spans'" not in str(refused.value.fix)
    assert "circuit.collapse()" in str(refused.value.fix)


def test_logits_of_texts_are_those_of_their_tokens():
    model = load_model("zoo:gpt2-4l-s0", device="cpu")
    circuit = Circuit.of(model.topology, ["input->m0", "m0->logits", "input->a1.h0<v>"])
    texts = [("When Mary and John went", "When John and Mary went")]
    assert model.tokenizer is not None
    ids = [tuple(model.tokenizer(text).input_ids for text in texts[0])]
    assert len(ids[0][0]) == len(ids[0][1])
    by_text = compute_logits(circuit, texts, "zoo:gpt2-4l-s0")
    assert torch.equal(by_text, compute_logits(circuit, ids, "zoo:gpt2-4l-s0"))


@pytest.mark.parametrize("ablation", ["corrupted", "zero", "mean"])
def test_patched_bridge_of_the_run_gives_the_logits_of_the_circuit(prompts: Any, ablation: str):
    found = discover(
        TASK, MODEL, method="eap", metric="logit_diff", ablation=ablation, edges=4, prompts=6
    )
    bridge = load_model(MODEL, device="cpu").bridge
    with torch.no_grad(), found.patched(bridge, prompts.corrupted) as patched:
        logits = patched(prompts.clean)[prompts.answer_row, prompts.answer_pos]
    assert (logits - found.logits()).abs().max() < 1e-4


def test_circuit_without_edges_keeps_the_run_and_is_evaluated_in_one_line(found: FoundCircuit):
    removed = str(found.strongest(1)[0])
    left = found.without(removed)
    assert type(left) is CircuitOfRun
    assert left.edges == found.edges - {found.strongest(1)[0]}
    worth = left.evaluate(null=0)
    plain = evaluate(
        Circuit(found.topology, left.edges),
        TASK,
        MODEL,
        metric="logit_diff",
        prompts=6,
        null=0,
    )
    assert worth.metrics == plain.metrics
    assert worth.stability is None
    assert repr(left) == (
        f"<circuit: {len(left)} of {found.topology.n_edges} edges, changed from run "
        f"{found.run_id[:8]}: compiled_or in zoo:compiled-or>"
    )
    same = found.without(sorted(found.topology.edge_set - found.edges, key=str)[0])
    assert f"edges, of run {found.run_id[:8]}: " in repr(same)
    twice = left.without(left.sorted_edges)
    assert (len(twice), twice.run) == (0, found.run)


def test_set_algebra_of_found_circuits_gives_plain_circuits(found: FoundCircuit):
    assert type(found | found) is Circuit
    assert type(found - Circuit.of(found.topology, [])) is Circuit


def test_pictures_of_a_changed_circuit_and_of_evaluations_name_task_and_model(found: FoundCircuit):
    left = found.without(found.sorted_edges[0])
    assert "compiled_or in zoo:compiled-or" in left._repr_svg_()
    svg = left.evaluate(null=2)._repr_svg_()
    assert "compiled_or in zoo:compiled-or" in svg
    assert "Faithfulness in logit_diff" in svg
    assert "A (compiled_or in zoo:compiled-or)" in found.compare(left)._repr_svg_()


@pytest.mark.parametrize(
    ("prompts", "error", "says"),
    [
        ("compiled_orr", UnknownName, "compiled_or"),
        ([], SpecError, "holds no prompt pair"),
        (["a text"], SpecError, "pair 1: a str is not a pair"),
        ([([1, 2],)], SpecError, "pair 1: has 1 parts"),
        ([([0, 1], [0])], PromptError, "differ in length"),
        ([([0, 99999], [0, 1])], PromptError, "99999 is not a token id"),
    ],
)
def test_prompts_that_cannot_be_used_are_refused(
    found: FoundCircuit, prompts: Any, error: type[Exception], says: str
):
    with pytest.raises(error, match=says):
        found.logits(prompts)


def test_circuit_of_another_graph_is_neither_run_nor_evaluated():
    other = Circuit.of(Topology(2, 4, has_mlp=True), ["input->logits"])
    with pytest.raises(GraphError, match="2 layers x 4 heads, MLPs, and the model has 1 layer x"):
        compute_logits(other, TASK, MODEL)
    with pytest.raises(GraphError, match="2 layers x 4 heads, MLPs, and the model has 1 layer x"):
        evaluate(other, TASK, MODEL, prompts=2)
