"""compiled-gallery: eight heads, each of which does one thing that can be said exactly.

Six of them are exhibits whose scores have closed-form values; only one of these writes what the
unembedding reads, and says the token before the last. The shape of its circuit is the simplest
there is, one head, among heads that look busy and do nothing for the answer.
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
from acdc_pipeline.models.zoo.compiled.distractors import add_distractor_heads, add_reading_head
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

NAME = "compiled-gallery"
POSITIONS = 128

IDLE, UNIFORM, SINK, PREVIOUS, DUPLICATE, CURRENT = ((0, head) for head in range(6))
EXHIBITS = (IDLE, UNIFORM, SINK, PREVIOUS, DUPLICATE, CURRENT)

HOW = """\
Head a0.h3 looks one position back and says the token it finds there. Nothing else reaches the
logits: a0.h1 looks everywhere alike, a0.h2 at <bos>, a0.h4 at the earlier place of the current
token, a0.h5 at the current token, and each writes what it finds where nobody reads it; a0.h0 reads
everything and writes nothing; a0.h6 and a0.h7 are distractors."""

EDGES = (
    TrueEdge(
        "input->a0.h3<q>",
        "the previous-token head must know its own position to look one before it;"
        " positions are the same in clean and corrupted prompts",
        ("zero",),
    ),
    TrueEdge(
        "input->a0.h3<k>",
        "the previous-token head finds the position before by its number;"
        " positions are the same in clean and corrupted prompts",
        ("zero",),
    ),
    TrueEdge("input->a0.h3<v>", "the previous-token head carries the token it finds"),
    TrueEdge("a0.h3->logits", "only the previous-token head writes what the unembedding reads"),
)

HEADS = (
    BuiltHead("a0.h0", ("idle",), "its output matrix is zero"),
    BuiltHead("a0.h1", ("uniform",), "its queries and keys are zero"),
    BuiltHead("a0.h2", ("sink",), "its queries ask for <bos>, whatever the token"),
    BuiltHead(
        "a0.h3", ("previous-token", "copying"), "it compares positions, and says what it finds"
    ),
    BuiltHead(
        "a0.h4",
        ("duplicate-token",),
        "it looks for the current token at another place, at <bos> if there is none",
    ),
    BuiltHead("a0.h5", ("current-token",), "it looks for its own position"),
)


def build() -> Builder:
    """The weights."""
    residual = Residual(
        {
            "token": TOKEN_WIDTH,
            "is_bos": 1,
            **neighbour_widths(POSITIONS),
            **place_widths(POSITIONS),
            "answer": TOKEN_WIDTH,
            SCRATCH: TOKEN_WIDTH,
        }
    )
    vocab = len(SPECIAL) + len(WORDS)
    builder = Builder(Shape(residual, n_layers=1, n_heads=8, n_ctx=POSITIONS, vocab=vocab))
    embed_tokens(builder)
    embed_neighbours(builder)
    embed_places(builder)
    unembed_answer(builder)

    add_reading_head(builder, *IDLE, seed=NAME)
    builder.carry(*UNIFORM, "token", SCRATCH)
    builder.bias(*SINK, "q", flag(0, D_HEAD, SHARP))
    builder.read(*SINK, "k", "is_bos", flag(0, D_HEAD, SHARP)[None])
    # <bos> has no token to carry, so the sink carries that it is one.
    builder.read(*SINK, "v", "is_bos", flag(0, D_HEAD)[None])
    builder.write(*SINK, SCRATCH, flag(0, D_HEAD)[:, None] * flag(0, TOKEN_WIDTH))
    add_previous_token_head(builder, *PREVIOUS, reads="token", writes="answer")
    add_duplicate_token_head(builder, *DUPLICATE, code="token", reads="token", writes=SCRATCH)
    for slot in ("q", "k"):
        width = residual.widths["position"]
        builder.read(*CURRENT, slot, "position", into_head(width, SHARP))
    builder.carry(*CURRENT, "token", SCRATCH)
    add_distractor_heads(builder, 0, used=[head for _, head in EXHIBITS], seed=NAME)
    return builder


PROGRAM = Program(
    name=NAME,
    title="one head says the token before the last, five others are there to be scored",
    shows="one head among busy ones; per-head scores with closed-form values",
    behaviour='"<bos> be ki da lo fu" -> "lo"',
    how=HOW,
    task="compiled_gallery",
    words=WORDS,
    build=build,
    edges=EDGES,
    heads=HEADS,
)
