"""Differences between the fingerprints of a model, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acdc_pipeline.models.fingerprint import Fingerprint

MAX_NAMED = 3
"""Number of changed tensors that are named."""

_ABSENT = object()


@dataclass(frozen=True)
class Changes:
    """The parts of a model that changed, one line each.

    Args:
        definition: changes of the configuration, the tokenizer, and the order of heads. These are
            drift even if the circuit is the same.
        weights: changes of the weights. By themselves they are no drift.
    """

    definition: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.definition, *self.weights)


def changes_between(was: Fingerprint, now: Fingerprint) -> Changes:
    """Return the differences between two fingerprints."""
    if was.revision == now.revision:
        return Changes()
    definition = []
    if settings := list_differing(was.config, now.config):
        definition.append(f"config changed: {', '.join(settings)}")
    if was.tokenizer is not None and now.tokenizer is None:
        definition.append("tokenizer changed: its files are gone")
    elif was.tokenizer != now.tokenizer:
        definition.append("tokenizer changed")
    if was.tokenizer_settings is not None and now.tokenizer_settings is not None:
        settings = list_differing(was.tokenizer_settings, now.tokenizer_settings)
        if settings:
            definition.append(f"tokenizer settings changed: {', '.join(settings)}")
    return Changes(
        (*definition, *_list_exchanged_heads(was.heads, now.heads)), _describe_weights(was, now)
    )


def list_differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the settings that differ, as in `dropout 0.1 -> 0.0`."""
    return [
        f"{name} {_value_text(was.get(name, _ABSENT))} -> {_value_text(now.get(name, _ABSENT))}"
        for name in sorted({*was, *now})
        if was.get(name, _ABSENT) != now.get(name, _ABSENT)
    ]


def _value_text(value: object) -> str:
    return "absent" if value is _ABSENT else str(value)


def _list_exchanged_heads(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Describe the heads that exchanged places inside their layer."""
    layers = dict.fromkeys(name.partition(".")[0] for name in was)
    found = []
    for layer in layers:
        names = [name for name in was if name.partition(".")[0] == layer]
        moved = [name for name in names if now.get(name) != was[name]]
        if moved and sorted(was[n] for n in moved) == sorted(now.get(n, "") for n in moved):
            found.append(f"heads {', '.join(moved[:-1])} and {moved[-1]} changed places")
    return found


def _describe_weights(was: Fingerprint, now: Fingerprint) -> tuple[str, ...]:
    if not (was.tensors and now.tensors):
        return (f"weights changed: revision {was.revision[:12]} -> {now.revision[:12]}",)
    names = sorted({*was.tensors, *now.tensors})
    changed = [name for name in names if was.tensors.get(name) != now.tensors.get(name)]
    if not changed:
        return ()
    if len(changed) == len(names):
        return (f"weights changed: all {len(names)} tensors",)
    named = ", ".join(changed[:MAX_NAMED]) + (", …" if len(changed) > MAX_NAMED else "")
    return (f"weights changed: {len(changed)} of {len(names)} tensors ({named})",)
