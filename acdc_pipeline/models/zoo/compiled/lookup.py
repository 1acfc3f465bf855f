"""compiled-lookup: says the value of a key that was listed before.

One head feeds two slots of another: what the previous-token head wrote is the query at the end
and the key at every value, so there is Q-composition and K-composition at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch

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
from acdc_pipeline.models.zoo.compiled.program import (
    BuiltHead,
    Program,
    PromptPair,
    TrueEdge,
    token_ids,
)
from acdc_pipeline.models.zoo.compiled.residual import SCRATCH, Residual
from acdc_pipeline.models.zoo.compiled.words import TOKEN_WIDTH, embed_tokens, unembed_answer
from acdc_pipeline.models.zoo.compiled.words import WORDS as SYLLABLES

NAME = "compiled-lookup"
ASK = "="
WORDS = (*SYLLABLES, ASK)
IDS = token_ids(WORDS)
POSITIONS = 16

PREVIOUS = (0, 3)
RETRIEVER = (1, 1)

# In units of a shared coordinate of a token, of which a match has 6 and no match more than 4. A
# word gets one more, so that a value, 7, is above <bos>, and that above the sign itself, which
# stands behind the key as well and has 6.
WORD_KEY = 1.0
BOS_KEY = 6.5

HOW = f"""\\
Head a0.h3 looks one position back and writes the token it finds there. Head a1.h1 asks, at the
last token, for what stood before it, the key, and looks for the word with the same token before
it: the value, which it says. "{ASK}" stands behind the key too; that it is no word keeps the head
from it. The other heads are distractors."""

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
    TrueEdge("input->a0.h3<v>", "the previous-token head carries the key, at each place of it"),
    TrueEdge("a0.h3->a1.h1<q>", "Q-composition: the retriever asks for the token before the last"),
    TrueEdge("a0.h3->a1.h1<k>", "K-composition: a value is found by the token before it"),
    TrueEdge(
        "input->a1.h1<k>",
        f'the retriever looks at words, and "{ASK}" is none; words stand in the same places in'
        " clean and corrupted prompts",
        ("zero",),
    ),
    TrueEdge("input->a1.h1<v>", "the retriever carries the value it finds"),
    TrueEdge("a1.h1->logits", "only the retriever writes what the unembedding reads"),
)

HEADS = (
    BuiltHead("a0.h3", ("previous-token",), "it compares positions and nothing else"),
    BuiltHead("a1.h1", ("copying",), "it says the value it looks at"),
)


def build() -> Builder:
    """The weights."""
    residual = Residual(
        {
            "token": TOKEN_WIDTH,
            "is_bos": 1,
            "is_word": 1,
            **neighbour_widths(POSITIONS),
            "token_before": TOKEN_WIDTH,
            "answer": TOKEN_WIDTH,
            SCRATCH: 16,
        }
    )
    builder = Builder(Shape(residual, n_layers=2, n_heads=4, n_ctx=POSITIONS, vocab=len(IDS)))
    embed_tokens(builder)
    embed_neighbours(builder)
    unembed_answer(builder)
    is_word = torch.zeros(len(IDS), 1, dtype=torch.float64)
    is_word[[IDS[word] for word in SYLLABLES]] = 1
    builder.embed("is_word", is_word)

    add_previous_token_head(builder, *PREVIOUS, reads="token", writes="token_before")

    builder.read(*RETRIEVER, "q", "token_before", into_head(TOKEN_WIDTH, SHARP))
    builder.read(*RETRIEVER, "k", "token_before", into_head(TOKEN_WIDTH, SHARP))
    # A query holds this coordinate whatever it asks for.
    builder.bias(*RETRIEVER, "q", flag(TOKEN_WIDTH, D_HEAD, SHARP))
    for subspace, units in (("is_word", WORD_KEY), ("is_bos", BOS_KEY)):
        key = flag(TOKEN_WIDTH, D_HEAD, units * SHARP)
        builder.read(*RETRIEVER, "k", subspace, key[None])
    builder.carry(*RETRIEVER, "token", "answer")

    for layer, head in (PREVIOUS, RETRIEVER):
        add_distractor_heads(builder, layer, used=[head], seed=NAME)
    return builder


def pairs() -> Iterator[PromptPair]:
    """Three keys with values, and one asked for.

    The counterfactual has the same keys in other places, with fresh values, and asks for another
    key, whose place is a third one: whatever a single slot takes from it leads elsewhere.
    """
    rng = random.Random(NAME)
    while True:
        drawn = rng.sample(SYLLABLES, 9)
        keys, values, fresh = drawn[:3], drawn[3:6], drawn[6:]
        at = rng.randrange(3)
        moved = [keys[(place + 1) % 3] for place in range(3)]
        # The key asked for stands at `at`, then at `at - 1`; this one at `at + 2`, then `at + 1`.
        other = (at + 1) % 3
        yield {
            "clean": _prompt(keys, values, keys[at]),
            "corrupted": _prompt(moved, fresh, moved[other]),
            "correct": f" {values[at]}",
            "incorrect": f" {fresh[other]}",
        }


def _prompt(keys: list[str], values: list[str], asked: str) -> str:
    listed = [f"{key} {value}" for key, value in zip(keys, values, strict=True)]
    return " ".join([*listed, asked, ASK])


PROGRAM = Program(
    name=NAME,
    title="the value of a key, by Q- and K-composition with one head",
    shows="Q- and K-composition with the same head",
    behaviour='"<bos> be ki da lo fu ga da =" -> "lo"',
    how=HOW,
    task="compiled_lookup",
    words=WORDS,
    build=build,
    edges=EDGES,
    heads=HEADS,
    pairs=pairs,
)
