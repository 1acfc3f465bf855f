"""Accuracy of a zoo model on prompts made of words and pairs it was not trained on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.models.zoo import mixture
from acdc_pipeline.models.zoo.recipe import PREVIOUS_TOKEN, REMEMBERED
from acdc_pipeline.models.zoo.tokenizer import bos_id
from acdc_pipeline.prompts.make import make_prompts
from acdc_pipeline.prompts.prompt_set import PromptSet, pick_rows
from acdc_pipeline.prompts.split import HELD_OUT_ONE_IN, Split, in_split
from acdc_pipeline.prompts.tokenization import regular_ids
from acdc_pipeline.specs.catalogue import find_task

Logits = Callable[[Tensor], Tensor]
PREVIOUS_TOKEN_LENGTH = 24


def task_prompts(
    task: str, tokenizer: PreTrainedTokenizerBase, *, n: int, seed: int, split: Split
) -> PromptSet:
    """Prompts of a shipped task; of one that is `REMEMBERED`, whole prompts are held out.

    Raises UnknownName or PromptError.
    """
    if task not in REMEMBERED or split == "all":
        return make_prompts(find_task(task), tokenizer, n=n, seed=seed, split=split)
    # As many again as hold `n` of this part on average: a small table may have less than its share.
    enough = 2 * n * (HELD_OUT_ONE_IN if split == "held_out" else 1)
    drawn = make_prompts(find_task(task), tokenizer, n=enough, seed=seed, split="all")
    kept = [row for row, text in enumerate(drawn.clean_text) if in_split(text, split)]
    return pick_rows(drawn, kept[:n])


def accuracy(logits: Logits, prompts: PromptSet) -> float:
    """The fraction of answers whose most probable token, of the whole vocabulary, is correct."""
    with torch.no_grad():
        at_answers = logits(prompts.clean)[prompts.answer_row, prompts.answer_pos]
    guesses = at_answers.argmax(-1).tolist()
    hits = [guess in right for guess, right in zip(guesses, prompts.correct, strict=True)]
    return sum(hits) / len(hits)


def previous_token_accuracy(
    logits: Logits, tokenizer: PreTrainedTokenizerBase, *, n: int, seed: int
) -> float:
    """The fraction of positions, from the third on, that say the token before them.

    Random sequences are new ones by their number; there is no word to hold out.
    """
    batch = mixture.previous(
        n,
        PREVIOUS_TOKEN_LENGTH,
        tokens=torch.tensor(regular_ids(tokenizer)),
        bos=bos_id(tokenizer),
        generator=torch.Generator().manual_seed(seed),
    )
    with torch.no_grad():
        guesses = logits(batch.tokens).argmax(-1)[batch.rows, batch.positions]
    return (guesses == batch.targets).float().mean().item()


def held_out_accuracy(
    logits: Logits, task: str, tokenizer: PreTrainedTokenizerBase, *, n: int, seed: int
) -> float:
    """Accuracy on `n` held-out prompts of `task`, or on `n` random rows for `previous_token`."""
    if task == PREVIOUS_TOKEN:
        return previous_token_accuracy(logits, tokenizer, n=n, seed=seed)
    prompts = task_prompts(task, tokenizer, n=n, seed=seed, split="held_out")
    return accuracy(logits, prompts)
