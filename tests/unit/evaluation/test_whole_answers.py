"""Answers of several tokens against one forward of transformers for each prompt and answer."""

from __future__ import annotations

import json
import math
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from acdc_pipeline import discover
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.circuit_forward import run_circuit
from acdc_pipeline.errors import PromptError
from acdc_pipeline.evaluation import (
    circuit_logprobs,
    differentiable_objective_for,
    measure_circuits,
    objective_for,
)
from acdc_pipeline.evaluation.exchange import select_exchangeable
from acdc_pipeline.evaluation.measure import measure
from acdc_pipeline.execution.result_warnings import guessing
from acdc_pipeline.metrics import METRICS
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.prompts import Pair, align, align_ids
from acdc_pipeline.prompts.prompt_set import pick_prompts
from acdc_pipeline.specs import find_task
from acdc_pipeline.specs.names import METRICS as NAMES
from tests import checkpoints
from tests.oracles.hooked_gpt2 import logprobs, outputs
from tests.tokenizers import gpt2_tokenizer, word_tokenizer

PAIRS: list[dict[str, Any]] = [
    {
        "clean": [3, 5, 7, 9],
        "corrupted": [3, 4, 7, 9],
        "correct": [[1, 2, 6], [4, 4]],
        "incorrect": [[2, 6, 7], 8, [9, 1]],
    },
    {
        "clean": [6, 5],
        "corrupted": [6, 8, 2, 5],
        "align": "right",
        "correct": [12],
        "incorrect": [[2, 6]],
    },
]
COUNTERPARTS = [[0, 1, 2, 3], [0, 3]]
REMOVED = ["a0.h1", "m1"]


def as_list(answer: int | list[int]) -> list[int]:
    return [answer] if isinstance(answer, int) else answer


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, Any]:
    from transformers import GPT2LMHeadModel

    folder = checkpoints.gpt2(tmp_path_factory.mktemp("gpt2"))
    theirs = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float64).eval()
    return load_model(f"dir:{folder}", dtype="float64"), theirs


def write(folder: Path) -> Path:
    path = folder / "x.jsonl"
    path.write_text("".join(json.dumps({**p, "answers": "whole"}) + "\n" for p in PAIRS))
    return path


def bench_of(folder: Path, model: LoadedModel, ablation: Any = "corrupted") -> Bench:
    prompts = align_ids(find_task(write(folder)), vocab=checkpoints.VOCAB, n=9, model="x")
    return set_up(model.weights, prompts, ablation)


def at_answer(model: Any, pair: int, answer: list[int], removed: list[str]) -> Tensor:
    """Log-probabilities where the tokens of `answer` are predicted."""
    clean, corrupted = (PAIRS[pair][side] + answer[:-1] for side in ("clean", "corrupted"))
    behind = len(PAIRS[pair]["corrupted"])
    places = COUNTERPARTS[pair] + list(range(behind, behind + len(answer) - 1))
    there = outputs(model, corrupted)
    replaced = {name: there[name][places] for name in removed}
    return logprobs(model, clean, replaced)[len(PAIRS[pair]["clean"]) - 1 :]


def expected_metrics(model: Any, removed: list[str]) -> dict[str, float]:
    each: dict[str, list[float]] = {name: [] for name in NAMES}
    for number, pair in enumerate(PAIRS):
        right, wrong, whole_right, kl, greedy = [], [], [], [], []
        for side, into in ((pair["correct"], right), (pair["incorrect"], wrong)):
            for answer in map(as_list, side):
                found = at_answer(model, number, answer, removed)
                into.append(sum(float(found[i, token]) for i, token in enumerate(answer)))
                if into is right:
                    whole = at_answer(model, number, answer, [])
                    whole_right.append(sum(float(whole[i, t]) for i, t in enumerate(answer)))
                    kl.append(float((whole.exp() * (whole - found)).sum(-1).mean()))
                    greedy.append(found.argmax(-1).tolist() == answer)
        p_right, p_wrong = (sum(map(math.exp, side)) for side in (right, wrong))
        nll = -math.log(p_right)
        each["kl"].append(sum(kl) / len(kl))
        each["nll"].append(nll)
        each["match_nll"].append(nll + math.log(sum(map(math.exp, whole_right))))
        each["logit_diff"].append(sum(right) / len(right) - sum(wrong) / len(wrong))
        each["prob_diff"].append(p_right - p_wrong)
        each["accuracy"].append(float(any(greedy)))
        each["forced_choice"].append(float(max(right) > max(wrong)))
    return {name: sum(values) / len(values) for name, values in each.items()}


@pytest.mark.parametrize("removed", [[], REMOVED])
def test_metrics_are_those_of_one_forward_for_each_answer(models, removed, tmp_path: Path):
    ours, theirs = models
    bench = bench_of(tmp_path, ours)
    topology = ours.weights.topology
    kept = [edge for edge in topology.edges if str(edge.src) not in removed]
    expected = expected_metrics(theirs, removed)
    found = measure(bench, circuit_logprobs(bench, kept), NAMES)
    # float64 on both sides
    assert found == pytest.approx(expected, abs=1e-9)
    (batched,) = measure_circuits(bench, [topology.edge_mask(kept)], NAMES)
    assert batched == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("whole", [True, False])
