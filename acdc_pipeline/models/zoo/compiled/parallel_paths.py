"""Circuits with parallel paths: both needed (sum), redundant (or), one in reserve (backup).

With redundant paths, patching one edge at a time goes wrong: each path alone can go without any
loss, so a method that scores edges singly sees nothing in either, and ACDC keeps only one. The
backup is the redundancy of Wang et al. 2022 (arXiv 2211.00593, section 3.4, "Backup Name Mover
Heads") and of the Hydra effect (McGrath et al. 2023, arXiv 2307.15771): the second head is silent
while the first works, so it has no effect of its own in the whole model.
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

_EQUALS = "="

_DIGITS = 6
_SUMS = 2 * _DIGITS - 1
_PLUS = "+"
_SUM_WORDS = (*(str(number) for number in range(_SUMS)), _PLUS, _EQUALS)


def _build_sum() -> Builder:
    positions, ids = 8, token_ids(_SUM_WORDS)
    residual = Residual(
        {
            "digit": _DIGITS,
            "sign": 2,
            "position": positions,
            "left": _DIGITS,
            "right": _DIGITS,
            "answer": _SUMS,
            SCRATCH: 16,
        }
    )
    shape = Shape(residual, n_layers=1, n_heads=4, n_ctx=positions, vocab=len(ids), d_mlp=40)
    builder = Builder(shape)
    tokens = one_hot(len(ids))
    builder.embed("digit", tokens[:, [ids[str(digit)] for digit in range(_DIGITS)]])
    builder.embed("sign", tokens[:, [ids[_PLUS], ids[_EQUALS]]])
    builder.embed_positions("position", one_hot(positions))
    builder.unembed("answer", 32.0 * tokens[[ids[str(number)] for number in range(_SUMS)]])

    readers = {"left": ((0, 0), 1), "right": ((0, 3), 3)}
    for subspace, ((layer, head), position) in readers.items():
        builder.bias(layer, head, "q", flag(position, D_HEAD, SHARP))
        builder.read(layer, head, "k", "position", into_head(positions, SHARP))
        builder.carry(layer, head, "digit", subspace)
    # relu(2 (left + right) - 3) for every pair of digits: 1 if both hold. A head that attends
    # everywhere sees two of five digits, and what it writes stays below the bias.
    pairs = [(left, right) for left in range(_DIGITS) for right in range(_DIGITS)]
    for index, (left, right) in enumerate(pairs):
        builder.unit(
            0,
            index,
            reads={"left": flag(left, _DIGITS, 2.0), "right": flag(right, _DIGITS, 2.0)},
            bias=-3.0,
            writes={"answer": flag(left + right, _SUMS)},
        )
    used = [head for head, _ in readers.values()]
    add_distractors(builder, seed="compiled-sum", used_heads=used, used_units=[len(pairs)])
    return builder


def _draw_sum_pairs() -> Iterator[PromptPair]:
    """Draw two digits; the counterfactual has others, and another sum."""
    rng = random.Random("compiled-sum")
    while True:
        left, right, other_left, other_right = (rng.randrange(_DIGITS) for _ in range(4))
        if left == other_left or right == other_right or left + right == other_left + other_right:
            continue
        yield prompt_pair(
            [str(left), _PLUS, str(right), _EQUALS],
            [str(other_left), _PLUS, str(other_right), _EQUALS],
            str(left + right),
            str(other_left + other_right),
            ["left", "", "right"],
        )


_PLACE = (
    "the head finds its digit by position; positions are the same in clean and corrupted prompts"
)

SUM = Program(
    name="compiled-sum",
    title="two digits added, fetched by two heads and joined by an MLP",
    shows="parallel paths that are both needed: an and",
    behaviour='"<bos> 3 + 4 =" -> "7"',
    how=f"""\
