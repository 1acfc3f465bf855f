"""How well the whole model does on the prompts that its heads are profiled on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from acdc_pipeline.engine.forward import unembed
from acdc_pipeline.heads.answer_places import rows_of
from acdc_pipeline.heads.batches import chunks, rows_at_once
from acdc_pipeline.heads.layer_run import run_tokens
from acdc_pipeline.metrics import METRICS, Reading
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs.names import MetricName


def model_metrics(
    weights: TransformerWeights, prompts: PromptSet, names: Sequence[MetricName], memory: int
) -> dict[str, float]:
    """Each metric of the whole model, mean over answers, under `model_` and its name.

    KL to itself is left out, and metrics that compare with incorrect answers where a prompt has
    none.

    Raises:
        OutOfMemoryBudget: `memory` does not hold a single prompt.
    """
    whole = all(prompts.incorrect)
    wanted: list[MetricName] = [
        n for n in names if n != "kl" and (whole or METRICS[n].reads_incorrect == "no")
    ]
    found: dict[MetricName, list[Tensor]] = {name: [] for name in wanted}
    size = rows_at_once(weights, prompts.clean.shape[1], memory)
    with torch.no_grad():
        for rows in chunks(len(prompts), size):
            part, _ = rows_of(prompts, rows)
            final = run_tokens(weights, part.clean)[part.answer_row, part.answer_pos]
            logprobs = unembed(weights, final).log_softmax(-1)
            right, wrong = _mask(logprobs, part.correct), _mask(logprobs, part.incorrect)
            reading = Reading(logprobs, logprobs, right, wrong)
            for name in wanted:
                found[name].append(METRICS[name].score(reading).cpu().to(torch.float64))
    return {f"model_{name}": float(torch.cat(parts).mean()) for name, parts in found.items()}


def _mask(
    logprobs: Float[Tensor, "answer vocab"], tokens: Sequence[Sequence[int]]
) -> Bool[Tensor, "answer vocab"]:
    mask = torch.zeros_like(logprobs, dtype=torch.bool)
    for row, ids in enumerate(tokens):
        mask[row, list(ids)] = True
    return mask
