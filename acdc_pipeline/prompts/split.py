"""Words held out of training, and the random stream of a prompt set."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from typing import Literal

Split = Literal["all", "train", "held_out"]

HELD_OUT_ONE_IN = 5


def is_held_out(word: str) -> bool:
    """Return whether `word` is excluded from training prompts.

    Only the word decides, so the split is the same for every task, seed and machine.
    """
    return int.from_bytes(hashlib.sha256(word.encode()).digest()) % HELD_OUT_ONE_IN == 0


def in_split(word: str, split: Split) -> bool:
    """Return whether `word` may be drawn under `split`; "all" allows every word."""
    return split == "all" or is_held_out(word) == (split == "held_out")


def words_in_split(words: Iterable[str], split: Split) -> list[str]:
    """Return the words of `split`, in their order."""
    return [word for word in words if in_split(word, split)]


def seed_generator(seed: int, definition_hash: str, split: Split) -> random.Random:
    """Return the random generator of a prompt set, which depends only on the arguments.

    It uses sha256, as Python's hash differs between processes. The name of the task has no
    influence, as in the id of a run.
    """
    digest = hashlib.sha256(f"{seed} {definition_hash} {split}".encode()).digest()
    return random.Random(int.from_bytes(digest))
