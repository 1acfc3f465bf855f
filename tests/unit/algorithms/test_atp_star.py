"""AtP* where it is exact, near the clean run, and against plain forwards with detached layers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts.spans import spans_from_names, with_answers
from tests import checkpoints
from tests.oracles.native_patching import NativePatching
from tests.prompt_sets import random_prompts
from tests.scoring import scores_of
from tests.unit.algorithms.test_attribution_against_oracles import PROMPTS, assert_equal

ROWS = [["one", "two", "one", "two", "END"], ["two", "two", "one", "one", "END"]]


def bench_of(name: str, folder: Path, **changes: Any) -> Bench:
    directory = checkpoints.EVERY[name](folder / name)
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    prompts = replace(random_prompts(2, 5, checkpoints.VOCAB, seed=5), **changes)
    return set_up(model.weights, prompts, "corrupted")


def spans() -> dict[str, Any]:
    prompts = random_prompts(2, 5, checkpoints.VOCAB, seed=5)
    named = spans_from_names(ROWS, 5)
    return {"spans": with_answers(named, prompts.answer_row, prompts.answer_pos)}


@pytest.mark.parametrize("changes", [{}, spans()], ids=["whole", "spans"])
def test_estimate_is_exact_where_all_after_a_pattern_is_linear(
    changes: dict[str, Any], tmp_path: Path
):
    # No norms and no MLPs: the logits are linear in what the heads of the last layer mix.
    bench = bench_of("native-no-norm", tmp_path, **changes)
    exact = scores_of("exact", bench)
    ours = scores_of("atp-star", bench, grad_drop="none")
    first_order = scores_of("eap", bench)
    last = [e for e in exact if "->a1." in e or "->logits" in e]
    largest = max(map(abs, exact.values()))
    assert max(abs(ours[e] - exact[e]) for e in last) < 1e-12 * largest
    queries_and_keys = [e for e in last if "<q>" in e or "<k>" in e]
    assert max(abs(first_order[e] - exact[e]) for e in queries_and_keys) > 1e-2 * largest


def test_score_in_a_single_layer_is_the_magnitude_of_the_exact_effect(tmp_path: Path):
    directory = checkpoints.native(tmp_path / "one", norm=None, layers=1)
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    bench = set_up(model.weights, random_prompts(1, 5, checkpoints.VOCAB, seed=5), "corrupted")
    exact = scores_of("exact", bench)
    assert_equal(scores_of("atp-star", bench), {edge: abs(s) for edge, s in exact.items()})


@pytest.mark.parametrize("name", ["gpt2", "gptj", "falcon", "gemma2", "olmo2", "llama"])
def test_estimate_of_a_small_change_is_that_of_eap(name: str, tmp_path: Path):
    bench = bench_of(name, tmp_path, **spans())
    clean = bench.clean.outputs
    # The second derivative of a pattern times a step a million times smaller.
    near = replace(bench, ablated=clean + 1e-6 * (bench.ablated - clean))
    ours, theirs = (
        scores_of(method, near, grad_drop="none")
        if method == "atp-star"
        else scores_of(method, near)
        for method in ("atp-star", "eap")
    )
    largest = max(map(abs, theirs.values()))
    assert max(abs(ours[e] - theirs[e]) for e in ours) < 1e-4 * largest


class Detaching(NativePatching):
    """A forward in which what one layer writes has no gradient, and what receivers read has one."""

    dropped: int | None = None

    def run(self, tokens: Tensor, removed: Collection[str]) -> tuple[Tensor, dict[str, Tensor]]:
        self.reads: dict[str, Tensor] = {}
        self.mixed: dict[str, Tensor] = {}
        return super().run(tokens, removed)

    def received(
        self,
        receiver: str,
        written: dict[str, Tensor],
        constant: Tensor,
        removed: Sequence[Collection[str]],
    ) -> Tensor:
        total = super().received(receiver, written, constant, removed).requires_grad_()
        total.retain_grad()
        self.reads[receiver] = total
        return total

    def head(
        self,
        layer: int,
        h: int,
        written: dict[str, Tensor],
        constant: Tensor,
        removed: Sequence[Collection[str]],
    ) -> Tensor:
        out = super().head(layer, h, written, constant, removed)
        self.mixed[f"a{layer}.h{h}"] = out
        out.retain_grad()
        return out.detach() if layer == self.dropped else out

    def mlp(self, layer: int, x: Tensor) -> Tensor:
        out = super().mlp(layer, x)
        return out.detach() if layer == self.dropped else out


def by_detaching(forward: Detaching, edges: list[str], n_layers: int) -> dict[str, float]:
    """GradDrop by running the model once for each layer whose output is detached."""
    rows = torch.arange(len(PROMPTS))
    right = torch.tensor([token for (token,) in PROMPTS.correct])
    wrong = torch.tensor([token for (token,) in PROMPTS.incorrect])
    total = dict.fromkeys(edges, 0.0)
    for dropped in range(n_layers):
        forward.dropped = dropped
        logprobs, written = forward.run(forward.clean, set())
        (logprobs[rows, wrong] - logprobs[rows, right]).mean().backward()
        reads, mixed = dict(forward.reads), dict(forward.mixed)  # of this run alone
        for edge in edges:
            source, reader = edge.split("->")
            # What the logits read has the same gradient whatever is dropped.
            others = n_layers if reader == "logits" else n_layers - 1
            if reader.startswith((f"a{dropped}.", f"m{dropped}")):
                continue
            if reader[-3:] in ("<q>", "<k>"):
                head = reader[:-3]
                step = without(forward, written, head, edge) - mixed[head][0]
                gradient = mixed[head].grad
            else:
                step, gradient = forward.ablated[source] - written[source], reads[reader].grad
            assert gradient is not None
            by_prompt = (step * gradient[0]).sum((1, 2)).abs()
            total[edge] += float(by_prompt.sum().detach()) / others
    return total


def without(forward: Detaching, written: dict[str, Tensor], head: str, edge: str) -> Tensor:
    """What a head writes where `edge` is removed."""
    layer, one = (int(number) for number in head[1:].split(".h"))
    names = list(written)
    before = {name: written[name][None] for name in names[: names.index(f"a{layer}.h0")]}
    biases = [forward.w[f"blocks.{i}.attn.b_O"] for i in range(layer)]
    constant = sum(biases, torch.zeros_like(written["input"][None]))
    with torch.no_grad():
        return NativePatching.head(forward, layer, one, before, constant, [{edge}])[0]


@pytest.mark.parametrize("name", ["native-ln-pre-mlp", "native-rms-rotary-gated"])
def test_scores_are_mean_magnitudes_over_gradients_without_one_layer(name: str, tmp_path: Path):
    directory = checkpoints.NATIVE[name](tmp_path / name, layers=3)
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    forward = Detaching(directory, PROMPTS.clean, PROMPTS.corrupted, "corrupted")
    edges = [str(edge) for edge in model.topology.edges]
    bench = set_up(model.weights, PROMPTS, "corrupted")
    ours = scores_of("atp-star", bench)
    assert_equal(ours, by_detaching(forward, edges, model.topology.n_layers))
