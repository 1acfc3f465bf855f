"""Programs that Tracr compiled: they say what RASP says, and need the edges that it says.

Tracr comes with the extra `tracr`; without it these tests are skipped.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from acdc_pipeline.algorithms import acdc
from acdc_pipeline.engine import set_up
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.evaluation import objective_for
from acdc_pipeline.models import load_model
from acdc_pipeline.models.zoo.compiled.tracr import TracrModel, from_tracr, write_tracr_model
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.specs.names import Ablation
from benchmarks.tracr_programs import CARRIED, EXPECTED, LENGTH, LETTERS, LONGEST, SHARES
from benchmarks.tracr_programs import assembled as compiled_by_tracr
from tests.oracles.compiled_patching import PlainModel, Prompts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what JAX deprecates is Tracr's business
    pytest.importorskip("tracr.compiler.compiling", reason="needs the extra 'tracr'")

NAMES = ("reverse", "frac_prevs")

# Under `corrupted` and `mean` what prompts of one length share is not needed: positions, length.
FIXED = {
    # length: a0.h0 takes the share of <bos>, m0 makes a number of it, with the help of a constant
    # that the embedding holds; position: m1 takes the index off, m2 takes off 1, and a3.h0
    # compares with positions.
    "reverse": {
        "input->a0.h0<v>",
        "a0.h0->m0",
        "input->m0",
        "m0->m1",
        "input->m1",
        "m1->m2",
        "m2->a3.h0<q>",
        "input->a3.h0<k>",
    },
    # a1.h0 compares positions.
    "frac_prevs": {"input->a1.h0<q>", "input->a1.h0<k>"},
}


assembled = cache(compiled_by_tracr)


@cache
def imported(name: str) -> TracrModel:
    return from_tracr(assembled(name), name, SHARES if name == "frac_prevs" else ())


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def directory(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(name)
    write_tracr_model(imported(name), path)
    return path


def ids_of(name: str, letters: Sequence[str]) -> list[int]:
    return [0, *(imported(name).vocabulary.index(letter) for letter in letters)]


@cache
def drawn(name: str, n: int = 32) -> tuple[Prompts, np.ndarray]:
    """Pairs of sequences whose last answers differ, and the answers of the corrupted side."""
    rng = random.Random(name)
    rows: list[tuple[list[int], list[int], int, int]] = []
    vocabulary = imported(name).vocabulary
    while len(rows) < n:
        clean, corrupted = (rng.choices(LETTERS, k=LENGTH) for _ in range(2))
        right, wrong = (vocabulary.index(EXPECTED[name](side)[-1]) for side in (clean, corrupted))
        if right != wrong:
            rows.append((ids_of(name, clean), ids_of(name, corrupted), right, wrong))
    clean, corrupted, right, wrong = (np.array(column) for column in zip(*rows, strict=True))
    return Prompts(clean, corrupted, np.full(n, LENGTH), right), wrong


def true_edges(name: str, ablation: str) -> set[str]:
    return CARRIED[name] | (FIXED[name] if ablation == "zero" else set())


def test_imported_model_says_what_rasp_says_at_every_position(name: str, directory: Path):
    model, vocabulary = PlainModel(directory), imported(name).vocabulary
    rng = random.Random(0)
    for _ in range(200):
        letters = rng.choices(LETTERS, k=rng.randint(1, LONGEST))
        logits, _, _ = model.run(np.array([ids_of(name, letters)]))
        said = [vocabulary[token] for token in logits[0, 1:].argmax(-1)]
        assert said == EXPECTED[name](letters)


def test_imported_model_agrees_with_tracrs_own_forward(name: str, directory: Path):
    model, vocabulary = PlainModel(directory), imported(name).vocabulary
    for letters in ("d", "ba", "aca", "dcba", "aabad"):
        own = assembled(name).apply(["compiler_bos", *letters]).decoded[1:]
        logits, _, _ = model.run(np.array([ids_of(name, letters)]))
        said = [vocabulary[token] for token in logits[0, 1:].argmax(-1)]
        if name == "reverse":
            assert said == own
        else:
            assert [float(Fraction(word)) for word in said] == pytest.approx(own, abs=1e-5)


def test_imported_model_loads_and_agrees_with_the_plain_forward(name: str, directory: Path):
    model = load_model(f"dir:{directory}", dtype="float64", device="cpu")
    prompts, _ = drawn(name)
    expected, _, _ = PlainModel(directory).run(prompts.clean)
    logits = model.reference_logits(torch.from_numpy(prompts.clean)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ablation", get_args(Ablation))
def test_edge_removed_alone_matters_if_and_only_if_the_program_has_it(
    name: str, directory: Path, ablation: str
):
    prompts, _ = drawn(name)
    effects = PlainModel(directory).single_effects(prompts, ablation)
    # The least is an answer that ties with the three other letters.
    assert {e for e, effect in effects.items() if effect > 1.0} == true_edges(name, ablation)
    assert {e for e, effect in effects.items() if effect > 1e-9} == true_edges(name, ablation)


@pytest.mark.parametrize("ablation", get_args(Ablation))
def test_acdc_of_an_imported_model_recovers_exactly_the_edges_of_the_program(
    name: str, directory: Path, ablation: Ablation
):
    prompts, wrong = drawn(name)
    n = len(wrong)
    bench = set_up(
        load_model(f"dir:{directory}", device="cpu").weights,
        PromptSet(
            clean=torch.from_numpy(prompts.clean),
            corrupted=torch.from_numpy(prompts.corrupted),
            lengths=torch.full((n,), LENGTH + 1),
            answer_row=torch.arange(n),
            answer_pos=torch.from_numpy(prompts.answer_pos),
            correct=tuple((int(token),) for token in prompts.correct),
            incorrect=tuple((int(token),) for token in wrong),
            clean_text=("",) * n,
            corrupted_text=("",) * n,
            template=(0,) * n,
        ),
        ablation,
    )
    with torch.no_grad():
        result = acdc(
            bench.search(objective_for(bench, "kl"), memory=2**30),
            bench.weights.topology,
            threshold=0.01,
            order="reverse-heads",
            difference="signed",
        )
    assert {str(edge) for edge in result.circuit.edges} == true_edges(name, ablation)


def test_from_tracr_unknown_output_names_what_the_residual_stream_holds():
    with pytest.raises(InvalidInput, match="called 'revers'") as caught:
        from_tracr(assembled("reverse"), "revers")
    assert "tokens" in str(caught.value)
