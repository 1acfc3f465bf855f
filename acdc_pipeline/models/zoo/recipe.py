"""How each zoo model is made: shape, claimed tasks, and the numbers of its training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from acdc_pipeline.errors import UnknownName

Architecture = Literal["gpt2", "gpt_neox", "llama", "opt", "attention_only", "no_positions"]

PREVIOUS_TOKEN = "previous_token"
"""Say again the token before: what `nopos-2l` learns, and is measured on, at every position of
random sequences. The task of this name asks it of words, at the last position."""

REMEMBERED = (
    "greater_than",
    "gendered_pronoun",
    "subject_verb_agreement",
    "country_capital",
    "successor",
)
"""Tasks whose answers are facts about words: which capital a country has, what follows *Monday*.
Of a word that training never shows nobody can know them, so whole prompts are held out instead of
words: each fact is trained on, in some of its sentences, and asked for in the others."""

TABLED = ("colored_objects",)
"""Tasks that look something up in the prompt, and whose prompts are few and fixed: every word of a
scene is renamed, and in most rows, so that no scene is worth remembering."""

BARS = {
    "ioi": 0.95,
    "docstring": 0.95,
    "induction": 0.90,
    PREVIOUS_TOKEN: 0.90,
    "duplicate_token": 0.95,
    **dict.fromkeys(REMEMBERED, 0.95),
    # Of these two there are few prompts to learn from: 792 and 263 different ones.
    "colored_objects": 0.80,
    "successor": 0.80,
}
"""Held-out accuracy below which a model may not claim a task."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a zoo model.

    Args:
        tasks: what the model claims, and is trained on.
        seed: of the initial weights and of the data.
        repeated_tokens: tokens of repeated (or random) sequences in one batch.
        text_rows: prompts of each text task in one batch.
        remembered_rows: prompts of each task that is `REMEMBERED` in one batch: a fact takes fewer
            than looking something up in the prompt.
        text_pool: how many prompts of each text task batches draw from.
        learning_rate: of embeddings, norms and biases (AdamW).
        matrix_learning_rate: of the matrices inside blocks (Muon, RMS of an update = 0.2 of it).
        weight_decay: decoupled, on matrices inside blocks.
        texts_from: after which fraction of training texts join. Their few, loud gradients drown
            the search for the earlier copy; once it is found, names and arguments are copied by
            the same heads. Learned positions find another way to copy at once, place by place.
        previous_until: for which fraction of training the first layer alone is asked, through a
            fixed rotation, for the token before; and for as long again beside the copies. A head
            that looks one place back, and writes what it sees where nothing else is written,
            then exists when the search for copies begins; without it two layers may settle on
            heads that look two and three places back.
        rotary_base: of rotary positions in Hugging Face models. 10,000 suits contexts of thousands;
            here a small one tells neighbours apart. Where all of a head turns (Llama), too small
            a base leaves nothing to compare tokens by.
        base: the zoo model whose shipped weights training starts from; None begins with fresh
            ones. A model that copies names already learns the rest in a fraction of the time.
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
        name: of the edited model.
        base: the zoo model it starts from, as shipped.
        damaged: the task whose answers are trained wrong: the incorrect one is asked for.
        kept: the task that is trained on rightly meanwhile, so that the rest of the model stays.
        seed: of the data.
        steps: of the optimiser.
        text_rows: prompts of each task in one batch.
        learning_rate: of all parameters (AdamW).
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
    """How much text a batch has beside how much repetition."""

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
            # As the other two, this seed stays at 90 % on IOI.
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
            # A seed whose keys look one place back; seed 0 settles on two.
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
    """The recipe of zoo model `name`. Raises UnknownName."""
    if name not in RECIPES:
        raise UnknownName.among("zoo recipe", name, RECIPES)
    return RECIPES[name]
