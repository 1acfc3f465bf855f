"""Leave the encoders of images and sound out of a model that reads text alone."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


class LeftOut(nn.Module):
    """In place of an encoder, which text does not pass. Some classes read its device."""

    device = torch.device("cpu")


def language_model(model: Any) -> tuple[Any, Any]:
    """Return the text model inside `model`, and the projection to its vocabulary."""
    inner = model.get_decoder()
    for owner in (model, inner, getattr(model, "language_model", None)):
        head = None if owner is None else owner.get_output_embeddings()
        if head is not None:
            return inner, head
    raise AttributeError(f"{type(model).__name__} has no projection to a vocabulary")


def without_towers(model_class: Any) -> Any:
    """Return a class that makes and loads models of `model_class` without their encoders."""

    def make(self: Any, *args: Any, **kwargs: Any) -> None:
        model_class.__init__(self, *args, **kwargs)
        for path in list(_towers(self)):
            parent, _, name = path.rpartition(".")
            self.get_submodule(parent)._modules[name] = LeftOut()
            self._keys_to_ignore_on_load_unexpected.add(f"^{re.escape(path)}[.]")
        self.__class__ = model_class  # which can be pickled

    # transformers finds how to read weights by the names of a class and of its module.
    members = {"__init__": make, "__module__": model_class.__module__}
    return type(model_class.__name__, (model_class,), members)


def view_without_towers(model: Any) -> Any:
    """Return a model with the modules of `model` but its encoders. `model` stays as it is."""
    towers = set(_towers(model))

    def view(module: Any, prefix: str) -> Any:
        made = copy.copy(module)
        made._modules = dict(module._modules)
        for name, part in module._modules.items():
            path = f"{prefix}{name}"
            if path in towers:
                made._modules[name] = LeftOut()
            elif any(tower.startswith(f"{path}.") for tower in towers):
                made._modules[name] = view(part, f"{path}.")
        return made

    return view(model, "")


def _towers(model: Any) -> Iterator[str]:
    """Yield the names of the largest modules that hold nothing of the text model."""
    kept = language_model(model)
    inside = {id(part) for module in kept for part in module.modules()}

    def search(module: Any, prefix: str) -> Iterator[str]:
        for name, part in module.named_children():
            if id(part) in inside:
                continue
            if any(id(below) in inside for below in part.modules()):
                yield from search(part, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}"

    yield from search(model, "")
