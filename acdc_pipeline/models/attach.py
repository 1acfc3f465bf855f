"""A model of the caller that hooks are put on: its weights for the engine, and the two modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.architectures import find_architecture
from acdc_pipeline.models.architectures.layout import ModuleArchitecture, find
from acdc_pipeline.models.load import LoadedModel
from acdc_pipeline.models.memory.adapters import is_adapted
from acdc_pipeline.models.memory.hold import hold_model


@dataclass(frozen=True, eq=False)
class AttachedModel:
    """A model of the caller, in evaluation or training mode.

    Args:
        copy: a copy of it at this moment, with the weights as the engine takes them.
        called: the module that receives the token ids in every forward pass.
        final_norm: the module that reads the final residual stream.
    """

    copy: LoadedModel
    called: nn.Module
    final_norm: nn.Module


def attach_model(model: Any) -> AttachedModel:
    """Read a `TransformerBridge`, or a causal language model of transformers or peft.

    The model stays as it is. Its weights are read once, on its device.

    Raises:
        InvalidInput: it is something else, or has hooks of its own.
        UnsupportedModel: the engine does not reproduce it.
    """
    if isinstance(model, LoadedModel):
        raise InvalidInput(
            "a model of load_model is not called itself",
            field="model",
            fix=f"give its `{'original' if model.bridge is None else 'bridge'}`",
        )
    bridged = hasattr(model, "original_model")
    if not bridged and _is_wrapped(model):
        raise InvalidInput(
            "the model is part of a TransformerBridge", field="model", fix="give the bridge"
        )
    held = hold_model(model, None)
    parameter = next(model.parameters())
    copy = held.load(str(parameter.dtype).removeprefix("torch."), str(parameter.device))
    if bridged:
        return AttachedModel(copy, model.original_model, model.ln_final)
    base = model.get_base_model() if is_adapted(model) else model
    found = find_architecture(copy.architecture, base.config.to_dict())
    if isinstance(found, ModuleArchitecture):
        part, text = found.text_part(base)
        return AttachedModel(copy, base, find(part, text.final_norm))
    return AttachedModel(copy, base, base.get_submodule(copy.bridge.ln_final.name))


def _is_wrapped(model: Any) -> bool:
    """Return whether TransformerLens has put modules of its own into `model`."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    return any(type(module).__module__.startswith("transformer_lens.") for module in modules)
