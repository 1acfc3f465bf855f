"""What fits on cards: sizes known from publications, and sums of the parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.engine.memory_plan import MemoryPlan, ModelShape
from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.graph import Topology
from acdc_pipeline.workflows.card_plan import CardPlan, Conditions, plan_cards

CONFIGS = Path(__file__).parents[3] / "benchmarks" / "configs"
CONDITIONS = Conditions("bfloat16", card_memory=80 * 10**9, tokens=15, rate=2e13)


def planned(name: str, cards: tuple[int, ...], conditions: Conditions = CONDITIONS):
    _, sizes, plans = plan_cards(f"dir:{CONFIGS / name}", cards, conditions)
    return sizes, plans


def activations(plan: CardPlan, prompts: int) -> int:
    """Bytes on the first card of a worker for Llama 3.1 8B, of a number of prompts."""
    shape = ModelShape(Topology(32, 32, has_mlp=True), 4096, 128, 14336, 128256)
    memory = MemoryPlan(shape, prompts, 15, answers=prompts)
    held = memory.sources if plan.sources_in == "card" else 0
    return held + memory.receivers + memory.state


def test_weights_of_llama_are_the_published_numbers_by_layer():
    sizes, _ = planned("llama-3.1-8b", (1,))
    assert sizes.total == 8_030_261_248
    # q and o; k and v; gate, up and down; two norms
    layer = 2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096
    assert sizes.layers == (layer,) * 32
    assert sizes.around == 2 * 128256 * 4096 + 4096
    assert planned("llama-3.1-70b", (1,))[0].total == 70_553_706_496


def test_the_most_prompts_fit_and_one_more_does_not():
    _, plans = planned("llama-3.1-8b", (1,))
    for plan in plans:
        weights = 2 * 8_030_261_248
        assert plan.around + plan.layers == weights
        assert plan.layers_in == "held"
        assert plan.passing == plan.read == 0
        assert plan.used == weights + activations(plan, plan.prompts) <= 76e9
        assert weights + activations(plan, plan.prompts + 1) > 76e9
    assert [plan.sources_in for plan in plans] == ["card", "host"]
    assert plans[1].prompts > plans[0].prompts


def test_cards_that_hold_the_model_each_take_a_part_of_the_prompts():
    _, plans = planned("llama-3.1-8b", (1, 8))
    one, eight = plans[0], plans[2]
    assert (eight.workers, eight.cards_each) == (8, 1)
    assert eight.prompts == 8 * one.prompts
    assert eight.acdc_seconds == one.acdc_seconds


def test_layers_that_no_card_holds_are_on_others_or_in_files():
    _, plans = planned("llama-3.1-70b", (1, 8))
    one, eight = plans[0], plans[2]
    layers = 2 * (70_553_706_496 - 2 * 128256 * 8192 - 8192)
    assert one.layers_in == "files"
    assert one.layers + one.read == layers
    assert one.around + one.layers + one.passing <= 38e9  # half of the budget
    assert eight.layers_in == "cards"
    assert eight.workers == 1
    assert eight.layers + eight.read == layers
    assert eight.used <= 76e9
    assert eight.prompts > one.prompts


def test_times_are_operations_over_the_rate():
    _, (plan, _) = planned("llama-3.1-8b", (1,))
    # two operations per weight and token, without the embedding; the unembedding at the answers
    weights = 8_030_261_248 - 2 * 128256 * 4096
    forward = 2 * plan.prompts * (15 * weights + 128256 * 4096)
    n_edges = 1_592_881
    products = 2 * n_edges * plan.prompts * 15 * 4096
    assert plan.acdc_seconds == pytest.approx(0.02 * n_edges * forward / 2e13, rel=0.01)
    assert plan.eap_ig_seconds == pytest.approx((22 * forward + 5 * products) / 2e13, rel=0.01)


def test_a_card_too_small_for_one_prompt_has_none():
    conditions = Conditions("float32", card_memory=10**9, tokens=15, rate=2e13)
    assert [plan.prompts for plan in planned("llama-3.1-8b", (1, 2), conditions)[1]] == [0] * 4


def test_models_read_through_transformerlens_are_planned_roughly():
    _, sizes, plans = plan_cards("zoo:compiled-or", (1,), CONDITIONS)
    assert sizes.total > 0
    assert plans[0].prompts > 0


def test_a_folder_without_config_and_an_unsupported_class_are_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"config\.json"):
        plan_cards(f"dir:{tmp_path}", (1,), CONDITIONS)
    (tmp_path / "config.json").write_text('{"architectures": ["MambaForCausalLM"]}')
    with pytest.raises(UnsupportedModel):
        plan_cards(f"dir:{tmp_path}", (1,), CONDITIONS)
