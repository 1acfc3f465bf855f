"""compiled-lookback: says what stood before the last token when it was said first.

The mirror of induction: the duplicate-token head finds the place by the token itself, and what
the previous-token head wrote there is the value it carries, so the two are joined by
V-composition (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits").
"""

from __future__ import annotations

from acdc_pipeline.models.zoo.compiled.builder import Builder, Shape
from acdc_pipeline.models.zoo.compiled.distractors import add_distractor_heads
from acdc_pipeline.models.zoo.compiled.duplicate_token import (
    add_duplicate_token_head,
    embed_places,
    place_widths,
)
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

NAME = "compiled-lookback"
POSITIONS = 128

PREVIOUS = (0, 2)
DUPLICATE = (1, 0)

HOW = """\
Head a0.h2 looks one position back and writes the token it finds there. Head a1.h0 looks where
the current token stood before, and writes what a0.h2 wrote there; a token that is new has it look
at <bos>, where nothing was written. The other heads are distractors."""

EDGES = (
    TrueEdge(
        "input->a0.h2<q>",
        "the previous-token head must know its own position to look one before it;"
        " positions are the same in clean and corrupted prompts",
        ("zero",),
    ),
    TrueEdge(
        "input->a0.h2<k>",
        "the previous-token head finds the position before by its number;"
        " positions are the same in clean and corrupted prompts",
        ("zero",),
    ),
    TrueEdge("input->a0.h2<v>", "the previous-token head carries the token it finds"),
    TrueEdge("input->a1.h0<q>", "the duplicate-token head asks for the current token"),
    TrueEdge("input->a1.h0<k>", "the duplicate-token head finds the same token at another place"),
    TrueEdge(
        "a0.h2->a1.h0<v>",
        "V-composition: the duplicate-token head carries what the previous-token head wrote",
    ),
    TrueEdge("a1.h0->logits", "only the duplicate-token head writes what the unembedding reads"),
)

HEADS = (
    BuiltHead("a0.h2", ("previous-token",), "it compares positions and nothing else"),
    BuiltHead(
        "a1.h0",
        ("duplicate-token",),
        "it looks for the current token at another place, at <bos> if there is none",
    ),
)


def build() -> Builder:
    """The weights."""
    residual = Residual(
        {
            "token": TOKEN_WIDTH,
            "is_bos": 1,
            **neighbour_widths(POSITIONS),
            **place_widths(POSITIONS),
            "token_before": TOKEN_WIDTH,
            "answer": TOKEN_WIDTH,
            SCRATCH: 16,
        }
    )
    vocab = len(SPECIAL) + len(WORDS)
    builder = Builder(Shape(residual, n_layers=2, n_heads=4, n_ctx=POSITIONS, vocab=vocab))
    embed_tokens(builder)
    embed_neighbours(builder)
    embed_places(builder)
    unembed_answer(builder)
    add_previous_token_head(builder, *PREVIOUS, reads="token", writes="token_before")
    add_duplicate_token_head(
        builder, *DUPLICATE, code="token", reads="token_before", writes="answer"
    )
    for layer, head in (PREVIOUS, DUPLICATE):
        add_distractor_heads(builder, layer, used=[head], seed=NAME)
    return builder


PROGRAM = Program(
    name=NAME,
    title="what stood before the last token, by V-composition of two heads",
    shows="V-composition",
    behaviour='"<bos> be ki da lo fu da" -> "ki"',
    how=HOW,
    task="compiled_lookback",
    words=WORDS,
    build=build,
    edges=EDGES,
    heads=HEADS,
)
