"""compiled-induction: a previous-token head and an induction head, joined by K-composition.

The smallest circuit of Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits".
Its context holds fifty random tokens said twice, on which per-head scores are defined.
"""

from __future__ import annotations

from acdc_pipeline.models.zoo.compiled.builder import (
    D_HEAD,
    SHARP,
    Builder,
    Shape,
    flag,
    into_head,
)
from acdc_pipeline.models.zoo.compiled.distractors import add_distractor_heads
from acdc_pipeline.models.zoo.compiled.previous_token import (
    add_previous_token_head,
    embed_neighbours,
    neighbour_widths,
)
from acdc_pipeline.models.zoo.compiled.program import BuiltHead, Program, TrueEdge
from acdc_pipeline.models.zoo.compiled.residual import SCRATCH, Residual
from acdc_pipeline.models.zoo.compiled.words import (
    TOKEN_WIDTH,
    WORDS,
    embed_tokens,
    unembed_answer,
)
from acdc_pipeline.models.zoo.tokenizer import SPECIAL

NAME = "compiled-induction"
POSITIONS = 128

PREVIOUS = (0, 1)
INDUCTION = (1, 2)

# In units of a shared coordinate. A token that matches scores 6, any other at most 4.
BOS_KEY = TOKEN_WIDTH - 1

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


HEADS = (
    BuiltHead("a0.h1", ("previous-token",), "it compares positions and nothing else"),
    BuiltHead(
        "a1.h2",
        ("induction", "copying"),
        "it looks at the token behind the earlier occurrence of the current one, and says it",
    ),
)


def build() -> Builder:
    """The weights."""
    residual = Residual(
        {
            "token": TOKEN_WIDTH,
            "is_bos": 1,
            **neighbour_widths(POSITIONS),
            "token_before": TOKEN_WIDTH,
            "answer": TOKEN_WIDTH,
            SCRATCH: 16,
        }
    )
    vocab = len(SPECIAL) + len(WORDS)
    builder = Builder(Shape(residual, n_layers=2, n_heads=4, n_ctx=POSITIONS, vocab=vocab))
    embed_tokens(builder)
    embed_neighbours(builder)
    unembed_answer(builder)

    add_previous_token_head(builder, *PREVIOUS, reads="token", writes="token_before")

    builder.read(*INDUCTION, "q", "token", into_head(TOKEN_WIDTH, SHARP))
    builder.read(*INDUCTION, "k", "token_before", into_head(TOKEN_WIDTH, SHARP))
    # A query holds this coordinate whatever it asks for, a key at <bos> only.
    builder.bias(*INDUCTION, "q", flag(TOKEN_WIDTH, D_HEAD, SHARP))
    builder.read(*INDUCTION, "k", "is_bos", flag(TOKEN_WIDTH, D_HEAD, BOS_KEY * SHARP)[None])
    builder.carry(*INDUCTION, "token", "answer")

    for layer, head in (PREVIOUS, INDUCTION):
        add_distractor_heads(builder, layer, used=[head], seed=NAME)
    return builder


PROGRAM = Program(
    name=NAME,
    title="induction by K-composition of two heads",
    shows="K-composition",
    behaviour='"<bos> ki da lo be ki da" -> "lo"',
    how=HOW,
    task="induction",
    words=WORDS,
    build=build,
    edges=EDGES,
    heads=HEADS,
)
