"""Which words are held out of training, and the one source of randomness of a prompt set."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from typing import Any, Literal

Split = Literal["all", "train", "held_out"]

HELD_OUT_ONE_IN = 5


def is_held_out(word: str) -> bool:
    """Whether `word` never appears in training prompts.

    Decided by the word alone, so that it means the same for every task, seed and machine.
    """
    return int.from_bytes(hashlib.sha256(word.encode()).digest()) % HELD_OUT_ONE_IN == 0


def in_split(word: str, split: Split) -> bool:
    """Whether `word` may be drawn under `split`; "all" draws from every word."""
    return split == "all" or is_held_out(word) == (split == "held_out")


def held_out_pairs(words: Sequence[str]) -> list[list[bool]]:
    """`is_held_out` of "first second" for every ordered pair, row by row of the first.

    Millions of them: what a row has in common is hashed once.
    """
    seconds = [word.encode() for word in words]
    return [_held_out_behind(hashlib.sha256(f"{word} ".encode()), seconds) for word in words]


def _held_out_behind(first: Any, seconds: Iterable[bytes]) -> list[bool]:
    found: list[bool] = []
    for second in seconds:
        both = first.copy()
        both.update(second)
        found.append(int.from_bytes(both.digest()) % HELD_OUT_ONE_IN == 0)
    return found


def words_in_split(words: Iterable[str], split: Split) -> list[str]:
    """The words of `split`, in their order."""
    return [word for word in words if in_split(word, split)]


def seeded(seed: int, definition_hash: str, split: Split) -> random.Random:
    """The random stream of one prompt set: of the seed and the task's definition, nothing else.

    Derived through sha256 rather than Python's hash, which differs between processes. The
    task's name has no part in it, as it has none in a run's id.
    """
    digest = hashlib.sha256(f"{seed} {definition_hash} {split}".encode()).digest()
    return random.Random(int.from_bytes(digest))
