"""Circuits of heads that compose: induction, lookback, relay and lookup.

The kinds of composition are those of Elhage et al. 2021, "A Mathematical Framework for
Transformer Circuits". Heads in later layers read what earlier ones wrote through their keys
(K-composition), queries (Q-composition) or values (V-composition).
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch

from acdc_pipeline.models.zoo.compiled.builder import D_HEAD, SHARP, Builder, flag, into_head
from acdc_pipeline.models.zoo.compiled.components import (
    TOKEN_WIDTH,
    WORDS,
    add_distractors,
    add_duplicate_token_head,
    add_previous_token_head,
    duplicate_token_head,
    embed_places,
    neighbour_widths,
    place_widths,
    previous_token_edges,
    previous_token_head,
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


def _build_induction() -> Builder:
    # The context holds fifty random tokens repeated once, on which per-head scores are defined.
    positions, previous, induction = 128, (0, 1), (1, 2)
    builder = start_word_model(
        words=WORDS,
        subspaces={**neighbour_widths(positions), "token_before": TOKEN_WIDTH},
        n_layers=2,
        n_ctx=positions,
    )
    add_previous_token_head(builder, *previous, reads="token", writes="token_before")
    builder.read(*induction, "q", "token", into_head(TOKEN_WIDTH, SHARP))
    builder.read(*induction, "k", "token_before", into_head(TOKEN_WIDTH, SHARP))
    # Every query holds this coordinate, only the key at <bos> does. Per shared coordinate of a
    # token, a match scores 6, <bos> 5 and any other token at most 4.
    builder.bias(*induction, "q", flag(TOKEN_WIDTH, D_HEAD, SHARP))
    bos_key = flag(TOKEN_WIDTH, D_HEAD, (TOKEN_WIDTH - 1) * SHARP)
    builder.read(*induction, "k", "is_bos", bos_key[None])
    builder.carry(*induction, "token", "answer")
    add_distractors(builder, seed="compiled-induction", used_heads=(previous, induction))
    return builder


INDUCTION = Program(
    name="compiled-induction",
    title="induction by K-composition of two heads",
    shows="K-composition",
    behaviour='"<bos> ki da lo be ki da" -> "lo"',
    how="""\
Head a0.h1 looks one position back and writes the token it finds there. Head a1.h2 looks for the
position whose previous token is the current one, and writes the token that stands there; where
there is none it looks at <bos> and writes nothing. The other heads are distractors.""",
    task="induction",
    words=WORDS,
    build=_build_induction,
    edges=(
        *previous_token_edges("a0.h1"),
        TrueEdge(
            "input->a0.h1<v>",
            "the previous-token head carries the token it finds; in the first copy it is a fresh"
            " one in the corrupted prompt",
            at="A1",
        ),
        TrueEdge(
            "a0.h1->a1.h2<k>",
            "K-composition: the induction head matches what came before each position",
            at="B1",
        ),
        TrueEdge(
            "input->a1.h2<q>",
            "the induction head asks for the current token; it stands in the second copy, which"
            " the corrupted prompt keeps, but it differs between prompts, so their mean is no"
            " query",
            ("zero", "mean"),
        ),
        TrueEdge(
            "input->a1.h2<v>",
            "the induction head carries the token it finds; in the first copy it is a fresh one in"
            " the corrupted prompt",
            at="B1",
        ),
        TrueEdge(
            "a1.h2->logits", "only the induction head writes what the unembedding reads", at="END"
        ),
    ),
    heads=(
        previous_token_head("a0.h1"),
        BuiltHead(
            "a1.h2",
            ("induction", "copying"),
            "it looks at the token behind the earlier occurrence of the current one, and says it",
        ),
    ),
)


def _build_lookback() -> Builder:
    # The mirror of induction: the duplicate-token head finds the position by the token itself, and
    # copies what the previous-token head wrote there.
    positions, previous, duplicate = 128, (0, 2), (1, 0)
    widths = neighbour_widths(positions) | place_widths(positions)
    builder = start_word_model(
        words=WORDS,
        subspaces={**widths, "token_before": TOKEN_WIDTH},
        n_layers=2,
        n_ctx=positions,
    )
    embed_places(builder)
    add_previous_token_head(builder, *previous, reads="token", writes="token_before")
    add_duplicate_token_head(
        builder, *duplicate, code="token", reads="token_before", writes="answer"
    )
    add_distractors(builder, seed="compiled-lookback", used_heads=(previous, duplicate))
    return builder


LOOKBACK = Program(
    name="compiled-lookback",
    title="what stood before the last token, by V-composition of two heads",
    shows="V-composition",
    behaviour='"<bos> be ki da lo fu da" -> "ki"',
    how="""\
