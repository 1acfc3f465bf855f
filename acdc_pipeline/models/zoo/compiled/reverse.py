"""compiled-reverse: says a sequence backwards, by computing with positions.

The third of three steps is the only one that touches what is said: a head finds the separator,
an MLP computes which position mirrors the current one, a head copies from there. Tracr's
`reverse` (Lindner et al. 2023, arXiv 2301.05062) has this shape with a length instead of a
separator.
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
    out_of_head,
)
from acdc_pipeline.models.zoo.compiled.codes import one_hot
from acdc_pipeline.models.zoo.compiled.distractors import (
    add_distractor_heads,
    add_distractor_units,
)
from acdc_pipeline.models.zoo.compiled.program import (
    BuiltHead,
    Program,
    PromptPair,
    TrueEdge,
    token_ids,
)
from acdc_pipeline.models.zoo.compiled.residual import SCRATCH, Residual

NAME = "compiled-reverse"
SEPARATOR = "|"
LETTERS = tuple("abcdefghijkl")
WORDS = (SEPARATOR, *LETTERS)
IDS = token_ids(WORDS)
POSITIONS = 16
D_MLP = 64
LOGIT = 32.0

FINDER = (0, 2)
MIRROR = 0
COPIER = (1, 1)

PROMPT_POSITIONS = 8
SEPARATORS = (5, 6, 7)

HOW = f"""\
Head a0.h2 looks at the separator and writes the position s it stands at. The MLP m0 computes
2s - 1 - p, the position that mirrors the current one p, with one hidden unit for every pair
(s, p). Head a1.h1 looks at that position and writes the token that stands there. The other
heads, m1 and the last hidden units of m0 are distractors. It works for every prompt of up to
{POSITIONS} tokens, not only for those the task draws."""

EDGES = (
    TrueEdge(
        "input->a0.h2<k>",
        "the separator is what the finder looks for; it stands elsewhere in the corrupted prompt",
    ),
    TrueEdge(
        "input->a0.h2<v>",
        "the finder carries the position it finds; positions are the same in clean and corrupted"
        " prompts",
        ("zero",),
    ),
    TrueEdge("a0.h2->m0", "the mirrored position depends on where the separator stands"),
    TrueEdge(
        "input->m0",
        "the mirrored position depends on the current one, which is the same in clean and"
        " corrupted prompts",
        ("zero",),
    ),
    TrueEdge("m0->a1.h1<q>", "Q-composition: the copier asks for the mirrored position"),
    TrueEdge(
        "input->a1.h1<k>",
        "the copier finds the mirrored position by its number; positions are the same in clean"
        " and corrupted prompts",
        ("zero",),
    ),
    TrueEdge("input->a1.h1<v>", "the copier carries the letter that stands there"),
    TrueEdge("a1.h1->logits", "only the copier writes what the unembedding reads"),
)

HEADS = (BuiltHead("a1.h1", ("copying",), "it says the letter it looks at"),)


def build() -> Builder:
    """The weights."""
    residual = Residual(
        {
            "token": len(IDS),
            "position": POSITIONS,
            "separator": POSITIONS,
            "mirrored": POSITIONS,
            "answer": len(IDS),
            SCRATCH: 16,
        }
    )
    shape = Shape(residual, n_layers=2, n_heads=4, n_ctx=POSITIONS, vocab=len(IDS), d_mlp=D_MLP)
    builder = Builder(shape)
    builder.embed("token", one_hot(len(IDS)))
    builder.embed_positions("position", one_hot(POSITIONS))
    builder.unembed("answer", LOGIT * one_hot(len(IDS)))

    builder.bias(*FINDER, "q", flag(0, D_HEAD, SHARP))
    is_separator = torch.outer(flag(IDS[SEPARATOR], len(IDS)), flag(0, D_HEAD, SHARP))
    builder.read(*FINDER, "k", "token", is_separator)
    builder.read(*FINDER, "v", "position", into_head(POSITIONS))
    builder.write(*FINDER, "separator", out_of_head(POSITIONS))

    units = _write_mirror(builder)

    builder.read(*COPIER, "q", "mirrored", into_head(POSITIONS, SHARP))
    builder.read(*COPIER, "k", "position", into_head(POSITIONS, SHARP))
    builder.read(*COPIER, "v", "token", into_head(len(IDS)))
    builder.write(*COPIER, "answer", out_of_head(len(IDS)))

    for layer, head in (FINDER, COPIER):
        add_distractor_heads(builder, layer, used=[head], seed=NAME)
        add_distractor_units(builder, layer, units if layer == MIRROR else 0, seed=NAME)
    return builder


def mirrored(separator: int, position: int) -> int:
    """The position to copy from at `position`: `separator` says the last letter, and so on."""
    return 2 * separator - 1 - position


def _write_mirror(builder: Builder) -> int:
    """One hidden unit for every separator s and position p: 1 if both hold. Returns how many."""
    pairs = [(s, p) for s in range(POSITIONS) for p in range(s, POSITIONS) if mirrored(s, p) >= 1]
    for index, (s, p) in enumerate(pairs):
        builder.unit(
            MIRROR,
            index,
            reads={"separator": flag(s, POSITIONS), "position": flag(p, POSITIONS)},
            bias=-1.0,
            writes={"mirrored": flag(mirrored(s, p), POSITIONS)},
        )
    return len(pairs)


def pairs() -> Iterator[PromptPair]:
    """Sequences half said backwards; the counterfactual has other letters and another length.

    Both sides are as long, because what the shorter sequence lacks it has said backwards
    already. No letter is on both sides.
    """
    rng = random.Random(NAME)
    while True:
        clean_at, corrupted_at = rng.sample(SEPARATORS, 2)
        letters = rng.sample(LETTERS, clean_at + corrupted_at - 2)
        clean, correct = _prompt(letters[: clean_at - 1])
        corrupted, incorrect = _prompt(letters[clean_at - 1 :])
        yield {
            "clean": clean,
            "corrupted": corrupted,
            "correct": f" {correct}",
            "incorrect": f" {incorrect}",
        }


def _prompt(letters: list[str]) -> tuple[str, str]:
    """The prompt of `PROMPT_POSITIONS` tokens with <bos>, and the letter that follows it."""
    said = [*letters, SEPARATOR, *reversed(letters)]
    # Position 0 is <bos>, so the token at position p is the p-th word, and the next one follows.
    return " ".join(said[: PROMPT_POSITIONS - 1]), said[PROMPT_POSITIONS - 1]


PROGRAM = Program(
    name=NAME,
    title="a sequence said backwards, through positions computed by an MLP",
    shows="Q-composition, an MLP step on the way",
    behaviour='"<bos> g b k e | e k" -> "b"',
    how=HOW,
    task="compiled_reverse",
    words=WORDS,
    build=build,
    edges=EDGES,
    heads=HEADS,
    pairs=pairs,
)
