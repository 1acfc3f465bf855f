"""compiled-majority: says which of two letters was said more often, without any position.

Counting as Tracr's `frac_prevs` does it (Lindner et al. 2023, arXiv 2301.05062): a head that
looks everywhere alike takes a mean, which is a share; an MLP turns the share into a decision.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch

from acdc_pipeline.models.zoo.compiled.builder import Builder, Shape, flag
from acdc_pipeline.models.zoo.compiled.codes import one_hot
from acdc_pipeline.models.zoo.compiled.distractors import (
    add_distractor_heads,
    add_distractor_units,
)
from acdc_pipeline.models.zoo.compiled.program import (
    BuiltHead,
    Program,
    PromptPair,
    TrueEdge,
    token_ids,
)
from acdc_pipeline.models.zoo.compiled.residual import SCRATCH, Residual

NAME = "compiled-majority"
LETTERS = ("a", "b")
WORDS = LETTERS
IDS = token_ids(WORDS)
POSITIONS = 16
D_MLP = 8
LOGIT = 32.0

COUNTER = (0, 2)

PROMPT_LETTERS = 7

HOW = f"""\\
Head a0.h2 looks everywhere alike and writes the balance: the share of "a" less the share of "b".
The MLP m0 has two hidden units for each letter, which write 1 for it if the balance is on its side
by 1/{POSITIONS} or more, a lead of one letter among {POSITIONS} tokens. Nothing in the model knows
a position. The other heads and the last hidden units are distractors."""

EDGES = (
    TrueEdge("input->a0.h2<v>", "the counter takes the mean of what the letters are"),
    TrueEdge("a0.h2->m0", "the decision depends on the balance"),
    TrueEdge("m0->logits", "only the MLP writes what the unembedding reads"),
)

HEADS = (BuiltHead("a0.h2", ("uniform",), "its queries and keys are zero"),)


def build() -> Builder:
    """The weights."""
    residual = Residual({"letter": 1, "is_bos": 1, "balance": 1, "answer": 2, SCRATCH: 16})
    shape = Shape(residual, n_layers=1, n_heads=4, n_ctx=POSITIONS, vocab=len(IDS), d_mlp=D_MLP)
    builder = Builder(shape)
    tokens = one_hot(len(IDS))
    first, second = (tokens[:, [IDS[letter]]] for letter in LETTERS)
    builder.embed("letter", first - second)
    builder.embed("is_bos", tokens[:, :1])
    builder.unembed("answer", LOGIT * torch.cat([first, second], dim=1).T)

    builder.carry(*COUNTER, "letter", "balance")

    units = _write_decision(builder)
    add_distractor_heads(builder, 0, used=[COUNTER[1]], seed=NAME)
    add_distractor_units(builder, 0, units, seed=NAME)
    return builder


def _write_decision(builder: Builder) -> int:
    """min(1, max(0, x)) = relu(x) - relu(x - 1), x = 16 * balance, per letter. Returns units."""
    for letter, side in enumerate((float(POSITIONS), -float(POSITIONS))):
        for index, bias, sign in ((2 * letter, 0.0, 1.0), (2 * letter + 1, -1.0, -1.0)):
            builder.unit(
                0,
                index,
                reads={"balance": flag(0, 1, side)},
                bias=bias,
                writes={"answer": flag(letter, 2, sign)},
            )
    return 2 * len(LETTERS)


def pairs() -> Iterator[PromptPair]:
    """Letters in any order; the counterfactual has the other letter ahead."""
    rng = random.Random(NAME)
    while True:
        said = [rng.choice(LETTERS) for _ in range(PROMPT_LETTERS)]
        other = [rng.choice(LETTERS) for _ in range(PROMPT_LETTERS)]
        if _ahead(said) != _ahead(other):
            yield {
                "clean": " ".join(said),
                "corrupted": " ".join(other),
                "correct": f" {_ahead(said)}",
                "incorrect": f" {_ahead(other)}",
            }


def _ahead(said: list[str]) -> str:
    return max(LETTERS, key=said.count)


PROGRAM = Program(
    name=NAME,
    title="the letter said more often, by counting without positions",
    shows="counting by a uniform head, a decision by an MLP, no positions",
    behaviour='"<bos> a b b a b b a" -> "b"',
    how=HOW,
    task="compiled_majority",
    words=WORDS,
    build=build,
    edges=EDGES,
    heads=HEADS,
    pairs=pairs,
)
