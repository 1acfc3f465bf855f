"""What heads do on ordinary text, against plain counts over hooks and the engine's outputs."""

from __future__ import annotations

import json
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch

from acdc_pipeline.engine.forward import run_sources
from acdc_pipeline.errors import OutOfMemoryBudget, PromptError
from acdc_pipeline.heads.natural.contexts import Contexts, draw_contexts
from acdc_pipeline.heads.natural.examples import PER_DECILE, decile_members, draw_deciles, furthest
from acdc_pipeline.heads.natural.layers import run_contexts
from acdc_pipeline.heads.natural.profile import profile_text
from acdc_pipeline.heads.natural.written import COMPONENTS, components
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.specs.methods.text import KEY_KINDS
from acdc_pipeline.specs.text_files import NamedText
from tests import attention_models, tiny_models

MEMORY = 1 << 28
WORDS = " When Mary and John went to the store, John gave a drink to Mary. The dog was happy and"
TEXTS = (NamedText("one.txt", (WORDS * 30,)), NamedText("two.txt", (WORDS * 3, WORDS[:30])))


@cache
def model() -> LoadedModel:
    return load_model("zoo:gpt2-4l-s0", device="cpu")


def drawn(**given: Any) -> Contexts:
    tokenizer = model().tokenizer
    assert tokenizer is not None
    how: dict[str, Any] = {"bos": 0, "tokens": 150, "context": 20, "seed": 0} | given
    return draw_contexts(model().weights, tokenizer, TEXTS, **how)


def kind_of(tokens: list[int], query: int, key: int) -> str:
    """What a key is to a query, in the words of the docs."""
    if key == 0:
        return "first"
    if key == query:
        return "current"
    if key == query - 1:
        return "previous"
    if key <= query and tokens[key - 1] == tokens[query]:
        return "induction"
    return "duplicate" if key < query and tokens[key] == tokens[query] else "other"


def test_layers_match_slow_counts_over_the_hooks_of_the_bridge():
    contexts, bridge = drawn(), model().bridge
    kept: dict[str, np.ndarray] = {}

    def keep(value: torch.Tensor, hook: Any, name: str) -> None:
        kept[name] = value.double().numpy()

    names = [
        f"blocks.{layer}.{name}"
        for layer in range(4)
        for name in ("hook_resid_pre", "attn.hook_pattern", "attn.hook_v")
    ]
    hooks = [(n, partial(keep, name=n)) for n in names]
    with torch.no_grad():
        bridge.run_with_hooks(contexts.tokens, fwd_hooks=hooks)
        layers = list(run_contexts(model().weights, contexts, memory=MEMORY))
    # the first and the last
    for found in layers[::3]:
        stream, pattern, value = (kept[n] for n in names[3 * found.layer :][:3])
        w_o = bridge.blocks[found.layer].attn.W_O.detach().double().numpy()
        for head in (0, 3):
            norms = []
            for row, ids in enumerate(contexts.tokens.tolist()):
                attention, output = (dict.fromkeys(KEY_KINDS, 0.0) for _ in range(2))
                for query in range(1, int(contexts.lengths[row])):
                    parts = {
                        key: pattern[row, head, query, key] * value[row, key, head] @ w_o[head]
                        for key in range(query + 1)
                    }
                    whole = sum(parts.values())
                    norms.append(np.linalg.norm(whole) / np.linalg.norm(stream[row, query]))
                    for key, part in parts.items():
                        kind = kind_of(ids, query, key)
                        attention[kind] += pattern[row, head, query, key]
                        output[kind] += part @ whole
                for got, expected in ((found.attention, attention), (found.output, output)):
                    # sums of dozens of products in float32
                    np.testing.assert_allclose(
                        got[head, row], list(expected.values()), rtol=1e-4, atol=1e-4
                    )
            np.testing.assert_allclose(found.activation[head], norms, rtol=1e-4)


# norms behind attention, norms across heads, grouped keys, parallel blocks
@pytest.mark.parametrize(
    "name", ["gemma2", "olmo2", "llama", "neox", "gate", "sinks", "difference"]
)
def test_activation_and_components_are_those_of_the_outputs_in_the_stream(name: str):
    special = name in attention_models.KINDS
    weights = attention_models.build(name) if special else tiny_models.weights(name)
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(weights.w_e.shape[0], (9, 6), generator=generator)
    contexts = Contexts(tokens, torch.tensor([6] * 8 + [5]), (0,) * 9, False, 0.0)
    outputs = run_sources(weights, tokens).outputs
    names = [str(node) for node in weights.topology.sources]
    for found in run_contexts(weights, contexts, memory=MEMORY):
        first = names.index(f"a{found.layer}.h0")
        before = outputs[:first].sum(0)[contexts.counted]
        written = components(found)
        for head, activation in enumerate(found.activation):
            own = outputs[first + head][contexts.counted]
            lengths = torch.linalg.vector_norm(own, dim=-1)
            # biases of layers are in the stream, and in no output
            if found.layer == 0:
                expected = lengths / torch.linalg.vector_norm(before, dim=-1)
                torch.testing.assert_close(activation, expected, rtol=1e-8, atol=1e-10)
            torch.testing.assert_close(
                found.output[head].sum(), lengths.square().sum(), rtol=1e-8, atol=1e-10
            )
            centred = own - own.mean(0)
            _, values, axes = torch.linalg.svd(centred, full_matrices=False)
            share = values.square() / values.square().sum()
            n = min(COMPONENTS, written.direction.shape[1])
            torch.testing.assert_close(
                written.share[head, :n], share[:n].double(), rtol=1e-6, atol=1e-9
            )
            along = (written.direction[head] @ axes[:n].T).abs()
            torch.testing.assert_close(along, torch.eye(n).to(along), rtol=0, atol=1e-5)
            torch.testing.assert_close(
                written.score[head], (centred @ written.direction[head].T).T, rtol=1e-6, atol=1e-8
            )


