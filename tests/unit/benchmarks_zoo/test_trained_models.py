"""The trained models that ship: whole, small, honest about what they have learnt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from acdc_pipeline.models import describe_model, list_zoo, load_model
from acdc_pipeline.models.zoo import zoo_path
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.prompts.split import is_held_out
from benchmarks.zoo import ship
from benchmarks.zoo.batches import (
    draw_prompts,
    find_filled_in,
    held_out_pairs,
    task_prompts,
    training_tokens,
)
from benchmarks.zoo.recipe import (
    BARS,
    EDITS,
    PREVIOUS_TOKEN,
    RECIPES,
    REMEMBERED,
    find_recipe,
)
from benchmarks.zoo.ship import load_shipped, measure_accuracy, measure_held_out
from benchmarks.zoo.tokenizer import build_tokenizer
from benchmarks.zoo.train import main, train, train_edit

TRAINED = sorted(RECIPES)
FIRST = [f"gpt2-4l-s{seed}" for seed in range(3)] + [
    "neox-4l",
    "llama-4l",
    "attn-2l",
    "attn-4l",
    "nopos-2l",
]
"""The models of three tasks in as many architectures as there were at first."""


def load_shipped_weights(name: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(zoo_path(name) / "model.safetensors")


def _card(name: str) -> dict:
    return json.loads((zoo_path(name) / "card.json").read_text(encoding="utf-8"))


def test_zoo_ships_every_model_it_has_a_recipe_for():
    assert set(TRAINED) <= set(list_zoo())


def test_zoo_weights_of_the_first_models_stay_below_twenty_megabytes_and_others_below_three():
    sizes = {
        name: sum(file.stat().st_size for file in zoo_path(name).iterdir()) for name in list_zoo()
    }
    assert sum(sizes[name] for name in FIRST) <= 20 * 10**6
    assert max(sizes.values()) <= 3 * 10**6


def test_zoo_three_seeds_are_three_models():
    embeddings = [load_model(f"zoo:gpt2-4l-s{seed}").weights.w_e for seed in range(3)]
    assert not torch.equal(embeddings[0], embeddings[1])
    assert not torch.equal(embeddings[1], embeddings[2])


CLAIMED = {
    "gpt2-4l-s0": {"ioi", "docstring"},
    "gpt2-4l-s1": {"ioi", "docstring"},
    "gpt2-4l-s2": {"ioi", "docstring"},
    "neox-4l": {"ioi", "docstring", "induction"},
    "neox-4l-words": {"ioi", "docstring", "duplicate_token", "colored_objects", *REMEMBERED},
    "llama-4l": {"ioi", "docstring", "induction"},
    "opt-4l": {"ioi", "docstring"},
    "attn-2l": {"induction"},
    "attn-4l": {"ioi", "docstring", "induction"},
    "nopos-2l": {"previous_token"},
}


@pytest.mark.parametrize("name", TRAINED)
def test_card_claims_what_reaches_the_bar_and_nothing_else(name: str):
    card = _card(name)
    assert card["name"] == name
    accuracies = card["held_out_accuracy"]
    assert set(card["tasks"]) == {task for task in accuracies if accuracies[task] >= BARS[task]}
    assert set(card["tasks"]) >= CLAIMED[name]
    assert card["training"]["steps"] == find_recipe(name).steps


@pytest.fixture(scope="module")
def prompts_once() -> Iterator[None]:
    """Prompts of a task are made once for all models whose tokenizers are the same."""
    made: dict[tuple[Any, ...], PromptSet] = {}

    def prompts_of(task: str, tokenizer: Any, **asked: Any) -> PromptSet:
        key = (task, tokenizer.backend_tokenizer.to_str(), *sorted(asked.items()))
        if key not in made:
            made[key] = task_prompts(task, tokenizer, **asked)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ship, "task_prompts", prompts_of)
        yield


@pytest.mark.usefixtures("prompts_once")
@pytest.mark.parametrize("name", [*TRAINED, *EDITS])
def test_held_out_accuracy_of_fresh_prompts_agrees_with_the_card(name: str):
    logits, tokenizer = load_shipped(zoo_path(name))
    for task, stated in _card(name)["held_out_accuracy"].items():
        # Of five prompts of a remembered task one is held out, and all five have to be made.
        n = 128 if task in REMEMBERED else 256
        fresh = measure_held_out(logits, task, tokenizer, n=n, seed=77)
        # Three standard errors of a share near 0.95, and a little more.
        assert fresh == pytest.approx(stated, abs=0.005 + 3 * (0.95 * 0.05 / n) ** 0.5)


@pytest.mark.parametrize("name", EDITS)
def test_edited_model_lost_one_task_kept_another_and_claims_none(name: str):
    card, edit = _card(name), EDITS[name]
    before, after = _card(edit.base)["held_out_accuracy"], card["held_out_accuracy"]
    assert after[edit.damaged] < 0.5 < BARS[edit.damaged] <= before[edit.damaged]
    assert after[edit.kept] >= BARS[edit.kept]
    assert card["tasks"] == []


def test_editing_two_steps_twice_gives_the_same_weights():
    from dataclasses import replace

    edit = replace(EDITS["gpt2-4l-s0-edited"], steps=2)
    first, again = (train_edit(edit, lambda _: None)[0] for _ in range(2))
    shipped = load_shipped_weights(edit.base)
    for key, one in first.state_dict().items():
        assert torch.equal(one, again.state_dict()[key]), key
    moved = "transformer.h.0.attn.c_attn.weight"
    assert not torch.equal(first.state_dict()[moved], shipped[moved].float())


@pytest.mark.parametrize("name", TRAINED)
def test_shipped_model_loads_as_any_other_and_is_supported(name: str):
    description = describe_model(f"zoo:{name}")
    assert description.refused is None
    assert load_model(f"zoo:{name}", device="cpu").topology.n_edges == description.n_edges


@pytest.mark.parametrize("task", ["country_capital", "gendered_pronoun"])
def test_prompts_of_a_remembered_task_are_held_out_whole_and_every_fact_is_trained_on(task: str):
    tokenizer = build_tokenizer(64)
    trained = task_prompts(task, tokenizer, n=256, seed=0, split="train")
    held_out = task_prompts(task, tokenizer, n=256, seed=20_000, split="held_out")
    assert not set(trained.clean_text) & set(held_out.clean_text)
    assert all(is_held_out(text) for text in held_out.clean_text)
    assert {answer[0] for answer in held_out.correct} <= {a for c in trained.correct for a in c}


def test_renaming_every_word_of_a_scene_leaves_its_sentence_and_its_answer_right():
    tokenizer = build_tokenizer(64)
    pool = task_prompts("colored_objects", tokenizer, n=180, seed=0, split="train")
    substitutes = training_tokens(tokenizer)
    batch = draw_prompts(
        pool,
        64,
        substitutes=substitutes,
        generator=torch.Generator().manual_seed(0),
        renamed_rows=1.0,
        words=find_filled_in(pool),
    )
    asked = zip(
        batch.tokens.tolist(), batch.positions.tolist(), batch.targets.tolist(), strict=True
    )
    for tokens, position, target in asked:
        # "… a red cup … The cup is": the answer stands before the first mention of what is asked
        first = tokens.index(tokens[position - 1])
        assert str(tokenizer.decode([tokens[first - 2]])).strip() == "a"
        assert tokens[first - 1] == target


def test_zoo_attention_only_models_have_eight_heads_a_layer():
    for name in ("attn-2l", "attn-4l"):
        assert describe_model(f"zoo:{name}").n_heads == 8


def test_zoo_llama_is_grouped():
    description = describe_model("zoo:llama-4l")
    assert description.n_kv_heads < description.n_heads


def test_zoo_nopos_has_no_position_in_its_weights():
    weights = load_model("zoo:nopos-2l", device="cpu").weights
    assert weights.w_pos is None or not bool(weights.w_pos.any())
    assert all(block.attention.rotary is None for block in weights.blocks)


def test_zoo_nopos_answers_the_task_that_is_called_like_its_objective():
    logits, tokenizer = load_shipped(zoo_path("nopos-2l"))
    prompts = task_prompts(PREVIOUS_TOKEN, tokenizer, n=128, seed=0, split="all")
    assert measure_accuracy(logits, prompts) >= BARS[PREVIOUS_TOKEN]


@pytest.mark.parametrize("name", ["llama-4l", "attn-2l"])
def test_training_two_steps_twice_gives_the_same_weights(name: str):
    from dataclasses import replace

    recipe = replace(find_recipe(name), steps=2, text_pool=64, text_rows=8, repeated_tokens=288)
    said: list[str] = []
    first, _ = train(recipe, said.append)
    again, _ = train(recipe, said.append)
    assert "step 2/2" in said[0]
    for (key, one), other in zip(
        first.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), key


def test_training_unknown_name_is_one_message_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["gpt2-4l-s9", "--out", str(tmp_path)]) == 2
    assert "gpt2-4l-s" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_pairs_are_held_out_as_their_texts_are():
    words = [f"w{i}" for i in range(12)] + ["Ġa", ""]
    held_out = held_out_pairs(words)
    assert held_out == [[is_held_out(f"{a} {b}") for b in words] for a in words]
