"""Train zoo models: `python -m benchmarks.zoo.train NAME... [--out DIR]`.

Everything is seeded: the same command on the same machine and thread count gives the same
weights. Without `--out` the shipped directories are replaced.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from acdc_pipeline.errors import AcdcError
from acdc_pipeline.models.zoo import WEIGHTS, zoo_path
from acdc_pipeline.prompts.tokenization import bos_id, regular_ids
from benchmarks.zoo.architectures import (
    ZooModel,
    build,
    cut,
    hidden,
    hidden_after_first_block,
)
from benchmarks.zoo.batches import (
    MOST_ROWS,
    NO_ROWS,
    RENAMED_ROWS,
    Batch,
    draw_previous,
    draw_prompts,
    draw_repeated,
    find_filled_in,
    task_prompts,
    training_pairs,
    training_tokens,
)
from benchmarks.zoo.recipe import (
    EDITS,
    PREVIOUS_TOKEN,
    RECIPES,
    REMEMBERED,
    TABLED,
    Edit,
    Recipe,
    find_recipe,
)
from benchmarks.zoo.ship import Training, measure_held_out, ship
from benchmarks.zoo.tokenizer import build_tokenizer

# (end of a phase as a fraction of training, lengths of repeated sequences). A head that attends one
# position back is learnt separately for each position, so the length hardly changes; and short
# sequences leave a head fewer positions among which to find the earlier copy.
LENGTHS = ((0.85, (18,)), (1.0, (18, 22)))
PREVIOUS_LENGTHS = ((0.3, (8,)), (0.6, (16,)), (1.0, (24,)))
WARMUP_STEPS = 50
FINAL_LEARNING_RATE = 0.02
REPORT_EVERY = 100

EDIT_POOL = 2048
REPORT_EDIT_EVERY = 20

Lengths = tuple[tuple[float, tuple[int, ...]], ...]
Report = Callable[[str], None]


def train(recipe: Recipe, report: Report) -> tuple[ZooModel, Training]:
    """Return a trained float32 model, and the record of its training."""
    started = time.perf_counter()
    tokenizer = build_tokenizer(recipe.n_ctx)
    torch.manual_seed(recipe.seed)
    model = build(recipe, vocab=len(tokenizer), bos=bos_id(tokenizer))
    if recipe.base is not None:
        shipped = AutoModelForCausalLM.from_pretrained(zoo_path(recipe.base), dtype=torch.float32)
        model.load_state_dict(shipped.state_dict())
    parts = cut(model)
    optimizers = (
        torch.optim.Muon(
            parts.matrices,
            lr=recipe.matrix_learning_rate,
            weight_decay=recipe.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(
            parts.others, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
        ),
    )
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    generator = torch.Generator().manual_seed(recipe.seed)
    square = torch.randn(recipe.d_model, recipe.d_model, generator=generator)
    rotation = torch.linalg.qr(square).Q
    losses: list[float] = []
    for step, batches in enumerate(_draw_batches(recipe, tokenizer)):
        factor = _schedule(step, recipe.steps)
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor
            optimizer.zero_grad()
        losses = []
        done = step / recipe.steps
        if done < 2 * recipe.previous_until:
            _previous_token_loss(model, tokenizer, rotation, seed=step).backward()
        for batch in batches if done >= recipe.previous_until else ():
            loss = _compute_loss(model, batch)
            (loss / len(batches)).backward()
            losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == recipe.steps:
            report(_progress(recipe, model, tokenizer, step + 1, losses, started))
    training = Training(seconds=time.perf_counter() - started, final_loss=sum(losses))
    return model, training


def _draw_batches(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Iterator[list[Batch]]:
    """Yield for each step one batch per kind of data."""
    generator = torch.Generator().manual_seed(recipe.seed)
    ids = regular_ids(tokenizer)
    tokens, bos = torch.tensor(ids), bos_id(tokenizer)
    if PREVIOUS_TOKEN in recipe.tasks:
        for step in range(recipe.steps):
            length = _length(PREVIOUS_LENGTHS, step, recipe.steps)
            rows = recipe.repeated_tokens // length
            yield [draw_previous(rows, length, tokens=tokens, bos=bos, generator=generator)]
        return
    allowed = training_pairs(tokenizer, ids)
    substitutes = training_tokens(tokenizer)
    pools = {
        task: task_prompts(task, tokenizer, n=recipe.text_pool, seed=recipe.seed, split="train")
        for task in recipe.tasks
        if task != "induction"
    }
    words = {task: find_filled_in(pool) if task in TABLED else None for task, pool in pools.items()}
    for step in range(recipe.steps):
        length = _length(LENGTHS, step, recipe.steps)
        rows = recipe.repeated_tokens // length
        copies = draw_repeated(
            rows, length, tokens=tokens, allowed=allowed, bos=bos, generator=generator
        )
        texts = [
            draw_prompts(
                pool,
                recipe.remembered_rows if task in REMEMBERED else recipe.text_rows,
                substitutes=substitutes,
                generator=generator,
                words=words[task],
                renamed_rows=_renamed_rows(task),
            )
            for task, pool in pools.items()
            if step >= recipe.texts_from * recipe.steps
        ]
        yield [copies, *texts]


def _renamed_rows(task: str) -> float:
    if task in REMEMBERED:
        return NO_ROWS
    return MOST_ROWS if task in TABLED else RENAMED_ROWS


def _previous_token_loss(
    model: ZooModel, tokenizer: PreTrainedTokenizerBase, rotation: Tensor, seed: int
) -> Tensor:
    """Return the loss of the first layer alone on the previous token, read through a rotation."""
    batch = draw_previous(
        48,
        24,
        tokens=torch.tensor(regular_ids(tokenizer)),
        bos=bos_id(tokenizer),
        generator=torch.Generator().manual_seed(seed),
    )
    read = hidden_after_first_block(model, batch.tokens) @ rotation
    logits = cut(model).unembedding(read[batch.rows, batch.positions])
    return cross_entropy(logits, batch.targets)


def _compute_loss(model: ZooModel, batch: Batch) -> Tensor:
    read = hidden(model, batch.tokens)[batch.rows, batch.positions]
    return cross_entropy(cut(model).unembedding(read), batch.targets)


def _schedule(step: int, steps: int) -> float:
    """Return the factor on learning rates: linear warm-up, then cosine decay."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm * (FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * cosine)


