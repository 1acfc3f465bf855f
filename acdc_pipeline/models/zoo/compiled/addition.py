"""compiled-sum: adds two digits that two heads fetch side by side.

Two parallel paths meet in an MLP, as in compiled-or, but here the answer needs both: an and for
every pair of digits. Whichever of them is removed, the answer is lost.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from acdc_pipeline.models.zoo.compiled.builder import D_HEAD, SHARP, Builder, Shape, flag, into_head
from acdc_pipeline.models.zoo.compiled.codes import one_hot
from acdc_pipeline.models.zoo.compiled.distractors import (
    add_distractor_heads,
    add_distractor_units,
)
from acdc_pipeline.models.zoo.compiled.program import Program, PromptPair, TrueEdge, token_ids
from acdc_pipeline.models.zoo.compiled.residual import SCRATCH, Residual

NAME = "compiled-sum"
DIGITS = 6
SUMS = 2 * DIGITS - 1
PLUS, ASK = "+", "="
WORDS = (*(str(number) for number in range(SUMS)), PLUS, ASK)
IDS = token_ids(WORDS)
POSITIONS = 8
D_MLP = 40
LOGIT = 32.0

# Each head looks at one position and writes into a subspace of its own.
READERS = {"left": ((0, 0), 1), "right": ((0, 3), 3)}

HOW = f"""\\
Head a0.h0 looks at position 1 and writes the digit that stands there, a0.h3 at position 3. The
MLP m0 has one hidden unit for every pair of digits from 0 to {DIGITS - 1}, which is 1 if both hold
and writes their sum. The other two heads and the last hidden units are distractors."""

_PLACE = (
    "the head finds its digit by position; positions are the same in clean and corrupted prompts"
)

EDGES = (
    TrueEdge("input->a0.h0<k>", _PLACE, ("zero",)),
    TrueEdge("input->a0.h0<v>", "the head carries the left digit"),
    TrueEdge("a0.h0->m0", "the sum depends on the left digit"),
    TrueEdge("input->a0.h3<k>", _PLACE, ("zero",)),
    TrueEdge("input->a0.h3<v>", "the head carries the right digit"),
    TrueEdge("a0.h3->m0", "the sum depends on the right digit"),
    TrueEdge("m0->logits", "only the MLP writes what the unembedding reads"),
)


def build() -> Builder:
    """The weights."""
    residual = Residual(
        {
            "digit": DIGITS,
            "sign": 2,
            "position": POSITIONS,
            "left": DIGITS,
            "right": DIGITS,
            "answer": SUMS,
            SCRATCH: 16,
        }
    )
    shape = Shape(residual, n_layers=1, n_heads=4, n_ctx=POSITIONS, vocab=len(IDS), d_mlp=D_MLP)
    builder = Builder(shape)
    tokens = one_hot(len(IDS))
    builder.embed("digit", tokens[:, [IDS[str(digit)] for digit in range(DIGITS)]])
    builder.embed("sign", tokens[:, [IDS[PLUS], IDS[ASK]]])
    builder.embed_positions("position", one_hot(POSITIONS))
    builder.unembed("answer", LOGIT * tokens[[IDS[str(number)] for number in range(SUMS)]])

    for subspace, ((layer, head), position) in READERS.items():
        builder.bias(layer, head, "q", flag(position, D_HEAD, SHARP))
        builder.read(layer, head, "k", "position", into_head(POSITIONS, SHARP))
        builder.carry(layer, head, "digit", subspace)

    units = _write_sums(builder)
    add_distractor_heads(builder, 0, used=[head for (_, head), _ in READERS.values()], seed=NAME)
    add_distractor_units(builder, 0, units, seed=NAME)
    return builder


def _write_sums(builder: Builder) -> int:
    """relu(2 (left + right) - 3) for every pair of digits: 1 if both hold. Returns hidden units.

    A head that looks everywhere sees two of five digits: what it writes stays below the bias.
    """
    pairs = [(left, right) for left in range(DIGITS) for right in range(DIGITS)]
    for index, (left, right) in enumerate(pairs):
        builder.unit(
            0,
            index,
            reads={"left": flag(left, DIGITS, 2.0), "right": flag(right, DIGITS, 2.0)},
            bias=-3.0,
            writes={"answer": flag(left + right, SUMS)},
        )
    return len(pairs)


def pairs() -> Iterator[PromptPair]:
    """Two digits; the counterfactual has others, and another sum."""
    rng = random.Random(NAME)
    while True:
        left, right, other_left, other_right = (rng.randrange(DIGITS) for _ in range(4))
        if left == other_left or right == other_right or left + right == other_left + other_right:
            continue
        yield {
            "clean": f"{left} {PLUS} {right} {ASK}",
            "corrupted": f"{other_left} {PLUS} {other_right} {ASK}",
            "correct": f" {left + right}",
            "incorrect": f" {other_left + other_right}",
        }


PROGRAM = Program(
    name=NAME,
    title="two digits added, fetched by two heads and joined by an MLP",
    shows="parallel paths that are both needed: an and",
    behaviour='"<bos> 3 + 4 =" -> "7"',
    how=HOW,
    task="compiled_sum",
    words=WORDS,
    build=build,
    edges=EDGES,
    pairs=pairs,
)
