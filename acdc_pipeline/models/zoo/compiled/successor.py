"""compiled-successor: says the letter two after the last one, by two MLPs in a row.

The circuit has no head in it: what a method finds among the heads here is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from acdc_pipeline.models.zoo.compiled.builder import Builder, Shape, flag
from acdc_pipeline.models.zoo.compiled.codes import one_hot
from acdc_pipeline.models.zoo.compiled.distractors import (
    add_distractor_heads,
    add_distractor_units,
)
from acdc_pipeline.models.zoo.compiled.program import Program, PromptPair, TrueEdge, token_ids
from acdc_pipeline.models.zoo.compiled.residual import SCRATCH, Residual

NAME = "compiled-successor"
LETTERS = tuple("abcdefghijkl")
WORDS = LETTERS
IDS = token_ids(WORDS)
POSITIONS = 16
D_MLP = 16
LOGIT = 32.0

STEPS = (("letter", "next"), ("next", "answer"))
"""What each MLP reads and writes."""

PROMPT_LETTERS = 5

HOW = """\
The MLP m0 has one hidden unit for every letter, which writes the letter after it; "a" comes after
"l". The MLP m1 does the same with what m0 wrote, and says it. Every head and the last hidden units
are distractors, and so are the letters before the last."""

EDGES = (
    TrueEdge("input->m0", "the first step starts from the last letter"),
    TrueEdge("m0->m1", "the second step starts from what the first one wrote"),
    TrueEdge("m1->logits", "only the second MLP writes what the unembedding reads"),
)


def build() -> Builder:
    """The weights."""
    n = len(LETTERS)
    residual = Residual({"letter": n, "is_bos": 1, "next": n, "answer": n, SCRATCH: 16})
    shape = Shape(residual, n_layers=2, n_heads=4, n_ctx=POSITIONS, vocab=len(IDS), d_mlp=D_MLP)
    builder = Builder(shape)
    tokens = one_hot(len(IDS))
    letters = tokens[:, [IDS[letter] for letter in LETTERS]]
    builder.embed("letter", letters)
    builder.embed("is_bos", tokens[:, :1])
    builder.unembed("answer", LOGIT * letters.T)
    for layer, (reads, writes) in enumerate(STEPS):
        for letter in range(n):
            builder.unit(
                layer,
                letter,
                reads={reads: flag(letter, n)},
                bias=0.0,
                writes={writes: flag((letter + 1) % n, n)},
            )
        add_distractor_heads(builder, layer, used=[], seed=NAME)
        add_distractor_units(builder, layer, n, seed=NAME)
    return builder


def pairs() -> Iterator[PromptPair]:
    """Letters, of which the last one counts; the counterfactual has another one there."""
    rng = random.Random(NAME)
    while True:
        said, other = rng.choices(LETTERS, k=PROMPT_LETTERS), rng.choices(LETTERS, k=PROMPT_LETTERS)
        if said[-1] != other[-1]:
            yield {
                "clean": " ".join(said),
                "corrupted": " ".join(other),
                "correct": f" {_two_after(said[-1])}",
                "incorrect": f" {_two_after(other[-1])}",
            }


def _two_after(letter: str) -> str:
    return LETTERS[(LETTERS.index(letter) + len(STEPS)) % len(LETTERS)]


PROGRAM = Program(
    name=NAME,
    title="the letter two after the last one, by two MLPs in a row",
    shows="two MLP steps, no head",
    behaviour='"<bos> e b k a c" -> "e"',
    how=HOW,
    task="compiled_successor",
    words=WORDS,
    build=build,
    edges=EDGES,
    pairs=pairs,
)
