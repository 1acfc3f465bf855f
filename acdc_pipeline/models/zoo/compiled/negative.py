"""The negative head: the answer is the name mentioned once, because a head removes the other.

The circuit has the shape of that for indirect objects (Wang et al. 2022, arXiv 2211.00593), with
the negative head at its centre: a mover raises every name, the one mentioned twice most, and the
right answer remains only because another head subtracts that one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import cycle

from acdc_pipeline.models.zoo.compiled.builder import (
    D_HEAD,
    SCRATCH,
    SHARP,
    Builder,
    Residual,
    Shape,
    flag,
    one_hot,
    signs,
)
from acdc_pipeline.models.zoo.compiled.components import (
    add_distractors,
    add_duplicate_token_head,
    duplicate_token_head,
    embed_places,
    place_widths,
)
from acdc_pipeline.models.zoo.compiled.program import (
    BuiltHead,
    Program,
    PromptPair,
    TrueEdge,
    prompt_pair,
    token_ids,
)

NAMES = tuple("abcdefghijkl")
EQUALS = "="
WORDS = (*NAMES, EQUALS)
POSITIONS = 8


def _build() -> Builder:
    duplicate, negative, mover = (0, 1), (1, 1), (1, 2)
    ids = token_ids(WORDS)
    n, codes = len(NAMES), signs(len(ids))
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
    builder = Builder(Shape(residual, n_layers=2, n_heads=4, n_ctx=POSITIONS, vocab=len(ids)))
    tokens = one_hot(len(ids))
    names = tokens[:, [ids[name] for name in NAMES]]
    codes[0] = 0  # <bos> is no duplicate of any token
    builder.embed("name", names)
    builder.embed("code", codes)
    builder.embed("is_name", names.sum(1, keepdim=True))
    builder.embed("is_bos", tokens[:, :1])
    embed_places(builder)
    builder.unembed("answer", 256.0 * names.T)

    add_duplicate_token_head(
        builder, *duplicate, code="code", reads="is_name", writes="said_before"
    )
    builder.carry(*mover, "name", "answer")
    builder.bias(*negative, "q", flag(0, D_HEAD, SHARP))
    builder.read(*negative, "k", "said_before", flag(0, D_HEAD, SHARP)[None])
    builder.carry(*negative, "name", "answer", scale=-1.0)
    add_distractors(builder, seed="compiled-negative", used_heads=(duplicate, negative, mover))
    return builder


def _draw_pairs() -> Iterator[PromptPair]:
    """Draw one name once and another twice; the counterfactual has three other names.

    Prompts take turns in the position of the name that is mentioned once.
    """
    rng = random.Random("compiled-negative")
    for order in cycle(((1, 1, 0), (0, 1, 1), (1, 0, 1))):
        once, twice, *others = rng.sample(NAMES, 5)
        names = [(once, twice)[which] for which in order]
        mentions = iter(("twice1", "twice2"))
        spans = [next(mentions) if which else "once" for which in order]
        yield prompt_pair([*names, EQUALS], [*others, EQUALS], once, twice, spans)


NEGATIVE = Program(
    name="compiled-negative",
    title="the name said once, because a head takes back the one said twice",
    shows="a negative head: two heads write the same place with opposite signs",
    behaviour='"<bos> c k k =" -> "c"',
    how="""\
Three names are said, one of them twice. Head a1.h2 looks everywhere alike and raises every name
it sees, the one said twice twice as much. Head a0.h1 marks each name that stood before; head a1.h1
looks at the mark and takes back five times what a1.h2 gave for one mention, which leaves the name
said once. The other heads are distractors.""",
    task="compiled_negative",
    words=WORDS,
    build=_build,
    edges=(
        TrueEdge(
            "input->a0.h1<q>", "the duplicate-token head asks for the current name", at="twice2"
        ),
        TrueEdge(
            "input->a0.h1<k>",
            "the duplicate-token head finds the same name at another place; with its keys at zero"
            " it marks every name, the last one most, which is wrong where that was said once",
            at="twice1",
        ),
        TrueEdge(
            "input->a0.h1<v>",
            "the duplicate-token head writes that it found a name; it would write the same of the"
            " corrupted prompt's names",
            ("zero",),
        ),
        TrueEdge(
            "a0.h1->a1.h1<k>",
            "K-composition: the negative head looks at what is marked",
            at="twice2",
        ),
        TrueEdge("input->a1.h1<v>", "the negative head carries the name to take back", at="twice2"),
        TrueEdge("a1.h1->logits", "the negative head takes back the name said twice", at="END"),
        TrueEdge("input->a1.h2<v>", "the mover carries every name", at="once twice1 twice2"),
        TrueEdge("a1.h2->logits", "the mover raises every name", at="END"),
    ),
    heads=(
        duplicate_token_head("a0.h1"),
        BuiltHead("a1.h1", ("suppressing",), "it lowers the name it looks at"),
        BuiltHead(
            "a1.h2", ("uniform", "copying"), "it looks everywhere alike, and says what it finds"
        ),
    ),
    pairs=_draw_pairs,
)
