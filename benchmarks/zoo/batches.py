"""Training batches of the zoo: tokens, and the positions whose next token is predicted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.prompts.prompt_set import PromptSet, pick_rows
from acdc_pipeline.prompts.split import HELD_OUT_ONE_IN, Split, in_split
from acdc_pipeline.prompts.tokenization import regular_ids
from acdc_pipeline.specs.catalogue import find_task
from benchmarks.zoo.recipe import REMEMBERED

SHORTEST_PERIOD, LONGEST_PERIOD = 3, 12
LONGEST_NOISE = 6
BOS_HERE = -1
ROWS_WITHOUT_BOS = 0.25
RENAMED_ROWS = 0.5
MOST_ROWS = 0.9
NO_ROWS = 0.0


@dataclass(frozen=True)
class Batch:
    """Rows of one length, and the predictions that are trained on them.

    Args:
        tokens: token ids of the rows.
        rows: row of each prediction.
        positions: position whose logits make each prediction.
        targets: correct token of each prediction.
    """

    tokens: Int[Tensor, "batch pos"]
    rows: Int[Tensor, " answer"]
    positions: Int[Tensor, " answer"]
    targets: Int[Tensor, " answer"]


def training_pairs(
    tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]
) -> Bool[Tensor, "vocab vocab"]:
    """Return which ordered pairs of adjacent tokens may be trained on; the others are held out.

    As in the induction task, the texts of the two tokens decide.
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


def held_out_pairs(words: Sequence[str]) -> list[list[bool]]:
    """Return `is_held_out("first second")` for every ordered pair, one row per first word.

    There are millions of pairs, so the prefix that a row has in common is hashed once.
    """
    seconds = [word.encode() for word in words]
    return [_hash_row(hashlib.sha256(f"{word} ".encode()), seconds) for word in words]


def _hash_row(first: Any, seconds: Iterable[bytes]) -> list[bool]:
    found: list[bool] = []
    for second in seconds:
        both = first.copy()
        both.update(second)
        found.append(int.from_bytes(both.digest()) % HELD_OUT_ONE_IN == 0)
    return found


def draw_repeated(
    rows: int,
    length: int,
    *,
    tokens: Int[Tensor, " regular"],
    allowed: Bool[Tensor, "vocab vocab"],
    bos: int,
    generator: torch.Generator,
) -> Batch:
    """Draw rows of random tokens that consist of blocks, each repeated once.

    Start and length of a block are random, so no absolute position and no fixed distance predicts
    anything; no block occurs three times, so every copy has to be found through the original.
    Every token of a copy except its first is predicted. Most rows begin with `bos`; no adjacent
    tokens are a held-out pair.
    """
    source, closes, predicted = _plan_blocks(rows, length, generator)
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
    row, position = predicted.nonzero(as_tuple=True)
    return Batch(x, row, position - 1, x[row, position])


def _plan_blocks(
    rows: int, length: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return three tables by row and position.

    They hold the position that a token is copied from (its own if new), the start of the block in
    front of which it has to fit (its own if none), and whether it is predicted.
    """
    source = torch.arange(length).repeat(rows, 1)
    closes = source.clone()
    predicted = torch.zeros(rows, length, dtype=torch.bool)
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
            predicted[row, copy + 1 : end] = True
            at = end
    return source, closes, predicted


def draw_previous(
    rows: int,
    length: int,
    *,
    tokens: Int[Tensor, " regular"],
    bos: int,
    generator: torch.Generator,
) -> Batch:
    """Draw rows of `bos` and random tokens; from position 2 on the token before is predicted."""
    drawn = tokens[torch.randint(len(tokens), (rows, length), generator=generator)]
    drawn[:, 0] = bos
    row, position = torch.meshgrid(torch.arange(rows), torch.arange(2, length), indexing="ij")
    row, position = row.flatten(), position.flatten()
    return Batch(drawn, row, position, drawn[row, position - 1])


def training_tokens(tokenizer: PreTrainedTokenizerBase) -> Int[Tensor, " regular"]:
    """Return the regular tokens that no task holds out as a word."""
    ids = regular_ids(tokenizer)
    return torch.tensor([i for i in ids if in_split(str(tokenizer.decode([i])).strip(), "train")])


def draw_prompts(
    pool: PromptSet,
    rows: int,
    *,
    substitutes: Int[Tensor, " regular"],
    generator: torch.Generator,
    renamed_rows: float = RENAMED_ROWS,
    words: Bool[Tensor, "batch pos"] | None = None,
) -> Batch:
    """Draw prompts of a task from a pool, with replacement; their answers are predicted.

    In a share `renamed_rows` of the rows, all candidate answers and the tokens at `words` are
    replaced by random `substitutes`, consistently within the row, so that the model cannot rely on
    particular names. Facts about words require `NO_ROWS`. Of several correct answers one is drawn.
    """
    drawn = torch.randint(len(pool.correct), (rows,), generator=generator)
    tokens = pool.clean[pool.answer_row[drawn]].clone()
    chosen = pool.answer_row[drawn].tolist()
    others = [[] if words is None else pool.clean[row][words[row]].tolist() for row in chosen]
    targets = torch.empty(rows, dtype=torch.long)
    renamed = torch.rand(rows, generator=generator) < renamed_rows
    for row, answer in enumerate(drawn.tolist()):
        right = _draw_one(pool.correct[answer], generator)
        targets[row] = right
        if renamed[row]:
            names = tuple(dict.fromkeys((right, *pool.incorrect[answer], *others[row])))
            order = torch.randperm(len(substitutes), generator=generator)[: len(names)]
            was = tokens[row].clone()
            for old, new in zip(names, substitutes[order], strict=True):
                tokens[row, was == old] = new
            targets[row] = substitutes[order[0]]
    return Batch(tokens, torch.arange(rows), pool.answer_pos[drawn], targets)


def find_filled_in(pool: PromptSet) -> Bool[Tensor, "batch pos"]:
    """Return the positions at which the prompts of one template differ: words, not the sentence."""
    out = torch.zeros_like(pool.clean, dtype=torch.bool)
    templates = torch.tensor(pool.template)
    for template in templates.unique():
        same = (templates == template).nonzero()[:, 0]
        out[same] = (pool.clean[same] != pool.clean[same[0]]).any(0)
    return out


def _draw_one(tokens: Sequence[int], generator: torch.Generator) -> int:
    """Draw one of `tokens`; without a choice, the generator is not used."""
    if len(tokens) == 1:
        return tokens[0]
    return tokens[int(torch.randint(len(tokens), (), generator=generator))]


def task_prompts(
    task: str, tokenizer: PreTrainedTokenizerBase, *, n: int, seed: int, split: Split
) -> PromptSet:
    """Return prompts of a shipped task; whole prompts are held out if the task is `REMEMBERED`.

    Raises UnknownName or PromptError.
    """
    if task not in REMEMBERED or split == "all":
        return make_prompts(find_task(task), tokenizer, n=n, seed=seed, split=split)
    # Twice the average requirement, as a small table may hold less than its share of a split.
    enough = 2 * n * (HELD_OUT_ONE_IN if split == "held_out" else 1)
    drawn = make_prompts(find_task(task), tokenizer, n=enough, seed=seed, split="all")
    kept = [row for row, text in enumerate(drawn.clean_text) if in_split(text, split)]
    return pick_rows(drawn, kept[:n])
