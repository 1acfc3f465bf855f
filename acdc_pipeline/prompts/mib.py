"""Tasks and models of the MIB benchmark, and prompt pairs from the rows of its data sets.

Mueller et al. 2025 (arXiv 2504.13151). Rows are chosen, and answers and counterfactuals taken from
them, as its circuit track does (github.com/hannamw/MIB-circuit-track, `HFEAPDataset`): a prompt
counts by the first token of either answer, and rows whose answers differ in their number of tokens
are left out. Every prompt begins with a beginning-of-sequence token, the end-of-text token for
tokenizers without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acdc_pipeline.errors import InvalidInput, PromptError, UnknownName
from acdc_pipeline.specs.prompt_pair import PromptPair

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SPLITS = ("train", "validation", "test")
"""Circuits are found on `train`, and compared on `validation` and the public `test`."""

TRAINING_PROMPTS = 100
"""Prompts on which the benchmark's own circuits are found."""


@dataclass(frozen=True)
class MibTask:
    """A data set of the organisation `mib-bench` on the hub.

    Args:
        counterfactual: column of the counterfactual that the benchmark uses by default.
        folder: part of the data set; empty for all of it.
    """

    dataset: str
    counterfactual: str
    folder: str = ""


MIB_TASKS: Mapping[str, MibTask] = {
    "ioi": MibTask("ioi", "s2_io_flip_counterfactual"),
    "mcqa": MibTask("copycolors_mcqa", "symbol_counterfactual", "4_answer_choices"),
    "arithmetic-addition": MibTask("arithmetic_addition", "random_counterfactual"),
    "arithmetic-subtraction": MibTask("arithmetic_subtraction", "random_counterfactual"),
    "arc-easy": MibTask("arc_easy", "symbol_counterfactual"),
    "arc-challenge": MibTask("arc_challenge", "symbol_counterfactual"),
}
"""By the name in folders of a submission."""

MIB_MODELS: Mapping[str, str] = {
    "openai-community/gpt2": "gpt2",
    "gpt2": "gpt2",
    "Qwen/Qwen2.5-0.5B": "qwen2.5",
    "google/gemma-2-2b": "gemma2",
    "meta-llama/Llama-3.1-8B": "llama3",
}
"""By the name on the hub: the name in folders of a submission."""

LEADERBOARD = frozenset(
    {f"ioi_{model}" for model in ("gpt2", "qwen2.5", "gemma2", "llama3")}
    | {f"mcqa_{model}" for model in ("qwen2.5", "gemma2", "llama3")}
    | {"arithmetic-addition_llama3", "arithmetic-subtraction_llama3"}
    | {"arc-easy_gemma2", "arc-easy_llama3", "arc-challenge_llama3"}
)
"""The folders that have a column in the leaderboard."""


def check_split(name: str) -> None:
    """Raise InvalidInput if MIB's data have no split called `name`."""
    if name not in SPLITS:
        problem = f"'{name}' is no split of MIB"
        raise InvalidInput(problem, field="--split", allowed=", ".join(SPLITS))


def check_data_folder(folder: Path | None) -> None:
    """Raise InvalidInput if `folder` is not one."""
    if folder is not None and not folder.is_dir():
        raise InvalidInput("is not a folder", where=str(folder), field="--mib-data")


def find_mib_task(name: str) -> MibTask:
    """Return the task called `name` in MIB. Raises UnknownName."""
    if name not in MIB_TASKS:
        raise UnknownName.among("task of MIB", name, MIB_TASKS)
    return MIB_TASKS[name]


def mib_pairs(
    name: str,
    rows: Iterable[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    most: int | None = None,
) -> list[PromptPair]:
    """Return the pairs of the first `most` rows that fit the tokenizer, or of all of them.

    Raises:
        UnknownName: MIB has no such task.
        PromptError: a row lacks a column, or no row fits.
    """
    task = find_mib_task(name)
    bos = tokenizer.bos_token_id
    first = tokenizer.eos_token_id if bos is None else bos
    pairs = []
    for clean, corrupted, right, wrong in islice(_chosen(name, task, rows, tokenizer), most):
        sides: dict[str, Any] = {"clean": clean, "corrupted": corrupted, "bos": True}
        if bos is None:
            ids = {side: tokenizer.encode(sides[side]) for side in ("clean", "corrupted")}
            sides = {side: (first, *tokens) for side, tokens in ids.items()}
        pairs.append(PromptPair.from_plain({**sides, "correct": [right], "incorrect": [wrong]}))
    if not pairs:
        raise PromptError(
            f"no row of task '{name}' fits the tokenizer", fix="give the data set as MIB has it"
        )
    return pairs


def _chosen(
    name: str,
    task: MibTask,
    rows: Iterable[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
) -> Iterator[tuple[str, str, int, int]]:
    """Clean prompt, counterfactual, and the first token of the right and of the wrong answer."""

    def ids(text: Any) -> list[int]:
        return tokenizer.encode(str(text), add_special_tokens=False)

    for number, row in enumerate(rows, start=1):
        try:
            other = row[task.counterfactual]
            if name == "ioi":
                people = row["metadata"]
                right, wrong, third = (
                    ids(f" {people[who]}") for who in ("indirect_object", "subject", "random_c")
                )
                fits = len(right) == len(wrong) == len(third)
            elif name.startswith("arithmetic"):
                sign = "-" if name.endswith("subtraction") else "+"
                if other is None or other["prompt"] is None or row["operator"] != sign:
                    continue
                right, wrong = ids(row["label"]), ids(other["label"])
                fits = len(right) == len(wrong) == 1
            else:
                right, wrong = (
                    ids(side["choices"]["label"][side["answerKey"]]) for side in (row, other)
                )
                fits = len(right) == len(wrong)
            if fits:
                yield row["prompt"], other["prompt"], right[0], wrong[0]
        except (KeyError, TypeError, IndexError) as error:
            raise PromptError(
                f"row {number} is not one of MIB's task '{name}': {error}",
                allowed=f"prompt, {task.counterfactual}.prompt, and what its answers are made of",
            ) from error
