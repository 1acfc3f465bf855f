"""compiled-or: two redundant paths to one answer, either of which suffices.

The case where patching one edge at a time goes wrong: each path alone can go without any loss,
so a method that scores edges singly sees nothing in either, and ACDC keeps only one.
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
    out_of_head,
)
from acdc_pipeline.models.zoo.compiled.codes import one_hot
from acdc_pipeline.models.zoo.compiled.distractors import (
    add_distractor_heads,
    add_distractor_units,
)
from acdc_pipeline.models.zoo.compiled.program import Program, PromptPair, TrueEdge, token_ids
from acdc_pipeline.models.zoo.compiled.residual import SCRATCH, Residual
from acdc_pipeline.specs.names import HeadOrder

NAME = "compiled-or"
LOWER = tuple("abcdefghijkl")
UPPER = tuple(letter.upper() for letter in LOWER)
FILLERS = (".", "-", "+")
ASK = "="
NOTHING = "?"
WORDS = (*LOWER, *UPPER, *FILLERS, ASK, NOTHING)
IDS = token_ids(WORDS)
POSITIONS = 16
D_MLP = 32
LOGIT = 32.0

PROMPT_FILLERS = 6

# Each reader looks at one case of letters and writes into a subspace of its own.
READERS = {"said_lower": ((0, 1), LOWER), "said_upper": ((0, 2), UPPER)}

HOW = """\
The prompt says a letter twice: once in lower case, once in upper case, among fillers. Head a0.h1
looks at the lower-case letter, a0.h2 at the upper-case one; each writes which letter it is into
a subspace of its own. The MLP m0 computes min(1, lower + upper) for every letter, with two hidden
units each, and the unembedding reads that. Without any letter the answer is "?", through the bias
of the unembedding. The other two heads and the last hidden units are distractors."""

_KEY = "letters of this case are what the head looks for; the corrupted prompt has none"
_VALUE = "the head carries which letter it found"

EDGES = (
    TrueEdge("input->a0.h1<k>", _KEY, path="lower case"),
    TrueEdge("input->a0.h1<v>", _VALUE, path="lower case"),
    TrueEdge(
        "a0.h1->m0", "the letter said in lower case is one input of the or", path="lower case"
    ),
    TrueEdge("input->a0.h2<k>", _KEY, path="upper case"),
    TrueEdge("input->a0.h2<v>", _VALUE, path="upper case"),
    TrueEdge(
        "a0.h2->m0", "the letter said in upper case is the other input of the or", path="upper case"
    ),
    TrueEdge("m0->logits", "only the MLP writes what the unembedding reads"),
)

# ACDC goes from the logits backwards, so it meets both inputs of m0 before anything below them.
# The one it meets first goes without loss: the other alone still makes min(1, 1) = 1. From then
# on the other is all there is, and stays. What leads to the dropped head is not tested at all.
FOUND_BY_ACDC: dict[HeadOrder, tuple[str, ...]] = {
    "reverse-heads": ("input->a0.h1<k>", "input->a0.h1<v>", "a0.h1->m0", "m0->logits"),
    "natural": ("input->a0.h2<k>", "input->a0.h2<v>", "a0.h2->m0", "m0->logits"),
}


def build() -> Builder:
    """The weights."""
    residual = Residual(
        {
            "token": len(IDS),
            "position": POSITIONS,
            "said_lower": len(LOWER),
            "said_upper": len(UPPER),
            "answer": len(LOWER),
            SCRATCH: 16,
        }
    )
    shape = Shape(residual, n_layers=1, n_heads=4, n_ctx=POSITIONS, vocab=len(IDS), d_mlp=D_MLP)
    builder = Builder(shape)
    tokens = one_hot(len(IDS))
    builder.embed("token", tokens)
    builder.embed_positions("position", one_hot(POSITIONS))
    lower_ids = [IDS[letter] for letter in LOWER]
    builder.unembed("answer", LOGIT * tokens[lower_ids])
    # Half of what a letter gets: two letters seen an eighth each do not reach it, one seen does.
    builder.unembed_bias(IDS[NOTHING], LOGIT / 2)

    for subspace, ((layer, head), letters) in READERS.items():
        ids = [IDS[letter] for letter in letters]
        is_letter = tokens[:, ids].sum(1)
        builder.bias(layer, head, "q", flag(0, D_HEAD, SHARP))
        builder.read(layer, head, "k", "token", torch.outer(is_letter, flag(0, D_HEAD, SHARP)))
        value = torch.zeros(len(IDS), D_HEAD, dtype=torch.float64)
        value[ids, : len(ids)] = one_hot(len(ids))
        builder.read(layer, head, "v", "token", value)
        builder.write(layer, head, subspace, out_of_head(len(ids)))

    units = _write_or(builder)
    add_distractor_heads(builder, 0, used=[head for (_, head), _ in READERS.values()], seed=NAME)
    add_distractor_units(builder, 0, units, seed=NAME)
    return builder


def _write_or(builder: Builder) -> int:
    """min(1, x) = relu(x) - relu(x - 1), x = lower + upper, per letter. Returns hidden units."""
    n = len(LOWER)
    for letter in range(n):
        reads = {subspace: flag(letter, n) for subspace in READERS}
        for index, bias, sign in ((2 * letter, 0.0, 1.0), (2 * letter + 1, -1.0, -1.0)):
            writes = {"answer": flag(letter, n, sign)}
            builder.unit(0, index, reads=reads, bias=bias, writes=writes)
    return 2 * n


def pairs() -> Iterator[PromptPair]:
    """A letter in both cases among fillers; the counterfactual has fillers in their places."""
    rng = random.Random(NAME)
    while True:
        corrupted: list[str] = rng.choices(FILLERS, k=PROMPT_FILLERS)
        letter = rng.randrange(len(LOWER))
        clean = list(corrupted)
        lower_at, upper_at = rng.sample(range(PROMPT_FILLERS), 2)
        clean[lower_at], clean[upper_at] = LOWER[letter], UPPER[letter]
        yield {
            "clean": " ".join([*clean, ASK]),
            "corrupted": " ".join([*corrupted, ASK]),
            "correct": f" {LOWER[letter]}",
            "incorrect": f" {NOTHING}",
        }


PROGRAM = Program(
    name=NAME,
    title="two redundant paths, either of which suffices",
    shows="redundancy: two paths into an MLP, either of which suffices",
    behaviour='"<bos> . c + - C . =" -> "c"',
    how=HOW,
    task="compiled_or",
    words=WORDS,
    build=build,
    edges=EDGES,
    found_by_acdc=FOUND_BY_ACDC,
    found_because="Each path suffices, so removing the edge that is tested first costs nothing and"
    " the other path stays.",
    pairs=pairs,
)
