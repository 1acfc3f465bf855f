"""Circuits of one head: a gallery of heads with known scores, and a head that sorts.

Six heads of the gallery have closed-form scores; only one of them writes what the unembedding
reads. The sorting head uses its queries and keys as a table over pairs of tokens, so all three of
its slots decide.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

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
from acdc_pipeline.models.zoo.compiled.components import (
    TOKEN_WIDTH,
    WORDS,
    add_distractors,
    add_duplicate_token_head,
    add_previous_token_head,
    add_reading_head,
    duplicate_token_head,
    embed_places,
    neighbour_widths,
    place_widths,
    previous_token_edges,
    start_word_model,
)
from acdc_pipeline.models.zoo.compiled.program import (
    BuiltHead,
    Program,
    PromptPair,
    TrueEdge,
    prompt_pair,
    token_ids,
)


def _build_gallery() -> Builder:
    positions = 128
    idle, uniform, sink, previous, duplicate, current = used = [(0, head) for head in range(6)]
    builder = start_word_model(
        words=WORDS,
        subspaces=neighbour_widths(positions) | place_widths(positions),
        n_layers=1,
        n_heads=8,
        n_ctx=positions,
        scratch=TOKEN_WIDTH,
    )
    embed_places(builder)
    add_reading_head(builder, *idle, seed="compiled-gallery")
    builder.carry(*uniform, "token", SCRATCH)
    builder.bias(*sink, "q", flag(0, D_HEAD, SHARP))
    builder.read(*sink, "k", "is_bos", flag(0, D_HEAD, SHARP)[None])
    # <bos> has no code, so the sink copies the fact that it is <bos>.
    builder.read(*sink, "v", "is_bos", flag(0, D_HEAD)[None])
    builder.write(*sink, SCRATCH, flag(0, D_HEAD)[:, None] * flag(0, TOKEN_WIDTH))
    add_previous_token_head(builder, *previous, reads="token", writes="answer")
    add_duplicate_token_head(builder, *duplicate, code="token", reads="token", writes=SCRATCH)
    for slot in ("q", "k"):
        width = builder.shape.residual.widths["position"]
        builder.read(*current, slot, "position", into_head(width, SHARP))
    builder.carry(*current, "token", SCRATCH)
    add_distractors(builder, seed="compiled-gallery", used_heads=used)
    return builder


GALLERY = Program(
    name="compiled-gallery",
    title="one head says the token before the last, five others are there to be scored",
    shows="one head among busy ones; per-head scores with closed-form values",
    behaviour='"<bos> be ki da lo fu" -> "lo"',
    how="""\
