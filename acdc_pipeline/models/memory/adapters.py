"""LoRA adapters in memory: merged into a copy of the model that they were added to."""

from __future__ import annotations

from typing import Any

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.device import Precision
from acdc_pipeline.models.memory.copying import copy_module


def is_adapted(model: Any) -> bool:
    """Return whether `model` is a `PeftModel`, without importing peft."""
    return type(model).__module__.partition(".")[0] == "peft" and hasattr(model, "peft_config")


def adapter_settings(model: Any, where: str) -> dict[str, Any]:
    """Return the settings of the adapters of a `PeftModel`, and which of them are active.

    Raises:
        UnsupportedModel: an adapter is no LoRA, or the adapters are switched off.
    """
    # transformers gives its models a method of this name
    if any(getattr(module, "disable_adapters", None) is True for module in model.modules()):
        raise UnsupportedModel(
            "its adapters are switched off",
            where=where,
            fix="pass the model outside of disable_adapter(), or after enable_adapter_layers()",
        )
    settings: dict[str, Any] = {"active": list(model.active_adapters)}
    for name, config in model.peft_config.items():
        values = config.to_dict()
        kind = str(getattr(config.peft_type, "value", config.peft_type)).upper()
        if kind != "LORA":
            raise UnsupportedModel(
                f"{kind} adapters cannot be merged into a model",
                where=where,
                field=name,
                allowed="LORA",
            )
        settings[f"adapter {name}"] = {key: _plain(value) for key, value in values.items()}
    return settings


def merged_copy(model: Any, precision: Precision, *, where: str) -> Any:
    """Return the transformers model that a `PeftModel` amounts to, separate from the original.

    Raises:
        UnsupportedModel: peft cannot merge the adapter.
    """
    copied = copy_module(model, precision, where=where)
    for parameter in copied.parameters():
        parameter.data = parameter.data.clone()  # merging writes into the weights
    try:
        return copied.merge_and_unload()
    except (ValueError, TypeError, RuntimeError, NotImplementedError, AttributeError) as error:
        raise UnsupportedModel(
            f"cannot be merged into its base model: {' '.join(str(error).split())}", where=where
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return value if isinstance(value, bool | int | float | type(None)) else str(value)
