"""compiled-negative: says the name that was said once, because a head takes back the other.

The shape of the circuit for indirect objects (Wang et al. 2022, arXiv 2211.00593) with the
negative head as its heart: a mover raises every name, most of all the one said twice, and the
right answer is left over only because another head subtracts that one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import cycle

from acdc_pipeline.models.zoo.compiled.builder import D_HEAD, SHARP, Builder, Shape, flag
from acdc_pipeline.models.zoo.compiled.codes import one_hot, signs
from acdc_pipeline.models.zoo.compiled.distractors import add_distractor_heads
from acdc_pipeline.models.zoo.compiled.duplicate_token import (
    add_duplicate_token_head,
    embed_places,
    place_widths,
)
from acdc_pipeline.models.zoo.compiled.program import (
    BuiltHead,
    Program,
    PromptPair,
    TrueEdge,
    token_ids,
)
from acdc_pipeline.models.zoo.compiled.residual import SCRATCH, Residual

NAME = "compiled-negative"
NAMES = tuple("abcdefghijkl")
ASK = "="
WORDS = (*NAMES, ASK)
IDS = token_ids(WORDS)
POSITIONS = 8
LOGIT = 256.0

DUPLICATE = (0, 1)
NEGATIVE = (1, 1)
MOVER = (1, 2)

ORDERS = ((1, 1, 0), (0, 1, 1), (1, 0, 1))
"""Where the name said once, 0, stands beside the one said twice; prompts take turns."""

HOW = """\
Three names are said, one of them twice. Head a1.h2 looks everywhere alike and raises every name
it sees, the one said twice twice as much. Head a0.h1 marks each name that stood before; head a1.h1
looks at the mark and takes back five times what a1.h2 gave for one mention, which leaves the name
said once. The other heads are distractors."""

EDGES = (
    TrueEdge("input->a0.h1<q>", "the duplicate-token head asks for the current name"),
    TrueEdge(
        "input->a0.h1<k>",
        "the duplicate-token head finds the same name at another place; with its keys at zero it"
        " marks every name, the last one most, which is wrong where that was said once",
    ),
    TrueEdge(
        "input->a0.h1<v>",
        "the duplicate-token head writes that it found a name; it would write the same of the"
        " corrupted prompt's names",
        ("zero",),
    ),
    TrueEdge("a0.h1->a1.h1<k>", "K-composition: the negative head looks at what is marked"),
    TrueEdge("input->a1.h1<v>", "the negative head carries the name to take back"),
    TrueEdge("a1.h1->logits", "the negative head takes back the name said twice"),
    TrueEdge("input->a1.h2<v>", "the mover carries every name"),
    TrueEdge("a1.h2->logits", "the mover raises every name"),
)

HEADS = (
    BuiltHead(
        "a0.h1",
        ("duplicate-token",),
        "it looks for the current token at another place, at <bos> if there is none",
    ),
    BuiltHead("a1.h1", ("suppressing",), "it lowers the name it looks at"),
    BuiltHead("a1.h2", ("uniform", "copying"), "it looks everywhere alike, and says what it finds"),
)


def build() -> Builder:
    """The weights."""
    n, codes = len(NAMES), signs(len(IDS))
    residual = Residual(
        {
            "name": n,
            "code": codes.shape[1],
            "is_name": 1,
            "is_bos": 1,
            **place_widths(POSITIONS),
            "said_before": 1,
            "answer": n,
            SCRATCH: 16,
        }
    )
    builder = Builder(Shape(residual, n_layers=2, n_heads=4, n_ctx=POSITIONS, vocab=len(IDS)))
    tokens = one_hot(len(IDS))
    names = tokens[:, [IDS[name] for name in NAMES]]
    codes[0] = 0  # <bos> is nobody's duplicate
    builder.embed("name", names)
    builder.embed("code", codes)
    builder.embed("is_name", names.sum(1, keepdim=True))
    builder.embed("is_bos", tokens[:, :1])
    embed_places(builder)
    builder.unembed("answer", LOGIT * names.T)

    add_duplicate_token_head(
        builder, *DUPLICATE, code="code", reads="is_name", writes="said_before"
    )
    builder.carry(*MOVER, "name", "answer")
    builder.bias(*NEGATIVE, "q", flag(0, D_HEAD, SHARP))
    builder.read(*NEGATIVE, "k", "said_before", flag(0, D_HEAD, SHARP)[None])
    builder.carry(*NEGATIVE, "name", "answer", scale=-1.0)

    for layer, used in ((0, [DUPLICATE]), (1, [NEGATIVE, MOVER])):
        add_distractor_heads(builder, layer, used=[head for _, head in used], seed=NAME)
    return builder


def pairs() -> Iterator[PromptPair]:
    """One name once, another twice, in any order; the counterfactual has three other names."""
    rng = random.Random(NAME)
    for order in cycle(ORDERS):
        once, twice, *others = rng.sample(NAMES, 5)
        said = [(once, twice)[which] for which in order]
        yield {
            "clean": " ".join([*said, ASK]),
            "corrupted": " ".join([*others, ASK]),
            "correct": f" {once}",
            "incorrect": f" {twice}",
        }


PROGRAM = Program(
    name=NAME,
    title="the name said once, because a head takes back the one said twice",
    shows="a negative head: two heads write the same place with opposite signs",
    behaviour='"<bos> c k k =" -> "c"',
    how=HOW,
    task="compiled_negative",
    words=WORDS,
    build=build,
    edges=EDGES,
    heads=HEADS,
    pairs=pairs,
)
