"""compiled-induction: a previous-token head and an induction head, joined by K-composition.

The smallest circuit of Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits".
Tokens and positions are written as two base-8 digits, so 64 of each fit into one head.
"""

from __future__ import annotations

import torch

from acdc_pipeline.models.zoo.compiled.builder import (
    D_HEAD,
    SHARP,
    Builder,
    Shape,
    into_head,
    out_of_head,
)
from acdc_pipeline.models.zoo.compiled.codes import two_digits
from acdc_pipeline.models.zoo.compiled.distractors import add_distractor_heads
from acdc_pipeline.models.zoo.compiled.program import Program, TrueEdge, token_ids
from acdc_pipeline.models.zoo.compiled.residual import SCRATCH, Residual
from acdc_pipeline.models.zoo.tokenizer import BOS

NAME = "compiled-induction"
WORDS = tuple(consonant + vowel for consonant in "bdfgjklmnprs" for vowel in "aeiou")
IDS = token_ids(WORDS)
POSITIONS = 64
WIDTH = 16
LOGIT = 16.0

PREVIOUS = (0, 1)
INDUCTION = (1, 2)

# What every coordinate of the key of <bos> holds. A query has two ones, so it scores 1.5 there:
# between the 2 of the token it looks for and the 1 of a token that shares a digit with it.
BOS_KEY = 0.75

HOW = """\
Head a0.h1 looks one position back and writes the token it finds there. Head a1.h2 looks for the
position whose previous token is the current one, and writes the token that stands there; where
there is none it looks at <bos> and writes nothing. The other heads are distractors."""

EDGES = (
    TrueEdge(
        "input->a0.h1<q>",
        "the previous-token head must know its own position to look one before it;"
        " positions are the same in clean and corrupted prompts",
        ("zero",),
    ),
    TrueEdge(
        "input->a0.h1<k>",
        "the previous-token head finds the position before by its number;"
        " positions are the same in clean and corrupted prompts",
        ("zero",),
    ),
    TrueEdge(
        "input->a0.h1<v>",
        "the previous-token head carries the token it finds; in the first copy it is a fresh one"
        " in the corrupted prompt",
    ),
    TrueEdge(
        "a0.h1->a1.h2<k>",
        "K-composition: the induction head matches what came before each position",
    ),
    TrueEdge(
        "input->a1.h2<q>",
        "the induction head asks for the current token; it stands in the second copy, which the"
        " corrupted prompt keeps, but it differs between prompts, so their mean is no query",
        ("zero", "mean"),
    ),
    TrueEdge(
        "input->a1.h2<v>",
        "the induction head carries the token it finds; in the first copy it is a fresh one in"
        " the corrupted prompt",
    ),
    TrueEdge("a1.h2->logits", "only the induction head writes what the unembedding reads"),
)


def build() -> Builder:
    """The weights."""
    residual = Residual(
        {
            "token": WIDTH,
            "is_bos": 1,
            "position": WIDTH,
            "position_before": WIDTH,
            "token_before": WIDTH,
            "answer": WIDTH,
            SCRATCH: 15,
        }
    )
    builder = Builder(Shape(residual, n_layers=2, n_heads=4, n_ctx=POSITIONS, vocab=len(IDS)))
    _write_embeddings(builder)

    builder.read(*PREVIOUS, "q", "position_before", into_head(WIDTH, SHARP))
    builder.read(*PREVIOUS, "k", "position", into_head(WIDTH, SHARP))
    builder.read(*PREVIOUS, "v", "token", into_head(WIDTH))
    builder.write(*PREVIOUS, "token_before", out_of_head(WIDTH))

    builder.read(*INDUCTION, "q", "token", into_head(WIDTH, SHARP))
    builder.read(*INDUCTION, "k", "token_before", into_head(WIDTH, SHARP))
    everywhere = torch.full((1, D_HEAD), BOS_KEY * SHARP, dtype=torch.float64)
    builder.read(*INDUCTION, "k", "is_bos", everywhere)
    builder.read(*INDUCTION, "v", "token", into_head(WIDTH))
    builder.write(*INDUCTION, "answer", out_of_head(WIDTH))

    for layer, head in (PREVIOUS, INDUCTION):
        add_distractor_heads(builder, layer, used=[head], seed=NAME)
    return builder


def _write_embeddings(builder: Builder) -> None:
    tokens = two_digits(len(IDS))
    tokens[IDS[BOS]] = 0  # <bos> is a flag, not a token: looking at it says nothing
    is_bos = torch.zeros(len(IDS), 1, dtype=torch.float64)
    is_bos[IDS[BOS]] = 1
    builder.embed("token", tokens)
    builder.embed("is_bos", is_bos)
    builder.unembed("answer", LOGIT * tokens.T)
    positions = two_digits(POSITIONS)
    before = positions.roll(1, dims=0)
    before[0] = 0
    builder.embed_positions("position", positions)
    builder.embed_positions("position_before", before)


PROGRAM = Program(
    name=NAME,
    title="induction by K-composition of two heads",
    behaviour='"<bos> ki da lo be ki da" -> "lo"',
    how=HOW,
    task="induction",
    words=WORDS,
    build=build,
    edges=EDGES,
)
