"""What fits on a number of cards, from a model's config.json alone: bytes, prompts and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from acdc_pipeline.engine.memory_plan import MemoryPlan
from acdc_pipeline.engine.prompt_groups import PROMPTS_PER_GROUP
from acdc_pipeline.models.architectures import find_architecture, require_supported
from acdc_pipeline.models.architectures.by_modules import BY_MODULES
from acdc_pipeline.models.architectures.layout import ModuleArchitecture
from acdc_pipeline.models.describe import ModelDescription, describe_located
from acdc_pipeline.models.device import Precision, resolve_dtype
from acdc_pipeline.models.directory import architecture_of, read_config
from acdc_pipeline.models.layered import layered_architecture
from acdc_pipeline.models.location import Located, pin
from acdc_pipeline.models.mapped import last_that_fit
from acdc_pipeline.models.weight_sizes import WeightSizes, measure_weights
from acdc_pipeline.specs.methods.search import SearchMethod
from acdc_pipeline.specs.model_ref import ModelRef
from acdc_pipeline.workflows.forecast import forward_operations, parameters, shape_of

USABLE = 0.95
"""The part of a card's memory that is planned with; the rest is for its runtime."""

STEPS = 5
"""Points of integrated gradients; its default."""

# A pass forwards, and one backwards that runs every layer again.
_FORWARDS_PER_STEP = 4

Layers = Literal["held", "files", "cards"]
"""All on each worker's card; some in files; some on the worker's other cards."""


@dataclass(frozen=True)
class Conditions:
    """What a plan is made for.

    Args:
        dtype: precision of the weights, by name.
        card_memory: bytes of one card.
        tokens: of a prompt; each has one answer.
        rate: operations per second of one card.
    """

    dtype: str
    card_memory: int
    tokens: int
    rate: float


@dataclass(frozen=True)
class CardPlan:
    """A search on some cards, with as many prompts as fit; bytes are of one worker's first card.

    Args:
        cards: how many there are.
        cards_each: cards of one worker.
        workers: over which prompts are spread; each has its own weights.
        around: bytes of the weights outside the layers.
        layers: bytes of the layers that it holds.
        passing: bytes of the layers that pass through it; 0 if it holds all.
        layers_in: where the layers are.
        read: bytes that a pass over all layers brings from files or from other cards.
        sources: bytes of the clean and ablated outputs of all sources, and their difference.
        sources_in: where these are.
        receivers: bytes of what receivers read, if every edge is kept.
        states: how many states are evaluated at once.
        batch: their bytes, `logits` among them.
        logits: bytes of the logits of these states at the answers, and of copies.
        prompts: on all cards; 0 if not even one fits.
        acdc_seconds, eap_ig_seconds: of the counted operations alone, at the stated rate: every
            edge tested by ACDC; EAP-IG with 5 steps.
    """

    cards: int
    cards_each: int
    workers: int
    around: int
    layers: int
    passing: int
    layers_in: Layers
    read: int
    sources: int
    sources_in: Literal["card", "host"]
    receivers: int
    states: int
    batch: int
    logits: int
    prompts: int
    acdc_seconds: float
    eap_ig_seconds: float

    @property
    def used(self) -> int:
        """Bytes of one worker's first card."""
        of_sources = self.sources if self.sources_in == "card" else 0
        weights = self.around + self.layers + self.passing
        return weights + of_sources + self.receivers + self.batch


def plan_cards(
    ref: ModelRef | str, cards: tuple[int, ...], conditions: Conditions
) -> tuple[ModelDescription, WeightSizes, list[CardPlan]]:
    """Return a model's shape, its numbers of weights, and plans for each number of cards.

    There are two for each: the outputs of the sources are on the card, or in the memory of the
    host. Of the ways to use the cards, it is the one that admits most prompts: each has the model
    and a part of the prompts; or layers are laid over some of them. Weights are not read, and need
    not be there.

    Raises:
        UnknownName, InvalidInput: as `describe_model`, or the sizes cannot be counted.
        UnsupportedModel: the engine does not reproduce the architecture.
    """
    ref = ModelRef.parse(ref) if isinstance(ref, str) else ref
    directory = Path(ref.name).expanduser() if ref.kind == "dir" else pin(ref).directory
    config = read_config(directory)
    require_supported(architecture_of(config), config, where=str(ref))
    model = describe_located(ref, Located(directory, ""))
    sizes, one_by_one = _measure(directory, config, model), layered_architecture(config) is not None
    plans: list[CardPlan] = []
    for count in cards:
        ways = [(count, 1), *((1, each) for each in range(1, count + 1))]
        for in_host in (False, True):
            made = [_plan(model, sizes, conditions, way, in_host, one_by_one) for way in ways]
            best = max(made, key=lambda plan: (plan.prompts, -plan.read))
            plans.append(replace(best, cards=count))
    return model, sizes, plans


