"""Resamples of the prompts of a bench: a prompt that occurs several times is computed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from acdc_pipeline.engine.bench import Bench
from acdc_pipeline.engine.forward import SourceOutputs
from acdc_pipeline.prompts.prompt_set import pick_prompts


def weigh_repeats(numbers: Sequence[int], pick: Callable[[Sequence[int]], Bench]) -> Bench:
    """Return the bench on the prompts of `numbers`, which may repeat.

    A prompt that occurs k times is computed once with weight k, which leaves 63 % of a bootstrap
    sample.

    Args:
        pick: the bench on prompts of different numbers.
    """
    count = Counter(numbers)
    distinct = sorted(count)
    part = pick(distinct)
    times = torch.tensor([count[number] for number in distinct], dtype=torch.float64)
    weight = times.to(part.prompts.answer_row.device)
    if part.prompts.whole is None:
        weight = weight[part.prompts.answer_row]
    return replace(part, answer_weight=weight / weight.sum())


def can_take_rows(bench: Bench) -> bool:
    """Whether `take_rows` applies: activations are in memory, with one row for each prompt."""
    return bench.spill is None and bench.prompts.whole is None


def take_rows(bench: Bench, numbers: Sequence[int]) -> Bench:
    """Return the bench on some prompts, with the activations that `bench` has of them.

    What removed edges carry is taken over as well; under mean ablation that is the mean over all
    prompts of `bench`.
    """
    prompts = pick_prompts(bench.prompts, numbers)
    rows = torch.tensor(numbers, device=bench.prompts.clean.device)
    of_row: dict[int, list[int]] = {}
    for answer, row in enumerate(bench.prompts.answer_row.tolist()):
        of_row.setdefault(row, []).append(answer)
    answers = torch.tensor([a for row in numbers for a in of_row.get(row, ())], device=rows.device)
    return replace(
        bench,
        prompts=prompts,
        layout=replace(
            bench.layout,
            batch=len(prompts),
            answer_row=prompts.answer_row,
            answer_pos=prompts.answer_pos,
            span_index=None if prompts.spans is None else prompts.spans.index,
        ),
        clean=SourceOutputs(bench.clean.outputs[:, rows], bench.clean.final[rows]),
        ablated=bench.ablated[:, rows],
        logprobs=bench.logprobs[answers],
        score_elsewhere=None,
    )
