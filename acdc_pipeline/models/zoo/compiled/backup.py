"""compiled-backup: a head that does another's work when that one has said nothing.

The redundancy of Wang et al. 2022 (arXiv 2211.00593, section 3.4, "Backup Name Mover Heads") and
of the Hydra effect (McGrath et al. 2023, arXiv 2307.15771): unlike the two paths of an or, the
second is silent while the first works, so it has no effect of its own in the whole model.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch

from acdc_pipeline.models.zoo.compiled.builder import D_HEAD, SHARP, Builder, Shape, flag
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
from acdc_pipeline.specs.names import HeadOrder

NAME = "compiled-backup"
LETTERS = tuple("abcdefghijkl")
FILLERS = (".", "-", "+")
ASK = "="
NOTHING = "?"
WORDS = (*LETTERS, *FILLERS, ASK, NOTHING)
IDS = token_ids(WORDS)
POSITIONS = 8
LOGIT = 64.0

MAIN = (0, 1)
BACKUP = (1, 2)

PROMPT_FILLERS = 5

HOW = """\
A letter stands among fillers. Head a0.h1 looks at the letter and says it. Head a1.h2 would do the
same, but its query reads what a0.h1 said: if that is a letter, the query is turned around and the
head looks at <bos>, where there is nothing to say. The edge that silences it, a0.h1->a1.h2<q>, is
not one the answer needs: without it both heads say the letter. Without any letter the answer is
"?", through the bias of the unembedding. The other heads are distractors."""

_KEY = "letters are what the head looks for; the corrupted prompt has none"

EDGES = (
    TrueEdge("input->a0.h1<k>", _KEY, path="main"),
    TrueEdge("input->a0.h1<v>", "the head carries the letter it finds", path="main"),
    TrueEdge(
        "a0.h1->logits",
        "the main head says the letter; while the backup still hears it through its query, it"
        " stays silent, so this edge has no stand-in",
        path="main",
    ),
    TrueEdge("input->a1.h2<k>", _KEY, path="backup"),
    TrueEdge("input->a1.h2<v>", "the head carries the letter it finds", path="backup"),
    TrueEdge(
        "a1.h2->logits", "the backup says the letter when the main head does not", path="backup"
    ),
)

HEADS = (
    BuiltHead("a0.h1", ("copying",), "it says the letter it looks at"),
    BuiltHead(
        "a1.h2",
        ("copying", "backup", "sink"),
        "it stands in for a0.h1, whose output turns its query to <bos>; without any letter there"
        " is nothing else to look at",
    ),
)

# At the logits the backup is tested before the main head, whatever the order inside a layer. It
# is silent, so nothing is lost with it; the main head has to stay, and has no stand-in from then
# on.
_MAIN_PATH = tuple(edge.edge for edge in EDGES if edge.path == "main")
FOUND_BY_ACDC: dict[HeadOrder, tuple[str, ...]] = {
    "reverse-heads": _MAIN_PATH,
    "natural": _MAIN_PATH,
}


def build() -> Builder:
    """The weights."""
    n = len(LETTERS)
    residual = Residual({"letter": n, "is_bos": 1, "filler": 4, "answer": n, SCRATCH: 16})
    builder = Builder(Shape(residual, n_layers=2, n_heads=4, n_ctx=POSITIONS, vocab=len(IDS)))
    tokens = one_hot(len(IDS))
    letters = tokens[:, [IDS[letter] for letter in LETTERS]]
    builder.embed("letter", letters)
    builder.embed("is_bos", tokens[:, :1])
    builder.embed("filler", tokens[:, [IDS[word] for word in (*FILLERS, ASK)]])
    builder.unembed("answer", LOGIT * letters.T)
    # Half of what a letter gets.
    builder.unembed_bias(IDS[NOTHING], LOGIT / 2)

    every_letter = torch.ones(n, 1, dtype=torch.float64)
    for layer, head in (MAIN, BACKUP):
        # Letters score 64 and <bos> 32, so the head looks at <bos> where there is no letter.
        builder.bias(layer, head, "q", flag(0, D_HEAD, SHARP) + flag(1, D_HEAD, SHARP))
        builder.read(layer, head, "k", "letter", every_letter * flag(0, D_HEAD, SHARP))
        builder.read(layer, head, "k", "is_bos", flag(1, D_HEAD, SHARP / 2)[None])
        builder.carry(layer, head, "letter", "answer")
    # Once a letter is said, letters score -64.
    builder.read(*BACKUP, "q", "answer", every_letter * flag(0, D_HEAD, -2 * SHARP))

    for layer, head in (MAIN, BACKUP):
        add_distractor_heads(builder, layer, used=[head], seed=NAME)
    return builder


def pairs() -> Iterator[PromptPair]:
    """A letter among fillers; the counterfactual has a filler in its place."""
    rng = random.Random(NAME)
    while True:
        corrupted: list[str] = rng.choices(FILLERS, k=PROMPT_FILLERS)
        letter = rng.choice(LETTERS)
        clean = list(corrupted)
        clean[rng.randrange(PROMPT_FILLERS)] = letter
        yield {
            "clean": " ".join([*clean, ASK]),
            "corrupted": " ".join([*corrupted, ASK]),
            "correct": f" {letter}",
            "incorrect": f" {NOTHING}",
        }


PROGRAM = Program(
    name=NAME,
    title="a head that stands in for another one",
    shows="redundancy: a backup that is silent while the main head works",
    behaviour='"<bos> . c + - . =" -> "c"',
    how=HOW,
    task="compiled_backup",
    words=WORDS,
    build=build,
    edges=EDGES,
    heads=HEADS,
    found_by_acdc=FOUND_BY_ACDC,
    found_because="In the whole model the backup is silent, so its edge to the logits goes without"
    " loss, and with it all that leads to the backup; the main head has no stand-in then.",
    pairs=pairs,
)
