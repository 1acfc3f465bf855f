"""A model in memory in place of a reference: how it is named, identified and loaded."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs.model_ref import ModelRef
from acdc_pipeline.specs.run import RunSpec

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel

    from acdc_pipeline.models.load import LoadedModel

    MemoryModel = TransformerBridge | PreTrainedModel | LoadedModel

_LONGEST_NAME = 40


@dataclass(frozen=True, eq=False)
class HeldModel:
    """A model in memory, ready to be loaded for the engine.

    Args:
        ref: `memory:NAME`; the reference of a model that `load_model` returned.
        revision: changes whenever anything does that decides the model's outputs or tokens.
        load: makes the engine's copy from a dtype and a device, both by name. The caller's model
            is not changed.
    """

    ref: ModelRef
    revision: str
    load: Callable[[str, str], LoadedModel]

    def __str__(self) -> str:
        return str(self.ref)


def resolve_model(model: Any, tokenizer: Any = None) -> ModelRef | HeldModel:
    """Return the model that a caller passed: as a reference, or as an object in memory.

    Args:
        model: a reference, a `TransformerBridge`, a `PreTrainedModel` of transformers, a
            `PeftModel` with LoRA adapters, or a model of `load_model`.
        tokenizer: tokenizer of a model in memory; None for that of a bridge, else none.

    Raises:
        SpecError: a text is not a reference.
        UnsupportedModel: the engine does not reproduce the model.
        InvalidInput: an object of another type, or a tokenizer beside a model that has its own.
    """
    if not isinstance(model, str | ModelRef):
        # only now, since it imports torch and transformers
        from acdc_pipeline.models.memory.hold import hold_model

        return hold_model(model, tokenizer)
    if tokenizer is not None:
        raise own_tokenizer(str(model))
    return ModelRef.parse(model) if isinstance(model, str) else model


def held_model_of(run: RunSpec, model: Any, tokenizer: Any) -> HeldModel:
    """Return a model in memory for `run`, which was made with it.

    Raises:
        InvalidInput: it is not the model of the run, or no longer.
    """
    held = resolve_model(model, tokenizer)
    if isinstance(held, ModelRef):
        raise InvalidInput(
            f"'{held}' is a reference, and a run is loaded by its own: {run.model}",
            field="model",
            allowed="a model in memory",
        )
    if held.revision != run.model_revision:
        raise InvalidInput(
            f"its weights, configuration or tokenizer are not those of run {run.run_id()[:8]}: "
            f"revision {held.revision[:8]}, not {run.model_revision[:8]}",
            where=str(held.ref),
            fix="pass the model and tokenizer of that run, or run discover on this one",
        )
    return held


def own_tokenizer(model: str) -> InvalidInput:
    """Return the error for a tokenizer beside a model that is loaded with its own."""
    return InvalidInput(
        f"{model} is loaded with the tokenizer of its files",
        field="tokenizer",
        fix="leave out tokenizer=, which is for a TransformerBridge or a PreTrainedModel",
    )


def memory_ref(given: str, fallback: str) -> ModelRef:
    """Return `memory:NAME` for a model whose configuration calls it `given`.

    NAME is the last part of a path or of ORG/NAME, of letters, digits, `.`, `_` and `-` only.
    """
    last = re.split(r"[/\\]", given.rstrip("/\\"))[-1]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last)[:_LONGEST_NAME].strip("-._")
    return ModelRef("memory", name or fallback)