def _measure(directory: Path, config: dict[str, Any], model: ModelDescription) -> WeightSizes:
    """Count the weights; roughly for models that are read through TransformerLens."""
    name = architecture_of(config)
    found = BY_MODULES[name]() if name in BY_MODULES else find_architecture(name, config)
    if isinstance(found, ModuleArchitecture):
        return measure_weights(directory, found)
    around = 2 * model.vocab * model.d_model
    each = (parameters(model) - around) // model.n_layers
    return WeightSizes("", around, (each,) * model.n_layers)


def _plan(
    model: ModelDescription,
    sizes: WeightSizes,
    conditions: Conditions,
    way: tuple[int, int],
    in_host: bool,
    one_by_one: bool,
) -> CardPlan:
    """Plan one way to use cards: a number of workers, and of the cards of each."""
    workers, each = way
    precision = resolve_dtype(conditions.dtype)
    usable = int(USABLE * conditions.card_memory)
    placed = _place(sizes, precision, usable, each)
    whole = MemoryPlan(
        shape_of(model), 1, conditions.tokens, answers=1, itemsize=precision.computed.itemsize
    )
    room = usable - placed.around - placed.layers - placed.passing
    if placed.layers_in == "files":  # half of a budget is for weights
        room = min(room, usable // 2) if one_by_one else 0

    def needed(prompts: int) -> int:
        plan = replace(whole, prompts=prompts, answers=prompts)
        return plan.most - (plan.sources if in_host else 0)

    prompts = _most(lambda number: needed(number) <= room)
    if workers > 1 and prompts < PROMPTS_PER_GROUP:  # spread prompts are computed in groups
        prompts = 0
    plan = replace(whole, prompts=max(1, prompts), answers=max(1, prompts))
    states = max(1, (room - needed(prompts) + plan.state) // plan.state) if prompts else 0
    forward = forward_operations(model, prompts, conditions.tokens)
    products = 2.0 * model.n_edges * prompts * conditions.tokens * model.d_model
    of_scores = forward * (2 + _FORWARDS_PER_STEP * STEPS) + STEPS * products
    of_search = forward * model.n_edges * SearchMethod.TEST_COST
    return replace(
        placed,
        workers=workers,
        sources=plan.sources if prompts else 0,
        sources_in="host" if in_host else "card",
        receivers=plan.receivers if prompts else 0,
        states=states,
        batch=states * plan.state,
        logits=states * plan.logits,
        prompts=prompts * workers,
        acdc_seconds=of_search / conditions.rate,
        eap_ig_seconds=of_scores / conditions.rate,
    )


def _place(sizes: WeightSizes, precision: Precision, usable: int, each: int) -> CardPlan:
    """Place the weights of one worker on its cards: a plan without prompts."""
    layers, around = sizes.layer_bytes(precision), sizes.around_bytes(precision, on_cpu=False)
    passing, total = sizes.passing_bytes(precision), sum(layers)
    nothing = CardPlan(
        each, each, 1, around, total, 0, "held", 0, 0, "card", 0, 0, 0, 0, 0, 0.0, 0.0
    )  # fmt: skip
    if each == 1 and around + total <= usable:
        return nothing
    if each == 1:
        room = usable // 2 - around - passing
        kept = sum(layers[i] for i in last_that_fit(layers, room))
        return replace(nothing, layers=kept, passing=passing, layers_in="files", read=total - kept)
    # The other cards are filled first: activations are on the first one.
    elsewhere = 0
    cards = [usable] * (each - 1)
    for size in layers:
        if cards and cards[0] < size:
            cards.pop(0)
        if not cards:
            break
        cards[0] -= size
        elsewhere += size
    return replace(
        nothing, layers=total - elsewhere, passing=passing, layers_in="cards", read=elsewhere
    )


def _most(fits: Callable[[int], bool]) -> int:
    """Return the largest number that `fits`, and all below it; 0 if 1 does not."""
    low, high = 0, 1
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
