"""compiled-relay: says the token three places back, handed on by three heads in a row.

The longest chain here: V-composition twice over, through three layers. An effect of the first
edge reaches the logits through two others, so a method that looks only at direct effects sees
the last head alone.
"""

from __future__ import annotations

from acdc_pipeline.models.zoo.compiled.builder import Builder, Shape
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

NAME = "compiled-relay"
POSITIONS = 16

HEADS_BY_LAYER = (1, 3, 0)
CARRIED = ("token", "one_back", "two_back", "answer")

HOW = """\
Heads a0.h1, a1.h3 and a2.h0 each look one position back. The first writes the token it finds, the
second what the first wrote there, the third what the second wrote there and says it. The other
heads are distractors."""

_CHAIN = tuple(f"a{layer}.h{head}" for layer, head in enumerate(HEADS_BY_LAYER))

EDGES = (
    *(
        TrueEdge(
            f"input->{head}<{slot}>",
            "the head compares its own position with the one before it;"
            " positions are the same in clean and corrupted prompts",
            ("zero",),
        )
        for head in _CHAIN
        for slot in "qk"
    ),
    TrueEdge("input->a0.h1<v>", "the first head carries the token it finds"),
    TrueEdge("a0.h1->a1.h3<v>", "V-composition: the second head carries what the first wrote"),
    TrueEdge("a1.h3->a2.h0<v>", "V-composition: the third head carries what the second wrote"),
    TrueEdge("a2.h0->logits", "only the third head writes what the unembedding reads"),
)

HEADS = tuple(
    BuiltHead(head, ("previous-token",), "it compares positions and nothing else")
    for head in _CHAIN
)


def build() -> Builder:
    """The weights."""
    residual = Residual(
        {
            "token": TOKEN_WIDTH,
            "is_bos": 1,
            **neighbour_widths(POSITIONS),
            "one_back": TOKEN_WIDTH,
            "two_back": TOKEN_WIDTH,
            "answer": TOKEN_WIDTH,
            SCRATCH: 16,
        }
    )
    vocab = len(SPECIAL) + len(WORDS)
    builder = Builder(Shape(residual, n_layers=3, n_heads=4, n_ctx=POSITIONS, vocab=vocab))
    embed_tokens(builder)
    embed_neighbours(builder)
    unembed_answer(builder)
    for layer, head in enumerate(HEADS_BY_LAYER):
        reads, writes = CARRIED[layer], CARRIED[layer + 1]
        add_previous_token_head(builder, layer, head, reads=reads, writes=writes)
        add_distractor_heads(builder, layer, used=[head], seed=NAME)
    return builder


PROGRAM = Program(
    name=NAME,
    title="the token three places back, through a chain of three heads",
    shows="a chain of three heads, V-composition twice",
    behaviour='"<bos> be ki da lo fu ga" -> "da"',
    how=HOW,
    task="compiled_relay",
    words=WORDS,
    build=build,
    edges=EDGES,
    heads=HEADS,
)
