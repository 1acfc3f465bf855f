"""Models: where torch meets TransformerLens, and plain tensors come out.

Names are loaded when they are first used: who only asks what the zoo holds needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acdc_pipeline.models.architectures import SUPPORTED
    from acdc_pipeline.models.describe import ModelDescription, describe_model
    from acdc_pipeline.models.device import resolve_device, resolve_dtype
    from acdc_pipeline.models.load import LoadedModel, load_model
    from acdc_pipeline.models.location import Located, locate
    from acdc_pipeline.models.weights import TransformerWeights
    from acdc_pipeline.models.zoo.catalogue import list_zoo

__all__ = [
    "SUPPORTED",
    "LoadedModel",
    "Located",
    "ModelDescription",
    "TransformerWeights",
    "describe_model",
    "list_zoo",
    "load_model",
    "locate",
    "resolve_device",
    "resolve_dtype",
]

_MODULES = {
    "SUPPORTED": "architectures",
    "LoadedModel": "load",
    "Located": "location",
    "ModelDescription": "describe",
    "TransformerWeights": "weights",
    "describe_model": "describe",
    "list_zoo": "zoo.catalogue",
    "load_model": "load",
    "locate": "location",
    "resolve_device": "device",
    "resolve_dtype": "device",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'acdc_pipeline.models' has no attribute '{name}'")
    return getattr(import_module(f"acdc_pipeline.models.{_MODULES[name]}"), name)
