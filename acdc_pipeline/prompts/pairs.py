"""Prompt pairs that people bring, from a `.jsonl` file."""

from __future__ import annotations

from pathlib import Path

from acdc_pipeline.prompts.pair import Pair
from acdc_pipeline.prompts.split import Split, in_split
from acdc_pipeline.specs.prompt_pair import PromptPair, read_pairs


def load_pairs(path: Path | str) -> list[Pair]:
    """The pairs in the `.jsonl` file `path`, in its order.

    Raises:
        SpecError: naming file and line.
    """
    path = Path(path)
    return listed_pairs(read_pairs(path), name=str(path), n=None, split="all")


def listed_pairs(
    rows: tuple[PromptPair, ...], *, name: str, n: int | None, split: Split
) -> list[Pair]:
    """The first `n` of `rows` that `split` allows, or all of them if there are fewer.

    Pairs are told apart for `split` by their clean side.
    """
    numbered = enumerate(rows, start=1)
    kept = [(number, row) for number, row in numbered if in_split(str(row.clean), split)]
    return [
        Pair(
            clean=row.clean,
            corrupted=row.corrupted,
            correct=row.correct,
            incorrect=row.incorrect,
            where=f"{name}: pair {number}",
        )
        for number, row in kept[:n]
    ]
