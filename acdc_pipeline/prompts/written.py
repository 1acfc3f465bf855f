"""Prompts as people or other tools would write them down, each answer as its exact token."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.prompts.alignment import align
from acdc_pipeline.prompts.make import make_pairs
from acdc_pipeline.specs.prompt_pair import PromptPair
from acdc_pipeline.specs.task import TaskSpec


def written_pairs(
    task: TaskSpec, tokenizer: PreTrainedTokenizerBase, *, n: int, seed: int
) -> list[PromptPair]:
    """The prompts of `make_prompts`, one pair each.

    Texts are as the task says them, without a beginning-of-sequence token, and their answers are
    the texts of single tokens, with the space in front where it is part of the token. Prompts that
    the task gives as token ids have ids as answers.

    Raises:
        PromptError: as `make_prompts`.
    """
    name = f"task '{task.name}'"
    pairs = make_pairs(task, tokenizer, n=n, seed=seed, split="all")
    made = align(pairs, tokenizer, bos=task.generator.bos, name=name)
    out = []
    for pair, correct, incorrect in zip(pairs, made.correct, made.incorrect, strict=True):
        sides = [list(ids) for ids in (correct, incorrect)]
        if isinstance(pair.clean, str):
            sides = [[str(tokenizer.decode([token])) for token in ids] for ids in sides]
        out.append(
            PromptPair(
                clean=pair.clean,
                corrupted=pair.corrupted,
                correct=tuple(sides[0]),
                incorrect=tuple(sides[1]),
                roles=dict(role.split("=", 1) for role in pair.roles),
            )
        )
    return out
