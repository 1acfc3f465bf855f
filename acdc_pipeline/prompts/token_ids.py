"""Prompts for models without a tokenizer: pairs whose sides and answers are token ids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.pair import Pair
from acdc_pipeline.prompts.pairs import listed_pairs
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.specs.generators import PairsGenerator
from acdc_pipeline.specs.task import TaskSpec

Ids = tuple[int, ...]


def id_prompts(task: TaskSpec, *, vocab: int, n: int, model: str) -> PromptSet:
    """The first `n` pairs of `task`, or all if there are fewer, as they are.

    Args:
        task: pairs that hold token ids and no text.
        vocab: how many tokens the model knows.
        n: how many, at least 1.
        model: what error messages call the model, which has no tokenizer.

    Raises:
        PromptError: the task needs a tokenizer, two sides differ in length, or an id is none
            of the model's.
    """
    if not isinstance(task.generator, PairsGenerator):
        raise PromptError(
            f"task '{task.name}' needs a tokenizer, and the model's directory has none",
            where=model,
            allowed="pairs of token ids",
            fix="save its tokenizer there with tokenizer.save_pretrained(...)",
        )
    pairs = listed_pairs(task.generator, name=task.name, n=n, split="all")
    clean = [_ids(pair, "clean", pair.clean, vocab, model) for pair in pairs]
    corrupted = [_ids(pair, "corrupted", pair.corrupted, vocab, model) for pair in pairs]
    for pair, left, right in zip(pairs, clean, corrupted, strict=True):
        if len(left) != len(right):
            raise PromptError(
                f"the sides differ in length: clean {len(left)} tokens, corrupted {len(right)}",
                where=pair.where,
                allowed="two sides of as many tokens",
            )
    lengths = torch.tensor([len(ids) for ids in clean])
    return PromptSet(
        clean=_padded(clean),
        corrupted=_padded(corrupted),
        lengths=lengths,
        answer_row=torch.arange(len(pairs)),
        answer_pos=lengths - 1,
        correct=tuple(_ids(pair, "correct", pair.correct, vocab, model) for pair in pairs),
        incorrect=tuple(_ids(pair, "incorrect", pair.incorrect, vocab, model) for pair in pairs),
        clean_text=tuple(_shown(ids) for ids in clean),
        corrupted_text=tuple(_shown(ids) for ids in corrupted),
        template=(0,) * len(pairs),
        roles=tuple(pair.roles for pair in pairs),
    )


def _ids(pair: Pair, field: str, value: str | Sequence[str | int], vocab: int, model: str) -> Ids:
    texts = [value] if isinstance(value, str) else [one for one in value if isinstance(one, str)]
    if texts:
        raise PromptError(
            f"{texts[0]!r} is a text, and {model} has no tokenizer",
            where=pair.where,
            field=field,
            allowed="token ids",
            fix="give token ids, or save a tokenizer beside the model",
        )
    ids = tuple(one for one in value if isinstance(one, int))
    if wrong := [token for token in ids if not 0 <= token < vocab]:
        raise PromptError(
            f"{wrong[0]} is not a token id",
            where=pair.where,
            field=field,
            allowed=f"0 to {vocab - 1} for this model",
        )
    return ids


def _padded(rows: Sequence[Ids]) -> Int[Tensor, "batch pos"]:
    # Any id pads: causal attention keeps padding away from every answer.
    width = max(len(row) for row in rows)
    return torch.tensor([row + (0,) * (width - len(row)) for row in rows])


def _shown(ids: Ids) -> str:
    return " ".join(map(str, ids))
