"""Causal scrubbing with spans: against hooks on models of transformers, and on known circuits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from acdc_pipeline.engine import set_up
from acdc_pipeline.evaluation import causal_scrubbing
from acdc_pipeline.evaluation.causal_scrubbing import scrubbed_logits
from acdc_pipeline.evaluation.exchange import Exchange, pool_by_length, pool_by_roles
from acdc_pipeline.graph import Circuit
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.prompts.spans import spans_from_names, with_answers
from tests import tiny_models
from tests.every_class import EVERY_CLASS
from tests.hugging_face_models import VOCAB
from tests.oracles.hugging_face_patching import HuggingFacePatching
from tests.prompt_sets import random_prompts

FIRST = ["bos", "NAME", "rest", "NAME", "END"]
OTHER = ["bos", "rest", "NAME", "rest", "END"]
ROWS = [FIRST, OTHER, FIRST, OTHER, FIRST, FIRST]
ROLES = ["x", "x", "x", "y", "x", "y"]


def _prompts(rows: list[list[str]] = ROWS, roles: list[str] = ROLES) -> PromptSet:
    prompts = random_prompts(len(rows), 5, VOCAB, seed=5)
    spans = with_answers(spans_from_names(rows, 5), prompts.answer_row, prompts.answer_pos)
    return replace(prompts, spans=spans, roles=tuple((role,) for role in roles))


class Exchanged:
    """What receivers read beyond what sources write on a prompt: that of another, in its place.

    Args:
        places: masks [prompt pos] by the name of a span.
        clean: what sources write in the whole model.
        inside: by edge of the hypothesis, the prompt that it reads in place of each.
        outside: the same for the other edges.
    """

    def __init__(
        self,
        places: Mapping[str, Tensor],
        clean: Mapping[str, Tensor],
        inside: Mapping[str, list[int]],
        outside: Mapping[str, list[int]],
    ) -> None:
        self.places, self.clean = places, clean
        self.inside, self.outside = inside, outside

    def added(self, receiver: str, written: Mapping[str, Tensor]) -> Tensor:
        total = torch.zeros(1, dtype=torch.float64)
        for source, output in written.items():
            for span, mask in self.places.items():
                edge = f"{source}->{receiver}@{span}"
                if edge in self.inside:
                    read = output[:, self.inside[edge]]
                elif edge in self.outside:
                    read = self.clean[source][self.outside[edge]]
                else:
                    continue
                total = total + mask[..., None].double() * (read - output)
        return total


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "Olmo2ForCausalLM"])
def test_exchange_in_spans_equals_hooks_that_exchange_edge_by_edge(name: str, tmp_path: Path):
    tiny = next(one for one in EVERY_CLASS if one.name == name)
    prompts = _prompts()
    directory = tiny.save(tmp_path)
    weights = load_model(f"dir:{directory}", dtype="float64", device="cpu").weights
    bench = set_up(weights, prompts, "mean")
    topology = bench.weights.topology
    generator = torch.Generator().manual_seed(7)
    outside, inside = (
        Exchange(pool.shuffled(generator), pool.draw(topology.n_edges, generator))
        for pool in (pool_by_length(prompts), pool_by_roles(prompts))
    )
    assert outside.pool.groups.tolist() == [0] * 6
    assert inside.pool.groups.tolist() == [0, 1, 0, 2, 0, 3]
    kept = torch.rand(topology.n_edges, generator=generator) < 0.6
    edges = [edge for edge, there in zip(topology.edges, kept.tolist(), strict=True) if there]
    every = torch.arange(topology.n_edges).numpy()
    read_outside, read_inside = (e.read_by(every).tolist() for e in (outside, inside))
    names = [str(edge) for edge in topology.edges]
    plain = HuggingFacePatching(tiny.load(directory), tiny.family, prompts.clean, prompts.corrupted)
    exchanged = Exchanged(
        {s: torch.tensor([[n == s for n in row] for row in ROWS]) for s in topology.spans},
        plain.clean_outputs(),
        {n: rows for n, rows, k in zip(names, read_inside, kept.tolist(), strict=True) if k},
        {n: rows for n, rows, k in zip(names, read_outside, kept.tolist(), strict=True) if not k},
    )
    with torch.no_grad():
        expected = plain.gated_logits(exchanged)
    drawn = scrubbed_logits(bench, [frozenset(edges)], outside, inside)[0]
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-10)


def test_one_span_is_scrubbed_as_without_spans():
    weights = tiny_models.weights("gpt2")
    everywhere = _prompts([["all"] * 5] * 6)
    found = {}
    for prompts in (everywhere, replace(everywhere, spans=None), _prompts()):
        bench = set_up(weights, prompts, "mean")
        topology = bench.weights.topology
        whole = causal_scrubbing(bench, "nll", Circuit.full(topology), draws=2, seed=0)
        some = Circuit(topology, frozenset(topology.edges[::3]))
        found[topology.spans] = causal_scrubbing(bench, "nll", some, draws=2, seed=0)
        assert whole.scrubbed == found[topology.spans].scrubbed
    assert found["all",] == found[()]
    assert len(set(found.values())) == 2
