"""Supported architectures, one file per family, and the reasons for refusing others.

A new architecture is a subclass of `ModuleArchitecture` in the file of its family; a new family is
a file with a tuple `ARCHITECTURES` and its name in `_FAMILIES`. Only `extraction`, `modules` and
`reading` import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.architectures import (
    cohere,
    dense,
    differential,
    falcon,
    gated,
    gemma,
    gpt,
    granite,
    hybrid,
    latent,
    llama,
    mixture,
    native,
    older,
    olmo,
    opt,
    phi,
    post_norms,
    text_parts,
)
from acdc_pipeline.models.architectures.base import Architecture
from acdc_pipeline.models.architectures.refused import REFUSED
from acdc_pipeline.models.directory import SHOW_SUPPORTED

_FAMILIES = (
    gpt,
    llama,
    gemma,
    olmo,
    phi,
    falcon,
    opt,
    dense,
    cohere,
    post_norms,
    mixture,
    granite,
    older,
    hybrid,
    latent,
    gated,
    differential,
    text_parts,
    native,
)
_ARCHITECTURES: tuple[Architecture, ...] = tuple(
    architecture() for family in _FAMILIES for architecture in family.ARCHITECTURES
)

SUPPORTED: Mapping[str, str] = {found.class_name: found.title for found in _ARCHITECTURES}
"""Class name in config.json, and the name in common use."""

ALIASES: Mapping[str, str] = {
    alias: found.class_name for found in _ARCHITECTURES for alias in found.aliases
}
"""Another name in config.json, and the name of the class that reads such models."""

_BY_NAME: Mapping[str, Architecture] = {
    name: found for found in _ARCHITECTURES for name in (found.class_name, *found.aliases)
}


def find_architecture(class_name: str, config: Mapping[str, Any] | None = None) -> Architecture:
    """Return the architecture of that name; a plain decoder if the name is not supported.

    Args:
        config: contents of `config.json`, where a setting may change what the weights are read
            from.
    """
    found = _BY_NAME.get(class_name, Architecture())
    return found if config is None else found.variant(config)


def find_refusal(class_name: str, config: Mapping[str, Any]) -> str | None:
    """Return why a model with this `config.json` is refused, or None if it is supported."""
    if class_name in _BY_NAME:
        found = _BY_NAME[class_name]
        return found.find_refusal(found.text_fields(config))
    if class_name not in REFUSED and not config.get("architectures"):
        return (
            "that is its model_type, and config.json has no 'architectures', which name the class "
            'of the weights, as in ["GPT2LMHeadModel"]'
        )
    return REFUSED.get(class_name, "the engine does not reproduce it")


def require_supported(class_name: str, config: Mapping[str, Any], where: str) -> None:
    """Raise UnsupportedModel, with the reason, unless the engine reproduces the model."""
    reason = find_refusal(class_name, config)
    if reason is not None:
        raise UnsupportedModel(
            f"architecture '{class_name}' is not supported: {reason}",
            where=where,
            allowed=f"{len(SUPPORTED) - 1} architectures, or a TransformerLens-format directory",
            fix=SHOW_SUPPORTED,
        )
