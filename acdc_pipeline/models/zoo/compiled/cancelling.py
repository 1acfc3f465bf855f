"""Two effects of opposite sign at different tokens, which cancel in a graph without positions.

Removed at all tokens together, the edge that carries them changes nothing, so a search over
components drops it; removed at either token alone, it changes the answer. Haklay et al. 2025
(arXiv 2502.04577, section 3.1) report such cancellation in GPT-2 small.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from acdc_pipeline.models.zoo.compiled.builder import (
    D_HEAD,
    SCRATCH,
    Builder,
    Residual,
    Shape,
    flag,
    one_hot,
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

_LETTERS = tuple("abcdefgh")
_MOVES = ("+", "-")
_FILLERS = (".", ":")
_EQUALS = "="
_WORDS = (*_LETTERS, *_MOVES, *_FILLERS, _EQUALS)
_POSITIONS = 8
_FURTHEST = 2


def _build() -> Builder:
    collector, n, ids = (1, 2), len(_LETTERS), token_ids(_WORDS)
    residual = Residual(
        {"letter": n, "is_bos": 1, "move": 2, "filler": 3, "step": 1, "start": n, "distance": 1}
        | {"answer": n, SCRATCH: 16}
    )
    shape = Shape(residual, n_layers=2, n_heads=4, n_ctx=_POSITIONS, vocab=len(ids), d_mlp=80)
    builder = Builder(shape)
    tokens = one_hot(len(ids))
    letters = tokens[:, [ids[letter] for letter in _LETTERS]]
    builder.embed("letter", letters)
    builder.embed("is_bos", tokens[:, :1])
    builder.embed("move", tokens[:, [ids[move] for move in _MOVES]])
    builder.embed("filler", tokens[:, [ids[word] for word in (*_FILLERS, _EQUALS)]])
    builder.unembed("answer", 32.0 * letters.T)

    for index, sign in enumerate((1.0, -1.0)):
        reads, writes = {"move": flag(index, 2)}, {"step": flag(0, 1, sign)}
        builder.unit(0, index, reads=reads, bias=0.0, writes=writes)
    # Equal attention gives each of 8 tokens a weight of 1/8. The steps have the coordinate of the
    # head after those of the letters.
    n_tokens = float(_POSITIONS)
    builder.carry(*collector, "letter", "start", scale=n_tokens)
    builder.read(*collector, "v", "step", flag(n, D_HEAD)[None])
    builder.write(*collector, "distance", flag(n, D_HEAD, n_tokens)[:, None])
    units = _write_walk(builder)
    add_distractors(
        builder, seed="compiled-cancel", used_heads=[collector], used_units=(len(_MOVES), units)
    )
    return builder


def _write_walk(builder: Builder) -> int:
    """Write hidden units that say the letter as far from `start` as `distance` says.

    For a start i and a step from distance t - 1/2 to t + 1/2, relu(4 (d - t) + 1/2) minus
    relu(4 (d - t) - 1/2) is 1 if the distance d is beyond t, and 0 before it; it moves the answer
    on by one letter. Without the start both are 0, as 32 (start - 1) is below all they can reach.

    Returns:
        The number of hidden units.
    """
    n, index = len(_LETTERS), 0
    gate, slope = 32.0, 4.0
    for letter in range(n):
        start = {"start": flag(letter, n, gate)}
        first = flag((letter - _FURTHEST) % n, n)
        builder.unit(1, index, reads=start, bias=1.0 - gate, writes={"answer": first})
        index += 1
        for step in range(-_FURTHEST, _FURTHEST):
            further = flag((letter + step + 1) % n, n) - flag((letter + step) % n, n)
            middle = -slope * (step + 0.5) - gate
            for bias, sign in ((middle + 0.5, 1.0), (middle - 0.5, -1.0)):
                reads = start | {"distance": flag(0, 1, slope)}
                builder.unit(1, index, reads=reads, bias=bias, writes={"answer": sign * further})
                index += 1
    return index


def _draw_pairs() -> Iterator[PromptPair]:
    """Draw a letter and two moves that cancel; the counterfactual has them the other way round.

    It starts at another letter, more than two steps away.
    """
    rng = random.Random("compiled-cancel")
    while True:
        start, other = rng.sample(range(len(_LETTERS)), 2)
        if (start - other) % len(_LETTERS) not in range(3, 6):
            continue
        clean: list[str] = rng.choices(_FILLERS, k=6)
        corrupted, spans = list(clean), [""] * 6
        at, *moved = rng.sample(range(6), 3)
        clean[at], corrupted[at], spans[at] = _LETTERS[start], _LETTERS[other], "start"
        moves = rng.sample(_MOVES, 2)
        for place, name, move, opposite in zip(
            sorted(moved), ("move1", "move2"), moves, reversed(moves), strict=True
        ):
            clean[place], corrupted[place], spans[place] = move, opposite, name
        sides = [*clean, _EQUALS], [*corrupted, _EQUALS]
        yield prompt_pair(*sides, _LETTERS[start], _LETTERS[other], spans)


_STEP = "each move is a step, forth or back; the corrupted prompt has them the other way round"

CANCEL = Program(
    name="compiled-cancel",
    title="a letter, and two steps away from it that cancel",
    shows="cancellation: two effects of opposite sign at different tokens",
    behaviour='"<bos> . c + : - . =" -> "c"',
    how="""\
The letters a to h stand in a ring. The prompt says one of them, a step forth, "+", and a step back,
"-", among fillers; the answer is where that leads, which is the same letter. The MLP m0 writes +1
at "+" and -1 at "-". Head a1.h2 looks everywhere alike and writes the letter, and the sum of the
steps. The MLP m1 goes from that letter as far as the sum says, up to two steps in either direction.
The corrupted prompt has another letter, and both steps the other way round: their sum is 0 on both
sides. Taken from there at one token, a step makes the answer wrong by two letters; taken from there
at both, it changes nothing. So no edge of m0 is true in the graph without positions. With the spans
`move1` and `move2` of the task those two edges are, each at both. The other heads and the last
hidden units are distractors.""",
    task="compiled_cancel",
    words=_WORDS,
    build=_build,
    edges=(
        TrueEdge("input->m0", _STEP, (), at="move1 move2"),
        TrueEdge(
            "m0->a1.h2<v>", "the collector adds the steps up; both are 0", (), at="move1 move2"
        ),
        TrueEdge("input->a1.h2<v>", "the collector carries the letter", at="start"),
        TrueEdge("a1.h2->m1", "the walk starts at the letter", at="END"),
        TrueEdge("m1->logits", "only the MLP writes what the unembedding reads", at="END"),
    ),
    heads=(BuiltHead("a1.h2", ("uniform",), "its queries and keys are zero"),),
    pairs=_draw_pairs,
)
