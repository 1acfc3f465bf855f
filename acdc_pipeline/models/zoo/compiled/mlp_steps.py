"""Circuits in which MLPs compute: a successor, a majority, and a sequence in reverse.

Counting by a uniform head and computing with positions follow Tracr's `frac_prevs` and `reverse`
(Lindner et al. 2023, arXiv 2301.05062). The successor has no head in its circuit: what a method
finds among the heads there is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch

from acdc_pipeline.models.zoo.compiled.builder import (
    D_HEAD,
    SCRATCH,
    SHARP,
    Builder,
    Residual,
    Shape,
    flag,
    into_head,
    one_hot,
    out_of_head,
)
from acdc_pipeline.models.zoo.compiled.components import add_distractors
from acdc_pipeline.models.zoo.compiled.program import (
    BuiltHead,
    Program,
    PromptPair,
    TrueEdge,
    prompt_pair,
    token_ids,
)

LOGIT = 32.0
POSITIONS = 16
LETTERS = tuple("abcdefghijkl")


def _build_successor() -> Builder:
    n, ids = len(LETTERS), token_ids(LETTERS)
    residual = Residual({"letter": n, "is_bos": 1, "next": n, "answer": n, SCRATCH: 16})
    shape = Shape(residual, n_layers=2, n_heads=4, n_ctx=POSITIONS, vocab=len(ids), d_mlp=16)
    builder = Builder(shape)
    tokens = one_hot(len(ids))
    letters = tokens[:, [ids[letter] for letter in LETTERS]]
    builder.embed("letter", letters)
    builder.embed("is_bos", tokens[:, :1])
    builder.unembed("answer", LOGIT * letters.T)
    for layer, (reads, writes) in enumerate((("letter", "next"), ("next", "answer"))):
        for letter in range(n):
            builder.unit(
                layer,
                letter,
                reads={reads: flag(letter, n)},
                bias=0.0,
                writes={writes: flag((letter + 1) % n, n)},
            )
    add_distractors(builder, seed="compiled-successor", used_heads=(), used_units=(n, n))
    return builder


def _draw_successor_pairs() -> Iterator[PromptPair]:
    """Draw five letters, of which only the last counts; the counterfactual ends in another one."""
    rng = random.Random("compiled-successor")
    while True:
        clean, corrupted = rng.choices(LETTERS, k=5), rng.choices(LETTERS, k=5)
        if clean[-1] != corrupted[-1]:
            correct, incorrect = (
                LETTERS[(LETTERS.index(letter) + 2) % len(LETTERS)]
                for letter in (clean[-1], corrupted[-1])
            )
            yield prompt_pair(clean, corrupted, correct, incorrect, ["before"] * 4)


SUCCESSOR = Program(
    name="compiled-successor",
    title="the letter two after the last one, by two MLPs in a row",
    shows="two MLP steps, no head",
    behaviour='"<bos> e b k a c" -> "e"',
    how="""\
