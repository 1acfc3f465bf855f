"""Training batches: tokens, and the positions whose next token is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.prompts.split import held_out_pairs, in_split
from acdc_pipeline.prompts.tokenization import regular_ids

SHORTEST_PERIOD, LONGEST_PERIOD = 3, 12
LONGEST_NOISE = 6
BOS_HERE = -1
ROWS_WITHOUT_BOS = 0.25
RENAMED_ROWS = 0.5
MOST_ROWS = 0.9
NO_ROWS = 0.0


@dataclass(frozen=True)
class Batch:
    """Rows of one length, and the questions asked of them.

    Args:
        tokens: the rows.
        rows: for each question, its row.
        positions: for each question, the position whose logits answer it.
        targets: for each question, the token that is right.
    """

    tokens: Int[Tensor, "batch pos"]
    rows: Int[Tensor, " answer"]
    positions: Int[Tensor, " answer"]
    targets: Int[Tensor, " answer"]


def training_pairs(
    tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]
) -> Bool[Tensor, "vocab vocab"]:
    """Which ordered pairs of adjacent tokens may be trained on; the rest are held out.

    The same split as the induction task's: by the names of the two tokens.
    """
    names = tuple(tokenizer.convert_ids_to_tokens(list(tokens)))
    allowed = torch.zeros(len(tokenizer), len(tokenizer), dtype=torch.bool)
    index = torch.tensor(tokens)
    allowed[index[:, None], index] = _trained_pairs(names)
    return allowed


# Millions of hashes, the same for every model with this vocabulary.
@lru_cache(maxsize=1)
def _trained_pairs(names: tuple[str, ...]) -> Bool[Tensor, "regular regular"]:
    return ~torch.tensor(held_out_pairs(names))


def repeated(
    rows: int,
    length: int,
    *,
    tokens: Int[Tensor, " regular"],
    allowed: Bool[Tensor, "vocab vocab"],
    bos: int,
    generator: torch.Generator,
) -> Batch:
    """Random tokens, in which block after block of them is said twice.

    Where a block starts and how long it is are drawn for each block, so that no absolute
    position and no fixed distance predicts anything; and no block is said three times, so that
    every copy has to be found by its first saying. Asked is every token of a second saying but
    its first. Most rows begin with `bos`; no two neighbours are a held-out pair.
    """
    source, closes, asked = _plan(rows, length, generator)
    x = tokens[torch.randint(len(tokens), (rows, length), generator=generator)]
    x[source[:, 0] == BOS_HERE, 0] = bos
    for t in range(1, length):
        copied = source[:, t] != t
        x[copied, t] = x[copied, source[copied, t]]
        open_rows = (~copied).nonzero()[:, 0]
        while len(open_rows):
            here, opens = x[open_rows, t], x[open_rows, closes[open_rows, t]]
            fits = allowed[x[open_rows, t - 1], here] | (x[open_rows, t - 1] == bos)
            fits &= allowed[here, opens] | (closes[open_rows, t] == t)
            open_rows = open_rows[~fits]
            redraw = torch.randint(len(tokens), (len(open_rows),), generator=generator)
            x[open_rows, t] = tokens[redraw]
    row, position = asked.nonzero(as_tuple=True)
    return Batch(x, row, position - 1, x[row, position])


def _plan(rows: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Where each token of a row comes from (itself if new), which block start it has to fit in
    front of (itself if none), and whether it is asked."""
    source = torch.arange(length).repeat(rows, 1)
    closes = source.clone()
    asked = torch.zeros(rows, length, dtype=torch.bool)
    draws = torch.rand(rows, 2 * length, generator=generator).tolist()
    for row, numbers in enumerate(draws):
        draw = iter(numbers)
        at = 0
        if next(draw) >= ROWS_WITHOUT_BOS:
            source[row, 0] = BOS_HERE
            at = 1
        while at < length:
            at += int(next(draw) * LONGEST_NOISE)
            longest = min(LONGEST_PERIOD, length - at - 2)
            if longest < SHORTEST_PERIOD:
                break
            period = SHORTEST_PERIOD + int(next(draw) * (longest - SHORTEST_PERIOD + 1))
            copy, end = at + period, min(at + 2 * period, length)
            source[row, copy:end] = torch.arange(at, at + end - copy)
            closes[row, copy - 1] = at
            asked[row, copy + 1 : end] = True
            at = end
    return source, closes, asked


def previous(
    rows: int,
    length: int,
    *,
    tokens: Int[Tensor, " regular"],
    bos: int,
    generator: torch.Generator,
) -> Batch:
    """`bos`, then random tokens; asked at every later position is the token before it."""
    drawn = tokens[torch.randint(len(tokens), (rows, length), generator=generator)]
    drawn[:, 0] = bos
    row, position = torch.meshgrid(torch.arange(rows), torch.arange(2, length), indexing="ij")
    row, position = row.flatten(), position.flatten()
    return Batch(drawn, row, position, drawn[row, position - 1])


def training_tokens(tokenizer: PreTrainedTokenizerBase) -> Int[Tensor, " regular"]:
    """The regular tokens that no task holds out as a word."""
    ids = regular_ids(tokenizer)
    return torch.tensor([i for i in ids if in_split(str(tokenizer.decode([i])).strip(), "train")])


def prompts(
    pool: PromptSet,
    rows: int,
    *,
    substitutes: Int[Tensor, " regular"],
    generator: torch.Generator,
    renamed_rows: float = RENAMED_ROWS,
    words: Bool[Tensor, "batch pos"] | None = None,
) -> Batch:
    """Prompts of a task, drawn from a pool with replacement; asked are their answers.

    In `renamed_rows` of them all candidate answers, and what stands at the places `words`, are
    other tokens, drawn from `substitutes` and the same everywhere in the row: what a prompt says
    about its names then cannot hang on which names the training happened to show. Where what is
    asked hangs on just that, it is `NO_ROWS`. Of several correct answers one is drawn.
    """
    drawn = torch.randint(len(pool.correct), (rows,), generator=generator)
    tokens = pool.clean[pool.answer_row[drawn]].clone()
    chosen = pool.answer_row[drawn].tolist()
    others = [[] if words is None else pool.clean[row][words[row]].tolist() for row in chosen]
    targets = torch.empty(rows, dtype=torch.long)
    renamed = torch.rand(rows, generator=generator) < renamed_rows
    for row, answer in enumerate(drawn.tolist()):
        right = _one_of(pool.correct[answer], generator)
        targets[row] = right
        if renamed[row]:
            names = tuple(dict.fromkeys((right, *pool.incorrect[answer], *others[row])))
            order = torch.randperm(len(substitutes), generator=generator)[: len(names)]
            was = tokens[row].clone()
            for old, new in zip(names, substitutes[order], strict=True):
                tokens[row, was == old] = new
            targets[row] = substitutes[order[0]]
    return Batch(tokens, torch.arange(rows), pool.answer_pos[drawn], targets)


def filled_in(pool: PromptSet) -> Bool[Tensor, "batch pos"]:
    """Where the prompts of one template differ from each other: its words, not its sentence."""
    out = torch.zeros_like(pool.clean, dtype=torch.bool)
    templates = torch.tensor(pool.template)
    for template in templates.unique():
        same = (templates == template).nonzero()[:, 0]
        out[same] = (pool.clean[same] != pool.clean[same[0]]).any(0)
    return out


def _one_of(tokens: Sequence[int], generator: torch.Generator) -> int:
    """One of `tokens`; nothing is drawn where there is no choice."""
    if len(tokens) == 1:
        return tokens[0]
    return tokens[int(torch.randint(len(tokens), (), generator=generator))]
