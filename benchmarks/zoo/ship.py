"""Write a trained zoo model: half-precision weights, tokenizer, and a card with its accuracy."""

from __future__ import annotations

import copy
import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from acdc_pipeline.models.tl_format import save_tl_directory
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.prompts.tokenization import bos_id, regular_ids
from benchmarks.zoo.architectures import ZooModel
from benchmarks.zoo.attention_only import (
    AttentionOnly,
    from_tl_tensors,
    is_tl_directory,
    read_tl_directory,
    tl_config,
    tl_tensors,
)
from benchmarks.zoo.batches import draw_previous, task_prompts
from benchmarks.zoo.recipe import BARS, PREVIOUS_TOKEN, REMEMBERED, Edit, Recipe
from benchmarks.zoo.tokenizer import build_tokenizer

Logits = Callable[[Tensor], Tensor]

PREVIOUS_TOKEN_LENGTH = 24
MEASURED_PROMPTS = 1024
# A seed no training pool uses.
MEASURED_SEED = 20_000


@dataclass(frozen=True)
class Training:
    """Cost and result of a training run, with its edit if it was one."""

    seconds: float
    final_loss: float
    edit: Edit | None = None


def ship(recipe: Recipe, model: ZooModel, training: Training, path: Path) -> dict[str, Any]:
    """Write the directory, measure the accuracies of the written model, and return its card."""
    tokenizer = build_tokenizer(recipe.n_ctx)
    if isinstance(model, AttentionOnly):
        halves = {name: tensor.half() for name, tensor in tl_tensors(model).items()}
        save_tl_directory(path, tl_config(model.config), halves, tokenizer)
    else:
        copy.deepcopy(model).half().save_pretrained(path)
        tokenizer.save_pretrained(path)
    card = _measure_card(recipe, training, path)
    (path / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    (path / "README.md").write_text(_format_readme(card), encoding="utf-8")
    return card


def load_shipped(path: Path) -> tuple[Logits, PreTrainedTokenizerBase]:
    """Return logits function and tokenizer of a zoo directory, in float32."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    if is_tl_directory(path):
        return from_tl_tensors(*read_tl_directory(path)), tokenizer
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    return lambda tokens: model(input_ids=tokens, use_cache=False).logits, tokenizer


def _measure_card(recipe: Recipe, training: Training, path: Path) -> dict[str, Any]:
    logits, tokenizer = load_shipped(path)
    accuracies = {
        task: measure_held_out(logits, task, tokenizer, n=MEASURED_PROMPTS, seed=MEASURED_SEED)
        for task in recipe.tasks
    }
    edit = training.edit
    # An edited model ships for comparison with its base, and claims no task.
    claimed = () if edit else [task for task, value in accuracies.items() if value >= BARS[task]]
    return {
        "name": recipe.name,
        "architecture": recipe.architecture,
        "tasks": list(claimed),
        "held_out_accuracy": {task: round(value, 4) for task, value in accuracies.items()},
        "required_accuracy": {task: BARS[task] for task in recipe.tasks},
        "measured": {
            "prompts": MEASURED_PROMPTS,
            "seed": MEASURED_SEED,
            "split": "held_out",
            "weights": "shipped float16, loaded as float32",
        },
        "positions": "none" if recipe.architecture == "no_positions" else "yes",
        **({"edit": asdict(edit)} if edit else {}),
        "training": {
            **asdict(recipe),
            "optimizer": "AdamW (all parameters)"
            if edit
            else "Muon (matrices inside blocks), AdamW (all other parameters)",
            "schedule": "constant" if edit else "linear warm-up, cosine decay",
            "precision": "float32",
            "threads": torch.get_num_threads(),
            "seconds": round(training.seconds, 1),
            "final_loss": round(training.final_loss, 4),
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
    }


_ABOUT = {
    "gpt2": "A 4-layer GPT-2 (`GPT2LMHeadModel`): learned positions, tied embeddings.",
    "gpt_neox": "A 4-layer GPT-NeoX (`GPTNeoXForCausalLM`): attention and MLP in parallel, rotary"
    " positions on a quarter of each head.",
    "llama": "A 4-layer Llama (`LlamaForCausalLM`): grouped-query attention with two query heads"
    " to each key/value head, RMSNorm, gated MLP, rotary positions.",
    "opt": "A 4-layer OPT (`OPTForCausalLM`): learned positions, ReLU, tied embeddings.",
    "attention_only": "An attention-only transformer: LayerNorm, rotary positions on a quarter of"
    " each head, no MLPs; TransformerLens format.",
    "no_positions": "An attention-only transformer without any positional information, after an"
    " experiment proposed by Neel Nanda: can a causal model work out positions by itself? It says"
    " again the token before the current one, in random tokens. The format has no way to leave"
    " positions out, so `pos_embed.W_pos` is all zeros; it was never trained. TransformerLens"
    " format.",
}


def _format_readme(card: dict[str, Any]) -> str:
    training = card["training"]
    rows = [
        f"| {task} | {value:.2%} | {card['required_accuracy'][task]:.0%} "
        f"| {'yes' if task in card['tasks'] else 'no'} |"
        for task, value in card["held_out_accuracy"].items()
    ]
    return "\n".join(
        [
            f"# {card['name']}",
            "",
            _ABOUT[card["architecture"]],
            f"{training['n_layers']} layers, {training['n_heads']} heads a layer, width"
            f" {training['d_model']}, up to {training['n_ctx']} tokens; weights in half precision.",
            "",
            "| task | held-out accuracy | required | claimed |",
            "|---|---|---|---|",
            *rows,
            "",
            f"{_describe_held_out(card)} Measured on {card['measured']['prompts']} prompts with the"
            " weights as shipped: the most probable token of the whole vocabulary is the right"
            " one.",
            "",
            _describe_training(card),
            "",
            f"    python -m benchmarks.zoo.train {card['name']}",
            "",
        ]
    )


def _describe_held_out(card: dict[str, Any]) -> str:
    """Return a description of the held-out data."""
    tasks = card["held_out_accuracy"]
    if PREVIOUS_TOKEN in tasks:
        return "Random rows that differ from the training rows."
    words = (
        "Words, and pairs of adjacent tokens in the induction task, that the task's training"
        " prompts never contain."
    )
    facts = [f"`{task}`" for task in REMEMBERED if task in tasks]
    if not facts:
        return words
    return (
        f"{words} In {', '.join(facts)}, where the answer is a fact about a word, held out are"
        " whole prompts: training shows each fact in other sentences, or beside other words."
    )


def _describe_training(card: dict[str, Any]) -> str:
    """Return a paragraph on the training."""
    training, edit = card["training"], card.get("edit")
    took = f"in {training['seconds']:.0f} s on {training['threads']} CPU thread(s)"
    if edit is not None:
        return (
            f"`{edit['base']}`, damaged on purpose {took}: {edit['steps']} steps of AdamW with"
            f" learning rate {edit['learning_rate']}, seed {edit['seed']}, on {edit['text_rows']}"
            f" {edit['damaged']} prompts whose wrong answer is asked for and as many"
            f" {edit['kept']} prompts that are answered rightly. It ships so that `acdc regress`"
            " can be seen to find the difference, and claims no task. All numbers are in"
            " `card.json`."
        )
    base = training.get("base")
    start = f" from the weights of `{base}` as shipped" if base else ""
    shown = any(task in REMEMBERED for task in training["tasks"])
    facts = f", {training['remembered_rows']} where the answer is a fact" if shown else ""
    return (
        f"Trained for {training['steps']} steps {took}{start}, seed {training['seed']}, a batch"
        f" being {training['repeated_tokens']} random tokens and {training['text_rows']} prompts of"
        f" each text task{facts}. Muon with learning rate"
        f" {training['matrix_learning_rate']} and weight decay {training['weight_decay']} for"
        f" the matrices inside blocks, AdamW with {training['learning_rate']} for the rest."
        " All numbers are in `card.json`."
    )


def measure_accuracy(logits: Logits, prompts: PromptSet) -> float:
    """Return the fraction of answers whose most probable token is correct."""
    with torch.no_grad():
        at_answers = logits(prompts.clean)[prompts.answer_row, prompts.answer_pos]
    guesses = at_answers.argmax(-1).tolist()
    hits = [guess in right for guess, right in zip(guesses, prompts.correct, strict=True)]
    return sum(hits) / len(hits)


def _measure_previous_token(
    logits: Logits, tokenizer: PreTrainedTokenizerBase, *, n: int, seed: int
) -> float:
    """Return the fraction of positions, from the third on, that predict the token before them.

    There are so many random sequences that fresh ones need no holding out.
    """
    batch = draw_previous(
        n,
        PREVIOUS_TOKEN_LENGTH,
        tokens=torch.tensor(regular_ids(tokenizer)),
        bos=bos_id(tokenizer),
        generator=torch.Generator().manual_seed(seed),
    )
    with torch.no_grad():
        guesses = logits(batch.tokens).argmax(-1)[batch.rows, batch.positions]
    return (guesses == batch.targets).float().mean().item()


def measure_held_out(
    logits: Logits, task: str, tokenizer: PreTrainedTokenizerBase, *, n: int, seed: int
) -> float:
    """Return the accuracy on `n` held-out prompts, or on random rows for `previous_token`."""
    if task == PREVIOUS_TOKEN:
        return _measure_previous_token(logits, tokenizer, n=n, seed=seed)
    prompts = task_prompts(task, tokenizer, n=n, seed=seed, split="held_out")
    return measure_accuracy(logits, prompts)