The MLP m0 has one hidden unit for every letter, which writes the letter after it; "a" comes after
"l". The MLP m1 does the same with what m0 wrote, and says it. Every head and the last hidden units
are distractors, and so are the letters before the last.""",
    task="compiled_successor",
    words=LETTERS,
    build=_build_successor,
    edges=(
        TrueEdge("input->m0", "the first step starts from the last letter", at="END"),
        TrueEdge("m0->m1", "the second step starts from what the first one wrote", at="END"),
        TrueEdge("m1->logits", "only the second MLP writes what the unembedding reads", at="END"),
    ),
    pairs=_draw_successor_pairs,
)


def _build_majority() -> Builder:
    counter, ids = (0, 2), token_ids(("a", "b"))
    residual = Residual({"letter": 1, "is_bos": 1, "balance": 1, "answer": 2, SCRATCH: 16})
    shape = Shape(residual, n_layers=1, n_heads=4, n_ctx=POSITIONS, vocab=len(ids), d_mlp=8)
    builder = Builder(shape)
    tokens = one_hot(len(ids))
    first, second = (tokens[:, [ids[letter]]] for letter in "ab")
    builder.embed("letter", first - second)
    builder.embed("is_bos", tokens[:, :1])
    builder.unembed("answer", LOGIT * torch.cat([first, second], dim=1).T)
    builder.carry(*counter, "letter", "balance")
    # min(1, max(0, x)) = relu(x) - relu(x - 1) with x = ±16 * balance, for each letter.
    for letter, side in enumerate((float(POSITIONS), -float(POSITIONS))):
        for index, bias, sign in ((2 * letter, 0.0, 1.0), (2 * letter + 1, -1.0, -1.0)):
            builder.unit(
                0,
                index,
                reads={"balance": flag(0, 1, side)},
                bias=bias,
                writes={"answer": flag(letter, 2, sign)},
            )
    add_distractors(builder, seed="compiled-majority", used_heads=[counter], used_units=[4])
    return builder


def _draw_majority_pairs() -> Iterator[PromptPair]:
    """Draw seven letters; the counterfactual has the other letter in the majority."""
    rng = random.Random("compiled-majority")
    while True:
        clean, corrupted = ([rng.choice("ab") for _ in range(7)] for _ in range(2))
        correct, incorrect = (max("ab", key=letters.count) for letters in (clean, corrupted))
        if correct != incorrect:
            spans = ["majority" if letter == correct else "minority" for letter in clean[:-1]]
            yield prompt_pair(clean, corrupted, correct, incorrect, spans)


MAJORITY = Program(
    name="compiled-majority",
    title="the letter said more often, by counting without positions",
    shows="counting by a uniform head, a decision by an MLP, no positions",
    behaviour='"<bos> a b b a b b a" -> "b"',
    how=f"""\
Head a0.h2 looks everywhere alike and writes the balance: the share of "a" less the share of "b".
The MLP m0 has two hidden units for each letter, which write 1 for it if the balance is on its side
by 1/{POSITIONS} or more, a lead of one letter among {POSITIONS} tokens. Nothing in the model knows
a position. The other heads and the last hidden units are distractors.""",
    task="compiled_majority",
    words=("a", "b"),
    build=_build_majority,
    edges=(
        TrueEdge(
            "input->a0.h2<v>",
            "the counter takes the mean of what the letters are",
            at="majority END",
        ),
        TrueEdge("a0.h2->m0", "the decision depends on the balance", at="END"),
        TrueEdge("m0->logits", "only the MLP writes what the unembedding reads", at="END"),
    ),
    heads=(BuiltHead("a0.h2", ("uniform",), "its queries and keys are zero"),),
    pairs=_draw_majority_pairs,
)


_SEPARATOR = "|"
_REVERSE_WORDS = (_SEPARATOR, *LETTERS)


def _build_reverse() -> Builder:
    finder, copier, ids = (0, 2), (1, 1), token_ids(_REVERSE_WORDS)
    n = len(ids)
    residual = Residual(
        {
            "token": n,
            "position": POSITIONS,
            "separator": POSITIONS,
            "mirrored": POSITIONS,
            "answer": n,
            SCRATCH: 16,
        }
    )
    shape = Shape(residual, n_layers=2, n_heads=4, n_ctx=POSITIONS, vocab=n, d_mlp=64)
    builder = Builder(shape)
    builder.embed("token", one_hot(n))
    builder.embed_positions("position", one_hot(POSITIONS))
    builder.unembed("answer", LOGIT * one_hot(n))

    builder.bias(*finder, "q", flag(0, D_HEAD, SHARP))
    is_separator = torch.outer(flag(ids[_SEPARATOR], n), flag(0, D_HEAD, SHARP))
    builder.read(*finder, "k", "token", is_separator)
    builder.read(*finder, "v", "position", into_head(POSITIONS))
    builder.write(*finder, "separator", out_of_head(POSITIONS))

    units = _write_mirror(builder)

    builder.read(*copier, "q", "mirrored", into_head(POSITIONS, SHARP))
    builder.read(*copier, "k", "position", into_head(POSITIONS, SHARP))
    builder.read(*copier, "v", "token", into_head(n))
    builder.write(*copier, "answer", out_of_head(n))
    add_distractors(
        builder, seed="compiled-reverse", used_heads=(finder, copier), used_units=(units, 0)
    )
    return builder


def _write_mirror(builder: Builder) -> int:
    """Write one hidden unit for every separator s and position p, active if both hold.

    The position to copy from is 2s - 1 - p: the last letter at s, and so on backwards.

    Returns:
        The number of hidden units.
    """
    index = 0
    for s in range(POSITIONS):
        for p in range(s, POSITIONS):
            mirrored = 2 * s - 1 - p
            if mirrored >= 1:
                builder.unit(
                    0,
                    index,
                    reads={"separator": flag(s, POSITIONS), "position": flag(p, POSITIONS)},
                    bias=-1.0,
                    writes={"mirrored": flag(mirrored, POSITIONS)},
                )
                index += 1
    return index


def _draw_reverse_pairs() -> Iterator[PromptPair]:
    """Draw sequences partly reversed; the counterfactual has other letters and another length.

    Both prompts have the same length: the shorter sequence is reversed further. No letter is in
    both.
    """
    rng = random.Random("compiled-reverse")
    while True:
        clean_at, corrupted_at = rng.sample((5, 6, 7), 2)
        letters = rng.sample(LETTERS, clean_at + corrupted_at - 2)
        clean, corrupted = (
            [*side, _SEPARATOR, *reversed(side)]
            for side in (letters[: clean_at - 1], letters[clean_at - 1 :])
        )
        # Position 0 is <bos>, so seven words fill eight positions, and the next one follows.
        letters = ["target" if letter == clean[7] else "letters" for letter in clean]
        spans = [*letters[: clean_at - 1], "separator", *["said"] * 3][:6]
        yield prompt_pair(clean[:7], corrupted[:7], clean[7], corrupted[7], spans)


REVERSE = Program(
    name="compiled-reverse",
    title="a sequence said backwards, through positions computed by an MLP",
    shows="Q-composition, an MLP step on the way",
    behaviour='"<bos> g b k e | e k" -> "b"',
    how=f"""\