def test_what_depends_on_the_answers_alone_is_made_once_for_all_circuits(
    models, whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench = bench_of(tmp_path, models[0])
    if not whole:
        prompts = align(
            [Pair((3, 5), (3, 4), (1,), (2,))], word_tokenizer("abc"), bos=False, name="x"
        )
        bench = set_up(models[0].weights, prompts, "corrupted")
    measure_module = import_module("acdc_pipeline.evaluation.measure")  # not the function
    name = "WholeAnswerScores" if whole else "answer_masks"
    made, make = [], getattr(measure_module, name)

    def counted(*args: Any) -> Any:
        made.append(name)
        return make(*args)

    masks = [
        bench.weights.topology.edge_mask(edges) for edges in ([], bench.weights.topology.edges)
    ]
    expected = measure_circuits(bench, masks, NAMES)
    monkeypatch.setattr(measure_module, name, counted)
    monkeypatch.setattr(measure_module, "_MAX_BATCH", 1)
    alone = measure_circuits(bench, masks, NAMES)
    assert made == [name]
    for ours, theirs in zip(alone, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("metric", ["kl", "nll", "logit_diff", "prob_diff", "match_nll"])
def test_objectives_are_the_metrics_with_gradients(models, metric, tmp_path: Path):
    ours, _ = models
    bench = bench_of(tmp_path, ours)
    kept = [edge for edge in ours.weights.topology.edges if str(edge.src) not in REMOVED]
    final = bench.layout.at_answers(
        run_circuit(bench.weights, bench.prompts.clean, bench.ablated, kept).flatten(0, 1)
    )
    expected = (
        METRICS[metric].sign * measure(bench, circuit_logprobs(bench, kept), [metric])[metric]
    )
    with torch.no_grad():
        assert float(objective_for(bench, metric)(final[None])) == pytest.approx(expected, abs=1e-9)
    objective = differentiable_objective_for(bench, metric)
    assert torch.autograd.gradcheck(lambda x: objective(x[None]), final.detach().requires_grad_())


@pytest.mark.parametrize(
    ("method", "metric"),
    [
        ("acdc", "kl"),
        ("acdc", "logit_diff"),
        ("eap", "nll"),
        ("eap-ig-inputs", "kl"),
        ("exact", "nll"),
        ("node-exact", "logit_diff"),
    ],
)
def test_methods_find_circuits_whose_metrics_a_fresh_forward_confirms(
    models, method, metric, tmp_path: Path
):
    ours, theirs = models
    size: dict[str, Any] = {"threshold": 0.01} if method == "acdc" else {"edges": 20}
    found = discover(
        str(write(tmp_path)),
        str(ours.ref),
        method=method,
        metric=metric,
        dtype="float64",
        progress=None,
        **size,
    )
    assert found.run.metrics["model_accuracy"] == expected_metrics(theirs, [])["accuracy"]
    bench = bench_of(tmp_path, ours)
    fresh = measure(bench, circuit_logprobs(bench, found.edges), [metric])
    assert found.run.metrics[metric] == pytest.approx(fresh[metric], abs=1e-9)


def test_prompts_that_repeat_count_again(models, tmp_path: Path):
    ours, _ = models
    bench = bench_of(tmp_path, ours)
    twice = pick_prompts(bench.prompts, [1, 0, 0, 1])
    assert twice.n_prompts == 4
    again = set_up(ours.weights, twice, "corrupted")
    kept = ours.weights.topology.edges[::2]
    assert measure(again, circuit_logprobs(again, kept), NAMES) == pytest.approx(
        measure(bench, circuit_logprobs(bench, kept), NAMES), abs=1e-9
    )


def test_guessing_is_the_share_of_correct_answers(models, tmp_path: Path):
    assert guessing(bench_of(tmp_path, models[0]).prompts) == pytest.approx((2 / 5 + 1 / 2) / 2)


def test_prompts_with_whole_answers_are_not_exchanged(models, tmp_path: Path):
    with pytest.raises(PromptError, match="whole answers"):
        select_exchangeable(bench_of(tmp_path, models[0]).prompts)


def test_text_answers_are_tokenised_behind_their_prompt():
    tokenizer = gpt2_tokenizer()
    pair = Pair("John met", "Mark met", (" Abigail",), (" Mary",), whole=True)
    made = align([pair], tokenizer, bos=False, name="x")
    abigail, mary = (tokenizer(text)["input_ids"] for text in (" Abigail", " Mary"))
    john_met = tokenizer("John met")["input_ids"]
    assert made.clean[0].tolist() == john_met + abigail[:2]
    assert made.lengths.tolist() == [4, 2]
    assert made.answer_row.tolist() == [0, 0, 0, 1]
    assert made.answer_pos.tolist() == [1, 2, 3, 1]
    assert [ids[0] for ids in made.correct] == [*abigail, *mary]


def test_whole_answers_in_some_pairs_only_are_refused():
    pairs = [Pair("John", "Mark", (" met",), (), whole=whole) for whole in (True, False)]
    with pytest.raises(PromptError, match="some pairs count whole answers"):
        align(pairs, gpt2_tokenizer(), bos=False, name="x")


def test_answer_ids_of_several_tokens_need_whole_answers():
    with pytest.raises(PromptError, match=r"correct: \[5, 6\] is 2 tokens"):
        align([Pair((5,), (6,), ((5, 6),), ())], gpt2_tokenizer(), bos=False, name="x")