def test_layers_are_the_same_however_little_memory_there_is():
    weights, contexts = model().weights, drawn()
    with torch.no_grad():
        (first, *_), (again, *_) = (
            list(run_contexts(weights, contexts, memory=memory)) for memory in (MEMORY, 1 << 20)
        )
    torch.testing.assert_close(first.activation, again.activation)
    torch.testing.assert_close(first.output, again.output)
    with pytest.raises(OutOfMemoryBudget, match="contexts of 20 tokens"):
        next(run_contexts(weights, contexts, memory=1 << 14))


def test_deciles_hold_ranks_and_examples_are_drawn_from_each():
    values = np.random.default_rng(1).permutation(np.repeat(np.arange(60), 2)).astype(float)
    members = decile_members(values)
    assert sorted(np.concatenate(members).tolist()) == list(range(120))
    for number, part in enumerate(members):
        assert len(part) == 12
        ranks = sorted(values)[12 * number : 12 * (number + 1)]
        assert sorted(values[part]) == ranks
    chosen = draw_deciles(values, (0, 1, 2))
    for part, few in zip(members, chosen, strict=True):
        assert set(few) <= set(part)
        assert len(set(few)) == PER_DECILE
    assert [few.tolist() for few in draw_deciles(values, (0, 1, 2))] == [
        few.tolist() for few in chosen
    ]
    # every place of a decile has the same chance
    drawn = [place for seed in range(400) for place in draw_deciles(values, (seed,))[4]]
    counts = np.bincount(drawn, minlength=120)[members[4]]
    assert counts.min() > 0.6 * counts.mean()
    rows = np.arange(120) // 40
    assert furthest(values, rows, 5) == [
        max(range(40 * row, 40 * row + 40), key=lambda place: (values[place], -place))
        for row in sorted(range(3), key=lambda row: -values[40 * row : 40 * row + 40].max())
    ]


@pytest.mark.parametrize("bos", [0, None])
def test_contexts_have_exactly_the_tokens_asked_for(bos: int | None):
    contexts = drawn(bos=bos)
    assert int(contexts.counted.sum()) == 150
    assert torch.equal(contexts.tokens, drawn(bos=bos).tokens)
    assert not torch.equal(contexts.tokens, drawn(bos=bos, seed=1).tokens)
    tokenizer = model().tokenizer
    assert tokenizer is not None
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS[0].documents]
    skip = 0 if bos is None else 1
    for row, length, source in zip(
        contexts.tokens.tolist(), contexts.lengths.tolist(), contexts.sources, strict=True
    ):
        if source == 0:
            piece = row[skip:length]
            starts = range(0, len(ids[0]), 20 - skip)
            assert any(ids[0][start : start + len(piece)] == piece for start in starts)
    everything = drawn(bos=bos, tokens=100_000)
    assert sorted(set(everything.sources)) == [0, 1]
    with pytest.raises(PromptError, match=r"too few tokens .*: \d+"):
        draw_contexts(
            model().weights, tokenizer, TEXTS[1:], bos=bos, tokens=150, context=20, seed=0
        )


def test_document_has_examples_where_it_says_and_is_json():
    contexts, tokenizer = drawn(tokens=400), model().tokenizer
    assert tokenizer is not None
    found = profile_text(model().weights, tokenizer, TEXTS, contexts, seed=0, memory=MEMORY)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["tokens"] == 400 == sum(source["tokens"] for source in found["sources"])
    row, query = (axis.tolist() for axis in contexts.counted.nonzero(as_tuple=True))
    place = {pair: index for index, pair in enumerate(zip(row, query, strict=True))}
    with torch.no_grad():
        layers = list(run_contexts(model().weights, contexts, memory=MEMORY))
    for layer in layers:
        written = components(layer)
        for head, values in enumerate(layer.activation.tolist()):
            one = found["heads"][f"a{layer.layer}.h{head}"]
            assert sum(one["attention"]) == pytest.approx(1, abs=1e-3)
            assert sum(one["output"]) == pytest.approx(1, abs=1e-3)
            low, high = one["interval"]
            assert all(a <= b <= c for a, b, c in zip(low, one["attention"], high, strict=True))
            for number, examples in enumerate(one["deciles"]):
                for r, q, _ in examples:
                    edges = one["edges"][number : number + 2]
                    assert edges[0] * 0.99 <= values[place[r, q]] <= edges[1] * 1.01
            r, q, keys = one["largest"][0]
            assert values[place[r, q]] == max(values)
            assert keys[0][1] == int(layer.pattern[head, r, q].max())
            for rank, component in enumerate(one["components"]):
                score = written.score[head, rank]
                ends = [place[tuple(component[end][0][:2])] for end in ("high", "low")]
                assert ends == [int(score.argmax()), int(score.argmin())]
                along = written.direction[head, rank]
                weights = model().weights
                normed = along - along.mean()
                if weights.norm_final.weight is not None:
                    normed = normed * weights.norm_final.weight
                best = int((normed @ weights.w_u).argmax())
                assert component["raises"][0] == tokenizer.decode([best])