Head a0.h0 looks at position 1 and writes the digit that stands there, a0.h3 at position 3. The
MLP m0 has one hidden unit for every pair of digits from 0 to {_DIGITS - 1}, which is 1 if both hold
and writes their sum. The other two heads and the last hidden units are distractors.""",
    task="compiled_sum",
    words=_SUM_WORDS,
    build=_build_sum,
    edges=(
        TrueEdge("input->a0.h0<k>", _PLACE, ("zero",)),
        TrueEdge("input->a0.h0<v>", "the head carries the left digit", at="left"),
        TrueEdge("a0.h0->m0", "the sum depends on the left digit", at="END"),
        TrueEdge("input->a0.h3<k>", _PLACE, ("zero",)),
        TrueEdge("input->a0.h3<v>", "the head carries the right digit", at="right"),
        TrueEdge("a0.h3->m0", "the sum depends on the right digit", at="END"),
        TrueEdge("m0->logits", "only the MLP writes what the unembedding reads", at="END"),
    ),
    pairs=_draw_sum_pairs,
)


_LOWER = tuple("abcdefghijkl")
_UPPER = tuple(letter.upper() for letter in _LOWER)
_FILLERS = (".", "-", "+")
_NOTHING = "?"
_OR_WORDS = (*_LOWER, *_UPPER, *_FILLERS, _EQUALS, _NOTHING)


def _build_or() -> Builder:
    n, positions, ids = len(_LOWER), 16, token_ids(_OR_WORDS)
    residual = Residual(
        {
            "token": len(ids),
            "position": positions,
            "said_lower": n,
            "said_upper": n,
            "answer": n,
            SCRATCH: 16,
        }
    )
    shape = Shape(residual, n_layers=1, n_heads=4, n_ctx=positions, vocab=len(ids), d_mlp=32)
    builder = Builder(shape)
    tokens = one_hot(len(ids))
    builder.embed("token", tokens)
    builder.embed_positions("position", one_hot(positions))
    builder.unembed("answer", 32.0 * tokens[[ids[letter] for letter in _LOWER]])
    # Half of what a letter gets: two letters at 1/8 each do not reach it, a single one at 1 does.
    builder.unembed_bias(ids[_NOTHING], 16.0)

    # Each head attends to letters of one case and writes into a subspace of its own.
    readers = {"said_lower": ((0, 1), _LOWER), "said_upper": ((0, 2), _UPPER)}
    for subspace, ((layer, head), letters) in readers.items():
        letter_ids = [ids[letter] for letter in letters]
        is_letter = tokens[:, letter_ids].sum(1)
        builder.bias(layer, head, "q", flag(0, D_HEAD, SHARP))
        builder.read(layer, head, "k", "token", torch.outer(is_letter, flag(0, D_HEAD, SHARP)))
        value = torch.zeros(len(ids), D_HEAD, dtype=torch.float64)
        value[letter_ids, :n] = one_hot(n)
        builder.read(layer, head, "v", "token", value)
        builder.write(layer, head, subspace, out_of_head(n))
    # min(1, x) = relu(x) - relu(x - 1) with x = lower + upper, for each letter.
    for letter in range(n):
        reads = {subspace: flag(letter, n) for subspace in readers}
        for index, bias, sign in ((2 * letter, 0.0, 1.0), (2 * letter + 1, -1.0, -1.0)):
            writes = {"answer": flag(letter, n, sign)}
            builder.unit(0, index, reads=reads, bias=bias, writes=writes)
    used = [head for head, _ in readers.values()]
    add_distractors(builder, seed="compiled-or", used_heads=used, used_units=[2 * n])
    return builder


def _draw_or_pairs() -> Iterator[PromptPair]:
    """Draw a letter in both cases among fillers; the counterfactual has fillers in their places."""
    rng = random.Random("compiled-or")
    while True:
        corrupted: list[str] = rng.choices(_FILLERS, k=6)
        letter = rng.randrange(len(_LOWER))
        clean = list(corrupted)
        lower_at, upper_at = rng.sample(range(6), 2)
        clean[lower_at], clean[upper_at] = _LOWER[letter], _UPPER[letter]
        spans = ["lower" if i == lower_at else "upper" if i == upper_at else "" for i in range(6)]
        sides = [*clean, _EQUALS], [*corrupted, _EQUALS]
        yield prompt_pair(*sides, _LOWER[letter], _NOTHING, spans)


_CASE = "letters of this case are what the head looks for; the corrupted prompt has none"
_FOUND = "the head carries which letter it found"

OR = Program(
    name="compiled-or",
    title="two redundant paths, either of which suffices",
    shows="redundancy: two paths into an MLP, either of which suffices",
    behaviour='"<bos> . c + - C . =" -> "c"',
    how="""\