Head a0.h2 looks one position back and writes the token it finds there. Head a1.h0 looks where
the current token stood before, and writes what a0.h2 wrote there; a token that is new has it look
at <bos>, where nothing was written. The other heads are distractors.""",
    task="compiled_lookback",
    words=WORDS,
    build=_build_lookback,
    edges=(
        *previous_token_edges("a0.h2"),
        TrueEdge("input->a0.h2<v>", "the previous-token head carries the token it finds", at="X"),
        TrueEdge(
            "input->a1.h0<q>", "the duplicate-token head asks for the current token", at="END"
        ),
        TrueEdge(
            "input->a1.h0<k>",
            "the duplicate-token head finds the same token at another place",
            at="A1",
        ),
        TrueEdge(
            "a0.h2->a1.h0<v>",
            "V-composition: the duplicate-token head carries what the previous-token head wrote",
            at="A1",
        ),
        TrueEdge(
            "a1.h0->logits",
            "only the duplicate-token head writes what the unembedding reads",
            at="END",
        ),
    ),
    heads=(previous_token_head("a0.h2"), duplicate_token_head("a1.h0")),
)


# An effect of the first edge reaches the logits through two others, so a method that measures
# only direct effects finds the last head alone.
_RELAY_HEADS = ("a0.h1", "a1.h3", "a2.h0")


def _build_relay() -> Builder:
    positions, heads = 16, ((0, 1), (1, 3), (2, 0))
    stages = ("token", "one_back", "two_back", "answer")
    steps = {"one_back": TOKEN_WIDTH, "two_back": TOKEN_WIDTH}
    builder = start_word_model(
        words=WORDS,
        subspaces={**neighbour_widths(positions), **steps},
        n_layers=3,
        n_ctx=positions,
    )
    for (layer, head), reads, writes in zip(heads, stages, stages[1:], strict=False):
        add_previous_token_head(builder, layer, head, reads=reads, writes=writes)
    add_distractors(builder, seed="compiled-relay", used_heads=heads)
    return builder


RELAY = Program(
    name="compiled-relay",
    title="the token three places back, through a chain of three heads",
    shows="a chain of three heads, V-composition twice",
    behaviour='"<bos> be ki da lo fu ga" -> "da"',
    how="""\
