"""Heads that do something known on any tokens: their scores have closed-form values."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from acdc_pipeline.errors import UnknownName
from acdc_pipeline.graph import head
from acdc_pipeline.models.zoo import compiled, zoo_path
from tests.compiled_prompts import compiled_prompts
from tests.oracles.compiled_patching import PlainModel

NAMES = compiled.list_compiled()
LONGEST_COPY = 50
ATTENTION_KINDS = ("previous-token", "current-token", "duplicate-token", "induction", "sink")


@cache
def plain(name: str) -> PlainModel:
    return PlainModel(zoo_path(name))


def said_twice(name: str, rows: int = 8) -> tuple[np.ndarray, int]:
    """<bos> and n different random words, twice; as many as the context and the words allow."""
    config = plain(name).config
    words = np.arange(3, config["d_vocab"])
    n = min(LONGEST_COPY, (config["n_ctx"] - 1) // 2, len(words))
    rng = np.random.default_rng(0)
    copies = np.stack([rng.permutation(words)[:n] for _ in range(rows)])
    bos = np.zeros((rows, 1), dtype=int)
    return np.concatenate([bos, copies, copies], axis=1), n


def attention_scores(pattern: np.ndarray, n: int) -> dict[str, float]:
    """Mean attention over rows and queries, by what it is paid to. pattern [row, query, key]."""
    every = np.arange(1, 2 * n + 1)
    second = every[n:]
    pairs = {
        "previous-token": (every, every - 1),
        "current-token": (every, every),
        "duplicate-token": (second, second - n),
        "induction": (second, second - n + 1),
        "sink": (every, np.zeros_like(every)),
    }
    return {kind: float(pattern[:, q, k].mean()) for kind, (q, k) in pairs.items()}


def direct_copying(model: PlainModel, layer: int, index: int) -> float | None:
    """Σλ/Σ|λ| over the OV circuit W_E W_V W_O W_U, from its d_head x d_head twin; None if zero."""
    w = model.weights
    values, output = (w[f"blocks.{layer}.attn.W_{x}"][index] for x in "VO")
    eigenvalues = np.linalg.eigvals(output @ w["unembed.W_U"] @ w["embed.W_E"] @ values)
    size = np.abs(eigenvalues).sum()
    return float(eigenvalues.sum().real / size) if size > 1e-9 else None


def heads_of(name: str) -> list[tuple[int, int]]:
    config = plain(name).config
    return [(layer, h) for layer in range(config["n_layers"]) for h in range(config["n_heads"])]


def kinds_of(name: str, layer: int, index: int) -> frozenset[str]:
    return compiled.head_kinds(name).get(head(layer, index), frozenset())


@pytest.mark.parametrize("name", NAMES)
def test_head_scores_one_exactly_where_the_truth_names_the_kind(name: str):
    tokens, n = said_twice(name)
    _, _, patterns = plain(name).run(tokens)
    for layer, index in heads_of(name):
        scores = attention_scores(patterns[f"a{layer}.h{index}"], n)
        known = kinds_of(name, layer, index)
        for kind in ATTENTION_KINDS:
            if kind in known:
                assert scores[kind] == pytest.approx(1.0, abs=1e-9), (layer, index, kind)
            else:
                assert scores[kind] < 0.9, (layer, index, kind)


@pytest.mark.parametrize("name", NAMES)
def test_head_looks_everywhere_alike_exactly_where_the_truth_says_uniform(name: str):
    tokens, _ = said_twice(name)
    _, _, patterns = plain(name).run(tokens)
    visible = np.tril(np.ones(patterns["a0.h0"].shape[1:]))
    alike = visible / visible.sum(-1, keepdims=True)
    for layer, index in heads_of(name):
        distance = np.abs(patterns[f"a{layer}.h{index}"] - alike).max()
        assert (distance < 1e-12) == ("uniform" in kinds_of(name, layer, index)), (layer, index)


@pytest.mark.parametrize("name", NAMES)
def test_head_writes_nothing_exactly_where_the_truth_says_idle(name: str):
    tokens, _ = said_twice(name)
    _, outputs, _ = plain(name).run(tokens)
    for layer, index in heads_of(name):
        silent = not outputs[f"a{layer}.h{index}"].any()
        assert silent == ("idle" in kinds_of(name, layer, index)), (layer, index)


@pytest.mark.parametrize("name", NAMES)
def test_ov_circuit_is_positive_exactly_where_the_truth_says_copying(name: str):
    for layer, index in heads_of(name):
        known = kinds_of(name, layer, index)
        expected = 1.0 if "copying" in known else -1.0 if "suppressing" in known else None
        found = direct_copying(plain(name), layer, index)
        assert found == (None if expected is None else pytest.approx(expected, abs=1e-9))


@pytest.mark.parametrize("name", NAMES)
def test_direct_effect_grows_with_another_head_removed_exactly_for_the_backup(name: str):
    """All other heads are tried: the backup, and no other head, answers for another one."""
    model, drawn = plain(name), compiled_prompts(name, 16)
    rows = np.arange(len(drawn.clean))
    said = model.weights["unembed.W_U"][:, drawn.correct].T
    names = [f"a{layer}.h{index}" for layer, index in heads_of(name)]
    nothing = model.ablated_outputs(drawn, "zero")

    def direct_effects(removed: str | None) -> dict[str, float]:
        gone = {edge for edge in model.edges() if edge.startswith(f"{removed}->")}
        _, outputs, _ = model.run(drawn.clean, gone, nothing)
        return {h: float((outputs[h][rows, drawn.answer_pos] * said).sum(-1).mean()) for h in names}

    whole = direct_effects(None)
    grown = {
        (removed, h): effect - whole[h]
        for removed in names
        for h, effect in direct_effects(removed).items()
        if effect - whole[h] > 1e-6
    }
    if name == "compiled-backup":
        assert grown == {("a0.h1", "a1.h2"): pytest.approx(64.0, abs=1e-9)}
        assert "backup" in kinds_of(name, 1, 2)
        assert whole["a1.h2"] == pytest.approx(0.0, abs=1e-9)
    else:
        assert grown == {}


def test_every_kind_of_head_is_built_somewhere():
    built = frozenset().union(*(k for name in NAMES for k in compiled.head_kinds(name).values()))
    assert built == {*ATTENTION_KINDS, "uniform", "idle", "copying", "suppressing", "backup"}


def test_head_kinds_of_the_gallery_are_one_exhibit_a_head():
    assert {str(h): sorted(k) for h, k in compiled.head_kinds("compiled-gallery").items()} == {
        "a0.h0": ["idle"],
        "a0.h1": ["uniform"],
        "a0.h2": ["sink"],
        "a0.h3": ["copying", "previous-token"],
        "a0.h4": ["duplicate-token"],
        "a0.h5": ["current-token"],
    }


def test_head_kinds_of_an_unknown_model_name_what_there_is():
    with pytest.raises(UnknownName, match="did you mean 'compiled-gallery'"):
        compiled.head_kinds("compiled-galery")
