"""Prompt pairs that people bring, from a `.jsonl` file."""

from __future__ import annotations

from pathlib import Path

from acdc_pipeline.prompts.pair import Pair
from acdc_pipeline.prompts.split import Split, in_split
from acdc_pipeline.specs.generators import PairsGenerator
from acdc_pipeline.specs.prompt_pair import PromptPair, read_pairs


def load_pairs(path: Path | str) -> list[Pair]:
    """The pairs in the `.jsonl` file `path`, in its order.

    Raises:
        SpecError: naming file and line.
    """
    return [_pair(row, f"{path}:{line}") for line, row in read_pairs(Path(path)).items()]


def listed_pairs(spec: PairsGenerator, *, name: str, n: int, split: Split) -> list[Pair]:
    """The first `n` pairs of `spec` that `split` allows, or all of them if there are fewer.

    Pairs are told apart for `split` by their clean side. Where they have lines of a file, errors
    name those; else `name` and which pair it is.
    """
    places = (
        [f"{spec.file or name}:{line}" for line in spec.lines]
        if spec.lines
        else [f"{spec.file or name}: pair {number}" for number in range(1, len(spec.pairs) + 1)]
    )
    placed = zip(spec.pairs, places, strict=True)
    kept = [_pair(row, where) for row, where in placed if in_split(str(row.clean), split)]
    return kept[:n]


def _pair(row: PromptPair, where: str) -> Pair:
    return Pair(
        clean=row.clean,
        corrupted=row.corrupted,
        correct=row.correct,
        incorrect=row.incorrect,
        roles=tuple(f"{role}={word}" for role, word in sorted(row.roles.items())),
        where=where,
    )