Heads a0.h1, a1.h3 and a2.h0 each look one position back. The first writes the token it finds, the
second what the first wrote there, the third what the second wrote there and says it. The other
heads are distractors.""",
    task="compiled_relay",
    words=WORDS,
    build=_build_relay,
    edges=(
        *(
            TrueEdge(
                f"input->{head}<{slot}>",
                "the head compares its own position with the one before it;"
                " positions are the same in clean and corrupted prompts",
                ("zero",),
            )
            for head in _RELAY_HEADS
            for slot in "qk"
        ),
        TrueEdge("input->a0.h1<v>", "the first head carries the token it finds", at="C"),
        TrueEdge(
            "a0.h1->a1.h3<v>", "V-composition: the second head carries what the first wrote", at="D"
        ),
        TrueEdge(
            "a1.h3->a2.h0<v>", "V-composition: the third head carries what the second wrote", at="E"
        ),
        TrueEdge(
            "a2.h0->logits", "only the third head writes what the unembedding reads", at="END"
        ),
    ),
    heads=tuple(previous_token_head(head) for head in _RELAY_HEADS),
)


# One head feeds two slots of another: its output is the query at the end and the key at every
# value, which is Q-composition and K-composition at once.
_EQUALS = "="
_LOOKUP_WORDS = (*WORDS, _EQUALS)


def _build_lookup() -> Builder:
    positions, previous, retriever = 16, (0, 3), (1, 1)
    ids = token_ids(_LOOKUP_WORDS)
    builder = start_word_model(
        words=_LOOKUP_WORDS,
        subspaces={"is_word": 1, **neighbour_widths(positions), "token_before": TOKEN_WIDTH},
        n_layers=2,
        n_ctx=positions,
    )
    is_word = torch.zeros(len(ids), 1, dtype=torch.float64)
    is_word[[ids[word] for word in WORDS]] = 1
    builder.embed("is_word", is_word)

    add_previous_token_head(builder, *previous, reads="token", writes="token_before")
    builder.read(*retriever, "q", "token_before", into_head(TOKEN_WIDTH, SHARP))
    builder.read(*retriever, "k", "token_before", into_head(TOKEN_WIDTH, SHARP))
    # Every query holds this coordinate. Per shared coordinate of a token, a match scores 6 and any
    # other token at most 4. A word gets 1 more, so that a value, at 7, is above <bos>, and <bos>
    # above the sign itself, which also follows the key and scores 6.
    builder.bias(*retriever, "q", flag(TOKEN_WIDTH, D_HEAD, SHARP))
    for subspace, units in (("is_word", 1.0), ("is_bos", 6.5)):
        builder.read(*retriever, "k", subspace, flag(TOKEN_WIDTH, D_HEAD, units * SHARP)[None])
    builder.carry(*retriever, "token", "answer")
    add_distractors(builder, seed="compiled-lookup", used_heads=(previous, retriever))
    return builder


def _draw_lookup_pairs() -> Iterator[PromptPair]:
    """Draw three keys with values, and one key to look up.

    The counterfactual has the same keys in other places, with fresh values, and looks up another
    key in a third place: whatever a single slot takes from it leads to another answer.
    """
    rng = random.Random("compiled-lookup")
    while True:
        drawn = rng.sample(WORDS, 9)
        keys, values, fresh = drawn[:3], drawn[3:6], drawn[6:]
        at = rng.randrange(3)
        moved = [keys[(place + 1) % 3] for place in range(3)]
        # The key looked up is at `at`, then at `at - 1`; the other at `at + 2`, then `at + 1`.
        other = (at + 1) % 3
        spans = ["keys", "values"] * 3
        spans[2 * at : 2 * at + 2] = "key", "value"
        yield prompt_pair(
            _list_entries(keys, values, keys[at]),
            _list_entries(moved, fresh, moved[other]),
            values[at],
            fresh[other],
            [*spans, "query"],
        )


def _list_entries(keys: list[str], values: list[str], key: str) -> list[str]:
    entries = zip(keys, values, strict=True)
    return [*(word for entry in entries for word in entry), key, _EQUALS]


LOOKUP = Program(
    name="compiled-lookup",
    title="the value of a key, by Q- and K-composition with one head",
    shows="Q- and K-composition with the same head",
    behaviour='"<bos> be ki da lo fu ga da =" -> "lo"',
    how="""\
Head a0.h3 looks one position back and writes the token it finds there. Head a1.h1 asks, at the
last token, for what stood before it, the key, and looks for the word with the same token before
it: the value, which it says. "=" stands behind the key too; that it is no word keeps the head
from it. The other heads are distractors.""",
    task="compiled_lookup",
    words=_LOOKUP_WORDS,
    build=_build_lookup,
    edges=(
        *previous_token_edges("a0.h3"),
        TrueEdge(
            "input->a0.h3<v>",
            "the previous-token head carries the key, at each place of it",
            at="key keys query",
        ),
        TrueEdge(
            "a0.h3->a1.h1<q>",
            "Q-composition: the retriever asks for the token before the last",
            at="END",
        ),
        TrueEdge(
            "a0.h3->a1.h1<k>",
            "K-composition: a value is found by the token before it",
            at="value values",
        ),
        TrueEdge(
            "input->a1.h1<k>",
            'the retriever looks at words, and "=" is none; words stand in the same'
            " places in clean and corrupted prompts",
            ("zero",),
        ),
        TrueEdge("input->a1.h1<v>", "the retriever carries the value it finds", at="value"),
        TrueEdge("a1.h1->logits", "only the retriever writes what the unembedding reads", at="END"),
    ),
    heads=(
        previous_token_head("a0.h3"),
        BuiltHead("a1.h1", ("copying",), "it says the value it looks at"),
    ),
    pairs=_draw_lookup_pairs,
)