Head a0.h3 looks one position back and says the token it finds there. Nothing else reaches the
logits: a0.h1 looks everywhere alike, a0.h2 at <bos>, a0.h4 at the earlier place of the current
token, a0.h5 at the current token, and each writes what it finds where nobody reads it; a0.h0 reads
everything and writes nothing; a0.h6 and a0.h7 are distractors.""",
    task="compiled_gallery",
    words=WORDS,
    build=_build_gallery,
    edges=(
        *previous_token_edges("a0.h3"),
        TrueEdge("input->a0.h3<v>", "the previous-token head carries the token it finds", at="D"),
        TrueEdge(
            "a0.h3->logits",
            "only the previous-token head writes what the unembedding reads",
            at="END",
        ),
    ),
    heads=(
        BuiltHead("a0.h0", ("idle",), "its output matrix is zero"),
        BuiltHead("a0.h1", ("uniform",), "its queries and keys are zero"),
        BuiltHead("a0.h2", ("sink",), "its queries ask for <bos>, whatever the token"),
        BuiltHead(
            "a0.h3", ("previous-token", "copying"), "it compares positions, and says what it finds"
        ),
        duplicate_token_head("a0.h4"),
        BuiltHead("a0.h5", ("current-token",), "it looks for its own position"),
    ),
)


_DIGITS = 10
_EQUALS = "="
_SORT_WORDS = (*(str(digit) for digit in range(_DIGITS)), _EQUALS)


def _build_sort() -> Builder:
    sorter, symbols, ids = (0, 2), _DIGITS + 1, token_ids(_SORT_WORDS)
    residual = Residual({"symbol": symbols, "is_bos": 1, "answer": _DIGITS, SCRATCH: 16})
    builder = Builder(Shape(residual, n_layers=1, n_heads=4, n_ctx=16, vocab=len(ids)))
    tokens = one_hot(len(ids))
    digits = [ids[str(digit)] for digit in range(_DIGITS)]
    builder.embed("symbol", tokens[:, [*digits, ids[_EQUALS]]])
    builder.embed("is_bos", tokens[:, :1])
    builder.unembed("answer", 32.0 * tokens[digits])

    builder.read(*sorter, "q", "symbol", into_head(symbols, SHARP))
    builder.read(*sorter, "k", "symbol", _sorting_keys(symbols))
    # For every query, <bos> scores half of what the largest digit would.
    everything = torch.ones(symbols, dtype=torch.float64) @ into_head(symbols, SHARP / 2)
    builder.read(*sorter, "k", "is_bos", everything[None])
    builder.read(*sorter, "v", "symbol", into_head(symbols))
    builder.write(*sorter, "answer", out_of_head(_DIGITS))
    add_distractors(builder, seed="compiled-sort", used_heads=[sorter])
    return builder


def _sorting_keys(symbols: int) -> Float[Tensor, "width d_head"]:
    """Return the key of each symbol: larger for smaller digits, for queries below the digit."""
    table = torch.zeros(symbols, D_HEAD, dtype=torch.float64)
    for digit in range(_DIGITS):
        for current in (*range(digit), symbols - 1):
            table[digit] += flag(current, D_HEAD, SHARP * (_DIGITS - digit))
    return table


def _draw_sort_pairs() -> Iterator[PromptPair]:
    """Draw a list and a part of it in order; the counterfactual is another list.

    Whatever a single slot of the head takes from the counterfactual leads to another number.
    """
    rng = random.Random("compiled-sort")
    while True:
        clean, corrupted = _draw_list(rng), _draw_list(rng)
        answer = clean[find_next(clean[-1], clean)]
        single_slots = {
            clean[find_next(corrupted[-1], clean)],
            clean[find_next(clean[-1], corrupted)],
            corrupted[find_next(clean[-1], clean)],
        }
        other = corrupted[find_next(corrupted[-1], corrupted)]
        if answer not in (*single_slots, other):
            numbers = ["next" if word == answer else "numbers" for word in clean]
            spans = [*numbers[: clean.index(_EQUALS)], "equals", *["sorted"] * 3][:6]
            yield prompt_pair(clean, corrupted, answer, other, spans)


def find_next(current: str, words: Sequence[str]) -> int:
    """Return the position in `words` of the smallest number above `current`, or -1."""
    least = -1 if current == _EQUALS else int(current)
    above = [(int(word), place) for place, word in enumerate(words) if word != _EQUALS]
    return min(((n, place) for n, place in above if n > least), default=(0, -1))[1]


def _draw_list(rng: random.Random) -> list[str]:
    """Draw 4 to 6 numbers, the sign, and the first of them in order, 7 tokens in all."""
    n = rng.randint(4, 6)
    numbers = rng.sample(range(_DIGITS), n)
    return [*map(str, numbers), _EQUALS, *map(str, sorted(numbers)[: 7 - n - 1])]


SORT = Program(
    name="compiled-sort",
    title="numbers in ascending order, by one head",
    shows="one head whose three slots all decide",
    behaviour='"<bos> 7 3 9 5 = 3 5" -> "7"',
    how="""\
Head a0.h2 asks for numbers above the current token; "=" asks for any. Among those it looks at
the smallest, and says it; where there is none it looks at <bos>. Numbers that were already said
are not above the current one, so that the list and what was said of it need no telling apart. The
other heads are distractors.""",
    task="compiled_sort",
    words=_SORT_WORDS,
    build=_build_sort,
    edges=(
        TrueEdge(
            "input->a0.h2<q>", "the sorter asks for what is above the current token", at="END"
        ),
        TrueEdge(
            "input->a0.h2<k>",
            "the sorter looks at the smallest number of those",
            at="next numbers equals sorted",
        ),
        TrueEdge("input->a0.h2<v>", "the sorter carries the number it finds", at="next"),
        TrueEdge("a0.h2->logits", "only the sorter writes what the unembedding reads", at="END"),
    ),
    heads=(BuiltHead("a0.h2", ("copying",), "it says the number it looks at"),),
    pairs=_draw_sort_pairs,
)
