"""compiled-sort: says numbers in ascending order, one after the other, by one head.

The head's queries and keys are a table over pairs of tokens: all three of its slots read the
input, and each of them decides.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.models.zoo.compiled.builder import (
    D_HEAD,
    SHARP,
    Builder,
    Shape,
    flag,
    into_head,
    out_of_head,
)
from acdc_pipeline.models.zoo.compiled.codes import one_hot
from acdc_pipeline.models.zoo.compiled.distractors import add_distractor_heads
from acdc_pipeline.models.zoo.compiled.program import (
    BuiltHead,
    Program,
    PromptPair,
    TrueEdge,
    token_ids,
)
from acdc_pipeline.models.zoo.compiled.residual import SCRATCH, Residual

NAME = "compiled-sort"
DIGITS = 10
ASK = "="
WORDS = (*(str(digit) for digit in range(DIGITS)), ASK)
IDS = token_ids(WORDS)
POSITIONS = 16
LOGIT = 32.0

SORTER = (0, 2)

PROMPT_TOKENS = 7
SHORTEST, LONGEST = 4, 6
"""Numbers to be sorted; those already said make up for the rest of the prompt."""

HOW = f"""\\
Head a0.h2 asks for numbers above the current token; "{ASK}" asks for any. Among those it looks at
the smallest, and says it; where there is none it looks at <bos>. Numbers that were already said
are not above the current one, so that the list and what was said of it need no telling apart. The
other heads are distractors."""

EDGES = (
    TrueEdge("input->a0.h2<q>", "the sorter asks for what is above the current token"),
    TrueEdge("input->a0.h2<k>", "the sorter looks at the smallest number of those"),
    TrueEdge("input->a0.h2<v>", "the sorter carries the number it finds"),
    TrueEdge("a0.h2->logits", "only the sorter writes what the unembedding reads"),
)

HEADS = (BuiltHead("a0.h2", ("copying",), "it says the number it looks at"),)


def build() -> Builder:
    """The weights."""
    symbols = DIGITS + 1
    residual = Residual({"symbol": symbols, "is_bos": 1, "answer": DIGITS, SCRATCH: 16})
    builder = Builder(Shape(residual, n_layers=1, n_heads=4, n_ctx=POSITIONS, vocab=len(IDS)))
    tokens = one_hot(len(IDS))
    digits = [IDS[str(digit)] for digit in range(DIGITS)]
    builder.embed("symbol", tokens[:, [*digits, IDS[ASK]]])
    builder.embed("is_bos", tokens[:, :1])
    builder.unembed("answer", LOGIT * tokens[digits])

    builder.read(*SORTER, "q", "symbol", into_head(symbols, SHARP))
    builder.read(*SORTER, "k", "symbol", _keys(symbols))
    # Whatever is asked for, <bos> scores half of what the largest digit would.
    everything = torch.ones(symbols, dtype=torch.float64) @ into_head(symbols, SHARP / 2)
    builder.read(*SORTER, "k", "is_bos", everything[None])
    builder.read(*SORTER, "v", "symbol", into_head(symbols))
    builder.write(*SORTER, "answer", out_of_head(DIGITS))
    add_distractor_heads(builder, 0, used=[SORTER[1]], seed=NAME)
    return builder


def _keys(symbols: int) -> Float[Tensor, "width d_head"]:
    """What each symbol holds for a query by each other: more, the smaller a number above it."""
    table = torch.zeros(symbols, D_HEAD, dtype=torch.float64)
    for digit in range(DIGITS):
        for current in (*range(digit), symbols - 1):
            table[digit] += flag(current, D_HEAD, SHARP * (DIGITS - digit))
    return table


def pairs() -> Iterator[PromptPair]:
    """A list and a beginning of it sorted; the counterfactual is another list.

    Whatever a single slot of the head takes from the counterfactual leads to another number.
    """
    rng = random.Random(NAME)
    while True:
        clean, corrupted = _draw(rng), _draw(rng)
        answer = clean[looked_at(clean[-1], clean)]
        leads = {
            "q": clean[looked_at(corrupted[-1], clean)],
            "k": clean[looked_at(clean[-1], corrupted)],
            "v": corrupted[looked_at(clean[-1], clean)],
        }
        other = corrupted[looked_at(corrupted[-1], corrupted)]
        if answer not in (*leads.values(), other):
            yield {
                "clean": " ".join(clean),
                "corrupted": " ".join(corrupted),
                "correct": f" {answer}",
                "incorrect": f" {other}",
            }


def looked_at(current: str, said: Sequence[str]) -> int:
    """Where the smallest number above `current` stands in `said`; -1 if there is none."""
    least = -1 if current == ASK else int(current)
    above = [(int(word), place) for place, word in enumerate(said) if word != ASK]
    return min(((n, place) for n, place in above if n > least), default=(0, -1))[1]


def _draw(rng: random.Random) -> list[str]:
    """A list, the sign, and so many of the sorted list that the prompt has its length."""
    n = rng.randint(SHORTEST, LONGEST)
    numbers = rng.sample(range(DIGITS), n)
    said = sorted(numbers)[: PROMPT_TOKENS - n - 1]
    return [*map(str, numbers), ASK, *map(str, said)]


PROGRAM = Program(
    name=NAME,
    title="numbers in ascending order, by one head",
    shows="one head whose three slots all decide",
    behaviour='"<bos> 7 3 9 5 = 3 5" -> "7"',
    how=HOW,
    task="compiled_sort",
    words=WORDS,
    build=build,
    edges=EDGES,
    heads=HEADS,
    pairs=pairs,
)
