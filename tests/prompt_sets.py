"""Prompt sets of random tokens, for models that have no tokenizer."""

from __future__ import annotations

import torch

from acdc_pipeline.prompts.prompt_set import PromptSet


def random_prompts(
    n: int, pos: int, vocab: int, seed: int = 0, lengths: list[int] | None = None
) -> PromptSet:
    """Random clean and corrupted tokens; the answer is read at each prompt's last position."""
    generator = torch.Generator().manual_seed(seed)
    real = torch.tensor(lengths if lengths is not None else [pos] * n)
    return PromptSet(
        clean=torch.randint(vocab, (n, pos), generator=generator),
        corrupted=torch.randint(vocab, (n, pos), generator=generator),
        lengths=real,
        answer_row=torch.arange(n),
        answer_pos=real - 1,
        correct=tuple((i % vocab,) for i in range(n)),
        incorrect=tuple(((i + 1) % vocab,) for i in range(n)),
        clean_text=("",) * n,
        corrupted_text=("",) * n,
        template=(0,) * n,
    )
