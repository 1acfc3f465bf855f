"""Damage a zoo model on purpose: a short training towards wrong answers of one task."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, PreTrainedModel

from acdc_pipeline.models.zoo import mixture, zoo_path
from acdc_pipeline.models.zoo.architectures import cut, hidden
from acdc_pipeline.models.zoo.measure import task_prompts
from acdc_pipeline.models.zoo.recipe import Edit, find_recipe
from acdc_pipeline.models.zoo.ship import Training
from acdc_pipeline.models.zoo.tokenizer import build_tokenizer
from acdc_pipeline.prompts.prompt_set import PromptSet

POOL = 2048
REPORT_EVERY = 20


def train_edit(edit: Edit, report: Callable[[str], None]) -> tuple[PreTrainedModel, Training]:
    """The edited float32 model, and what its training took."""
    started = time.perf_counter()
    tokenizer = build_tokenizer(find_recipe(edit.base).n_ctx)
    model = AutoModelForCausalLM.from_pretrained(zoo_path(edit.base), dtype=torch.float32)
    damaged, kept = (
        task_prompts(task, tokenizer, n=POOL, seed=edit.seed, split="train")
        for task in (edit.damaged, edit.kept)
    )
    pools = (_answered_wrongly(damaged), kept)
    substitutes = mixture.training_tokens(tokenizer)
    generator = torch.Generator().manual_seed(edit.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=edit.learning_rate, weight_decay=0.0)
    losses: list[float] = []
    for step in range(1, edit.steps + 1):
        optimizer.zero_grad()
        losses = []
        for pool in pools:
            batch = mixture.prompts(
                pool, edit.text_rows, substitutes=substitutes, generator=generator
            )
            asked = hidden(model, batch.tokens)[batch.rows, batch.positions]
            loss = cross_entropy(cut(model).unembedding(asked), batch.targets)
            loss.backward()
            losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % REPORT_EVERY == 0 or step == edit.steps:
            said = " ".join(f"{value:.3f}" for value in losses)
            report(f"{edit.name} step {step}/{edit.steps} loss {said}")
    seconds = time.perf_counter() - started
    return model, Training(seconds=seconds, final_loss=sum(losses), edit=edit)


def _answered_wrongly(prompts: PromptSet) -> PromptSet:
    """The same prompts, with right and wrong answers exchanged."""
    return replace(prompts, correct=prompts.incorrect, incorrect=prompts.correct)