The prompt says a letter twice: once in lower case, once in upper case, among fillers. Head a0.h1
looks at the lower-case letter, a0.h2 at the upper-case one; each writes which letter it is into
a subspace of its own. The MLP m0 computes min(1, lower + upper) for every letter, with two hidden
units each, and the unembedding reads that. Without any letter the answer is "?", through the bias
of the unembedding. The other two heads and the last hidden units are distractors.""",
    task="compiled_or",
    words=_OR_WORDS,
    build=_build_or,
    edges=(
        TrueEdge("input->a0.h1<k>", _CASE, path="lower case", at="lower"),
        TrueEdge("input->a0.h1<v>", _FOUND, path="lower case", at="lower"),
        TrueEdge(
            "a0.h1->m0",
            "the letter said in lower case is one input of the or",
            path="lower case",
            at="END",
        ),
        TrueEdge("input->a0.h2<k>", _CASE, path="upper case", at="upper"),
        TrueEdge("input->a0.h2<v>", _FOUND, path="upper case", at="upper"),
        TrueEdge(
            "a0.h2->m0",
            "the letter said in upper case is the other input of the or",
            path="upper case",
            at="END",
        ),
        TrueEdge("m0->logits", "only the MLP writes what the unembedding reads", at="END"),
    ),
    # ACDC starts at the logits and tests both inputs of m0 before anything below them. The first
    # one is removed without loss, as the other still makes min(1, 1) = 1, and the other then has
    # to stay. What leads to the removed head is not tested at all.
    found_by_acdc={
        "reverse-heads": ("input->a0.h1<k>", "input->a0.h1<v>", "a0.h1->m0", "m0->logits"),
        "natural": ("input->a0.h2<k>", "input->a0.h2<v>", "a0.h2->m0", "m0->logits"),
    },
    found_because="Each path suffices, so removing the edge that is tested first costs nothing and"
    " the other path stays.",
    pairs=_draw_or_pairs,
)


_BACKUP_WORDS = (*_LOWER, *_FILLERS, _EQUALS, _NOTHING)


def _build_backup() -> Builder:
    main, backup, n, ids = (0, 1), (1, 2), len(_LOWER), token_ids(_BACKUP_WORDS)
    residual = Residual({"letter": n, "is_bos": 1, "filler": 4, "answer": n, SCRATCH: 16})
    builder = Builder(Shape(residual, n_layers=2, n_heads=4, n_ctx=8, vocab=len(ids)))
    tokens = one_hot(len(ids))
    letters = tokens[:, [ids[letter] for letter in _LOWER]]
    builder.embed("letter", letters)
    builder.embed("is_bos", tokens[:, :1])
    builder.embed("filler", tokens[:, [ids[word] for word in (*_FILLERS, _EQUALS)]])
    builder.unembed("answer", 64.0 * letters.T)
    # Half of what a letter gets.
    builder.unembed_bias(ids[_NOTHING], 32.0)

    every_letter = torch.ones(n, 1, dtype=torch.float64)
    for layer, head in (main, backup):
        # Letters score 64 and <bos> 32, so the head attends to <bos> if there is no letter.
        builder.bias(layer, head, "q", flag(0, D_HEAD, SHARP) + flag(1, D_HEAD, SHARP))
        builder.read(layer, head, "k", "letter", every_letter * flag(0, D_HEAD, SHARP))
        builder.read(layer, head, "k", "is_bos", flag(1, D_HEAD, SHARP / 2)[None])
        builder.carry(layer, head, "letter", "answer")
    # Once the answer holds a letter, letters score -64.
    builder.read(*backup, "q", "answer", every_letter * flag(0, D_HEAD, -2 * SHARP))
    add_distractors(builder, seed="compiled-backup", used_heads=(main, backup))
    return builder


def _draw_backup_pairs() -> Iterator[PromptPair]:
    """Draw a letter among fillers; the counterfactual has a filler in its place."""
    rng = random.Random("compiled-backup")
    while True:
        corrupted: list[str] = rng.choices(_FILLERS, k=5)
        letter = rng.choice(_LOWER)
        clean = list(corrupted)
        at = rng.randrange(5)
        clean[at] = letter
        spans = ["letter" if i == at else "" for i in range(5)]
        yield prompt_pair([*clean, _EQUALS], [*corrupted, _EQUALS], letter, _NOTHING, spans)


_LETTER = "letters are what the head looks for; the corrupted prompt has none"

# At the logits the backup is tested before the main head, whatever the order inside a layer. It
# is silent and is removed without loss; the main head then has no replacement and stays.
_MAIN_PATH = ("input->a0.h1<k>", "input->a0.h1<v>", "a0.h1->logits")

BACKUP = Program(
    name="compiled-backup",
    title="a head that stands in for another one",
    shows="redundancy: a backup that is silent while the main head works",
    behaviour='"<bos> . c + - . =" -> "c"',
    how="""\
A letter stands among fillers. Head a0.h1 looks at the letter and says it. Head a1.h2 would do the
same, but its query reads what a0.h1 said: if that is a letter, the query is turned around and the
head looks at <bos>, where there is nothing to say. The edge that silences it, a0.h1->a1.h2<q>, is
not one the answer needs: without it both heads say the letter. Without any letter the answer is
"?", through the bias of the unembedding. The other heads are distractors.""",
    task="compiled_backup",
    words=_BACKUP_WORDS,
    build=_build_backup,
    edges=(
        TrueEdge("input->a0.h1<k>", _LETTER, path="main", at="letter"),
        TrueEdge(
            "input->a0.h1<v>", "the head carries the letter it finds", path="main", at="letter"
        ),
        TrueEdge(
            "a0.h1->logits",
            "the main head says the letter; while the backup still hears it through its query, it"
            " stays silent, so this edge has no stand-in",
            path="main",
            at="END",
        ),
        TrueEdge("input->a1.h2<k>", _LETTER, path="backup", at="letter"),
        TrueEdge(
            "input->a1.h2<v>", "the head carries the letter it finds", path="backup", at="letter"
        ),
        TrueEdge(
            "a1.h2->logits",
            "the backup says the letter when the main head does not",
            path="backup",
            at="END",
        ),
    ),
    heads=(
        BuiltHead("a0.h1", ("copying",), "it says the letter it looks at"),
        BuiltHead(
            "a1.h2",
            ("copying", "backup", "sink"),
            "it stands in for a0.h1, whose output turns its query to <bos>; without any letter"
            " there is nothing else to look at",
        ),
    ),
    found_by_acdc={"reverse-heads": _MAIN_PATH, "natural": _MAIN_PATH},
    found_because="In the whole model the backup is silent, so its edge to the logits goes without"
    " loss, and with it all that leads to the backup; the main head has no stand-in then.",
    pairs=_draw_backup_pairs,
)
