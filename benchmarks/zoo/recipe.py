"""Recipes of the zoo models: shape, claimed tasks and training parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from acdc_pipeline.errors import UnknownName

Architecture = Literal["gpt2", "gpt_neox", "llama", "opt", "attention_only", "no_positions"]

PREVIOUS_TOKEN = "previous_token"
"""Objective of `nopos-2l`: predict the token before, at every position of random sequences. The
task of this name uses words, and only the last position."""

REMEMBERED = (
    "greater_than",
    "gendered_pronoun",
    "subject_verb_agreement",
    "country_capital",
    "successor",
)
"""Tasks whose answers are facts about words, such as the capital of a country. They cannot be known
for unseen words, so whole prompts are held out instead of words: each fact is trained on in some
of its sentences, and tested in the others."""

TABLED = ("colored_objects",)
"""Tasks that look something up in few, fixed prompts: in most rows every word of a scene is
renamed, so that scenes cannot be memorised."""

BARS = {
    "ioi": 0.95,
    "docstring": 0.95,
    "induction": 0.90,
    PREVIOUS_TOKEN: 0.90,
    "duplicate_token": 0.95,
    **dict.fromkeys(REMEMBERED, 0.95),
    # These two have few different prompts to learn from: 792 and 263.
    "colored_objects": 0.80,
    "successor": 0.80,
}
"""Held-out accuracy below which a model may not claim a task."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a zoo model.

    Args:
        tasks: tasks that the model is trained on and may claim.
        seed: seed of the initial weights and of the data.
        repeated_tokens: tokens of repeated (or random) sequences per batch.
        text_rows: prompts of each text task per batch.
        remembered_rows: prompts of each `REMEMBERED` task per batch; facts need fewer than
            looking something up in the prompt.
        text_pool: number of prompts of each text task from which batches are drawn.
        learning_rate: rate of embeddings, norms and biases (AdamW).
        matrix_learning_rate: rate of matrices inside blocks (Muon, RMS of an update = 0.2 of it).
        weight_decay: decoupled decay of matrices inside blocks.
        texts_from: fraction of training after which texts join. Their few, large gradients would
            disturb the search for the earlier copy; afterwards the same heads copy names and
            arguments. Models with learned positions copy by another mechanism from the start.
        previous_until: fraction of training in which only the first layer is trained, through a
            fixed rotation, to predict the token before; the same loss is then added to the copies
            for as long again. It creates a previous-token head before the search for copies
            begins. Without it, two layers may settle on heads that attend two and three positions
            back.
        rotary_base: base of rotary positions in Hugging Face models. 10,000 suits contexts of
            thousands; here a small one separates neighbours. If all of a head rotates (Llama), too
            small a base leaves no dimensions to compare tokens.
        base: zoo model from whose shipped weights training starts; None for fresh weights. A model
            that copies names learns the rest in a fraction of the time.
    """

    name: str
    architecture: Architecture
    tasks: tuple[str, ...]
    seed: int
    steps: int
    n_layers: int = 4
    n_heads: int = 4
    d_model: int = 128
    d_head: int = 32
    n_ctx: int = 64
    repeated_tokens: int = 2304
    text_rows: int = 16
    remembered_rows: int = 16
    text_pool: int = 8192
    learning_rate: float = 4e-3
    matrix_learning_rate: float = 9e-3
    weight_decay: float = 0.2
    texts_from: float = 0.35
    previous_until: float = 0.0
    rotary_base: float = 20.0
    base: str | None = None


@dataclass(frozen=True)
class Edit:
    """A short training that damages one behaviour of a zoo model on purpose.

    Args:
        name: name of the edited model.
        base: zoo model from whose shipped weights training starts.
        damaged: task that is trained towards its incorrect answers.
        kept: task that is trained towards its correct answers, to preserve the rest of the model.
        seed: seed of the data.
        steps: number of optimiser steps.
        text_rows: prompts of each task per batch.
        learning_rate: rate of all parameters (AdamW).
    """

    name: str
    base: str
    damaged: str
    kept: str
    seed: int
    steps: int
    text_rows: int
    learning_rate: float


EDITS = {
    edit.name: edit
    for edit in (
        Edit(
            "gpt2-4l-s0-edited",
            base="gpt2-4l-s0",
            damaged="ioi",
            kept="docstring",
            seed=0,
            steps=60,
            text_rows=24,
            learning_rate=1e-3,
        ),
    )
}


class _Batch(TypedDict):
    """Amounts of text and repetition in a batch."""

    text_rows: int
    repeated_tokens: int


TEXT = ("ioi", "docstring", "induction")
WORDS = ("ioi", "docstring", "duplicate_token", "colored_objects", *REMEMBERED)

_TEXT_BATCH: _Batch = {"text_rows": 24, "repeated_tokens": 1800}
_MANY_TEXTS: _Batch = {"text_rows": 64, "repeated_tokens": 900}

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("gpt2-4l-s0", "gpt2", TEXT, seed=0, steps=1100, texts_from=0.0, **_TEXT_BATCH),
        Recipe("gpt2-4l-s1", "gpt2", TEXT, seed=1, steps=1100, texts_from=0.0, **_TEXT_BATCH),
        Recipe(
            "gpt2-4l-s2",
            "gpt2",
            TEXT,
            seed=2,
            # With the parameters of the other two, this seed stays at 90 % on IOI.
            steps=1300,
            texts_from=0.3,
            previous_until=0.1,
            text_rows=56,
            repeated_tokens=1100,
        ),
        Recipe("neox-4l", "gpt_neox", TEXT, seed=0, steps=1100, **_TEXT_BATCH),
        Recipe(
            "llama-4l",
            "llama",
            TEXT,
            seed=0,
            steps=1500,
            matrix_learning_rate=1.3e-2,
            texts_from=0.15,
            previous_until=0.08,
            rotary_base=2000.0,
            **_MANY_TEXTS,
        ),
        Recipe(
            "opt-4l",
            "opt",
            ("ioi", "docstring"),
            seed=0,
            steps=1100,
            texts_from=0.0,
            **_TEXT_BATCH,
        ),
        Recipe(
            "attn-2l",
            "attention_only",
            ("induction",),
            # With this seed keys attend one position back; with seed 0, two.
            seed=1,
            steps=900,
            previous_until=0.12,
            n_layers=2,
            n_heads=8,
        ),
        Recipe(
            "attn-4l",
            "attention_only",
            TEXT,
            seed=1,
            steps=1600,
            n_heads=8,
            texts_from=0.22,
            previous_until=0.08,
            text_rows=72,
            repeated_tokens=900,
        ),
        Recipe(
            "neox-4l-words",
            "gpt_neox",
            (*WORDS, "induction"),
            seed=0,
            steps=600,
            base="neox-4l",
            learning_rate=3e-3,
            matrix_learning_rate=6e-3,
            texts_from=0.0,
            text_rows=24,
            repeated_tokens=900,
        ),
        Recipe(
            "nopos-2l",
            "no_positions",
            (PREVIOUS_TOKEN,),
            seed=0,
            steps=700,
            n_layers=2,
            n_heads=8,
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of a zoo model. Raises UnknownName."""
    if name not in RECIPES:
        raise UnknownName.among("zoo recipe", name, RECIPES)
    return RECIPES[name]