def _length(lengths: Lengths, step: int, steps: int) -> int:
    """Return the length at this step; the lengths of a phase take turns."""
    phase = next(phase for until, phase in lengths if step < until * steps)
    return phase[step % len(phase)]


def _progress(
    recipe: Recipe,
    model: ZooModel,
    tokenizer: PreTrainedTokenizerBase,
    step: int,
    losses: list[float],
    started: float,
) -> str:
    """Return a line with the losses and the held-out accuracy of each task."""
    unembedding = cut(model).unembedding

    def logits(tokens: Tensor) -> Tensor:
        return unembedding(hidden(model, tokens))

    accuracies = {
        task: measure_held_out(logits, task, tokenizer, n=128, seed=0) for task in recipe.tasks
    }
    scores = ", ".join(f"{task} {value:.3f}" for task, value in accuracies.items())
    loss = " ".join(f"{value:.3f}" for value in losses)
    seconds = time.perf_counter() - started
    return f"{recipe.name} step {step}/{recipe.steps} {seconds:.0f}s loss {loss} | {scores}"


def train_edit(edit: Edit, report: Report) -> tuple[PreTrainedModel, Training]:
    """Damage one task of a zoo model by training towards its wrong answers."""
    started = time.perf_counter()
    tokenizer = build_tokenizer(find_recipe(edit.base).n_ctx)
    model = AutoModelForCausalLM.from_pretrained(zoo_path(edit.base), dtype=torch.float32)
    damaged, kept = (
        task_prompts(task, tokenizer, n=EDIT_POOL, seed=edit.seed, split="train")
        for task in (edit.damaged, edit.kept)
    )
    wrong = replace(damaged, correct=damaged.incorrect, incorrect=damaged.correct)
    pools = (wrong, kept)
    substitutes = training_tokens(tokenizer)
    generator = torch.Generator().manual_seed(edit.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=edit.learning_rate, weight_decay=0.0)
    losses: list[float] = []
    for step in range(1, edit.steps + 1):
        optimizer.zero_grad()
        losses = []
        for pool in pools:
            batch = draw_prompts(pool, edit.text_rows, substitutes=substitutes, generator=generator)
            loss = _compute_loss(model, batch)
            loss.backward()
            losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % REPORT_EDIT_EVERY == 0 or step == edit.steps:
            loss_text = " ".join(f"{value:.3f}" for value in losses)
            report(f"{edit.name} step {step}/{edit.steps} loss {loss_text}")
    seconds = time.perf_counter() - started
    return model, Training(seconds=seconds, final_loss=sum(losses), edit=edit)


def _find_any_recipe(name: str) -> Recipe:
    """Return the recipe of a model; for an edited one, that of its base under its own name."""
    edit = EDITS.get(name)
    if edit is None:
        return find_recipe(name)
    base = find_recipe(edit.base)
    return replace(base, name=name, tasks=(edit.damaged, edit.kept))


def _print_line(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(arguments: list[str]) -> int:
    """Train, write and measure the named models, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo.train")
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help=f"{', '.join((*RECIPES, *EDITS))}, or all"
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="default: the shipped weights")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    names = [*RECIPES, *EDITS] if options.names == ["all"] else options.names
    try:
        for recipe in [_find_any_recipe(name) for name in names]:
            edit = EDITS.get(recipe.name)
            model, training = train_edit(edit, _print_line) if edit else train(recipe, _print_line)
            card = ship(recipe, model, training, options.out / recipe.name)
            _print_line(f"{recipe.name} {options.out / recipe.name} {card['held_out_accuracy']}")
    except AcdcError as error:
        _print_line(f"acdc: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