Head a0.h2 looks at the separator and writes the position s it stands at. The MLP m0 computes
2s - 1 - p, the position that mirrors the current one p, with one hidden unit for every pair
(s, p). Head a1.h1 looks at that position and writes the token that stands there. The other
heads, m1 and the last hidden units of m0 are distractors. It works for every prompt of up to
{POSITIONS} tokens, not only for those the task draws.""",
    task="compiled_reverse",
    words=_REVERSE_WORDS,
    build=_build_reverse,
    edges=(
        TrueEdge(
            "input->a0.h2<k>",
            "the separator is what the finder looks for; it stands elsewhere in the corrupted"
            " prompt",
            at="letters target separator said END",
        ),
        TrueEdge(
            "input->a0.h2<v>",
            "the finder carries the position it finds; positions are the same in clean and"
            " corrupted prompts",
            ("zero",),
        ),
        TrueEdge(
            "a0.h2->m0", "the mirrored position depends on where the separator stands", at="END"
        ),
        TrueEdge(
            "input->m0",
            "the mirrored position depends on the current one, which is the same in clean and"
            " corrupted prompts",
            ("zero",),
        ),
        TrueEdge(
            "m0->a1.h1<q>", "Q-composition: the copier asks for the mirrored position", at="END"
        ),
        TrueEdge(
            "input->a1.h1<k>",
            "the copier finds the mirrored position by its number; positions are the same in clean"
            " and corrupted prompts",
            ("zero",),
        ),
        TrueEdge("input->a1.h1<v>", "the copier carries the letter that stands there", at="target"),
        TrueEdge("a1.h1->logits", "only the copier writes what the unembedding reads", at="END"),
    ),
    heads=(BuiltHead("a1.h1", ("copying",), "it says the letter it looks at"),),
    pairs=_draw_reverse_pairs,
)
