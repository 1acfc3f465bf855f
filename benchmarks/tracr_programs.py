"""Programs that Tracr compiles, with their true edges: for `benchmarks.compiled_auroc`.

Tracr (Lindner et al. 2023, arXiv 2301.05062) comes with the extra `tracr`, and needs jax.
InterpBench (Gupta et al. 2024, arXiv 2407.14494) is made of such programs.
"""

from __future__ import annotations

import importlib
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.graph import Circuit
from acdc_pipeline.models import load_model
from acdc_pipeline.models.zoo.compiled.tracr import from_tracr, write_tracr_model
from acdc_pipeline.prompts.prompt_set import PromptSet

LETTERS = "abcd"
LONGEST = 5
LENGTH = 4
"""Of prompts: shorter than the longest, whose length the model says without counting."""

SHARES = tuple(sorted({Fraction(k, n) for n in range(1, LONGEST + 1) for k in range(n + 1)}))


def reverse(letters: Sequence[str]) -> list[str]:
    """The letters from the last to the first."""
    return list(reversed(letters))


def shares_of_a(letters: Sequence[str]) -> list[str]:
    """The share of the letter a up to each place."""
    return [str(Fraction(letters[:n].count("a"), n)) for n in range(1, len(letters) + 1)]


EXPECTED: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "reverse": reverse,
    "frac_prevs": shares_of_a,
}
"""What each program computes."""

CARRIED = {
    "reverse": {"input->a3.h0<v>", "a3.h0->logits"},
    "frac_prevs": {"input->m0", "m0->a1.h0<v>", "a1.h0->logits"},
}
"""The edges that each needs under corrupted or mean ablation, on prompts of one length."""


def why_not_installed() -> str | None:
    """Why there are no programs; None if there are."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what jax deprecates is Tracr's business
            importlib.import_module("tracr.compiler.compiling")
    except ImportError as error:
        return str(error)
    return None


def assembled(name: str) -> Any:
    """The program as Tracr compiles it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiling, lib, rasp = (
            importlib.import_module(f"tracr.{part}")
            for part in ("compiler.compiling", "compiler.lib", "rasp.rasp")
        )
        program = {
            "reverse": lambda: lib.make_reverse(rasp.tokens),
            "frac_prevs": lambda: lib.make_frac_prevs(rasp.tokens == "a"),
        }[name]()
        return compiling.compile_rasp_to_model(program, vocab=set(LETTERS), max_seq_len=LONGEST)


def benches(prompts: int) -> Iterator[tuple[str, Bench, Circuit]]:
    """Name, bench in float64 and true circuit of each program."""
    for name in EXPECTED:
        model = from_tracr(assembled(name), name, SHARES if name == "frac_prevs" else ())
        with tempfile.TemporaryDirectory() as folder:
            write_tracr_model(model, Path(folder))
            weights = load_model(f"dir:{folder}", dtype="float64", device="cpu").weights
        bench = set_up(weights, _prompts(name, model.vocabulary, prompts), "corrupted")
        yield name, bench, Circuit.of(weights.topology, sorted(CARRIED[name]))


def _prompts(name: str, vocabulary: Sequence[str], n: int) -> PromptSet:
    """Pairs of sequences whose last answers differ."""
    rng = random.Random(name)
    rows: list[tuple[list[int], list[int], int, int]] = []
    while len(rows) < n:
        sides = [rng.choices(LETTERS, k=LENGTH) for _ in range(2)]
        right, wrong = (vocabulary.index(EXPECTED[name](side)[-1]) for side in sides)
        if right != wrong:
            ids = [[0, *map(vocabulary.index, side)] for side in sides]
            rows.append((ids[0], ids[1], right, wrong))
    clean, corrupted, right, wrong = zip(*rows, strict=True)
    return PromptSet(
        clean=torch.tensor(clean),
        corrupted=torch.tensor(corrupted),
        lengths=torch.full((n,), LENGTH + 1),
        answer_row=torch.arange(n),
        answer_pos=torch.full((n,), LENGTH),
        correct=tuple((token,) for token in right),
        incorrect=tuple((token,) for token in wrong),
        clean_text=("",) * n,
        corrupted_text=("",) * n,
        template=(0,) * n,
    )
