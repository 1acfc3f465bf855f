"""Models in memory that cannot be copied faithfully: each is refused by name, with the fix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.models.config import quantisation_method

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_PLAIN_TENSORS = (Tensor, nn.Parameter, nn.Buffer)

# Libraries whose hooks record outputs or move tensors, and which may install them by themselves.
_LIBRARIES = ("torch", "transformers", "transformer_lens")


def refuse_unfaithful(modules: Mapping[str, nn.Module], where: str) -> None:
    """Refuse modules whose outputs depend on more than their weights and their class.

    Args:
        modules: every module of the model by name.
        where: name of the model in errors.

    Raises:
        UnsupportedModel: a parameter is packed, sharded or on the meta device.
        InvalidInput: a forward hook, or a forward function of its own.
    """
    for name, module in modules.items():
        _refuse_packed(name, module, where)
    for name, module in modules.items():
        _refuse_accelerate(name, module, where)
        _refuse_hooks(name, module, where)


def refuse_quantised(config: Mapping[str, Any], where: str) -> None:
    """Raise UnsupportedModel if the configuration names a method of quantisation."""
    method = quantisation_method(config)
    if method is not None:
        raise UnsupportedModel(
            f"its weights are quantised ({method}), and a model in memory is not dequantised here",
            where=where,
            fix="pass the model before quantisation; or save it, and give its folder as dir:PATH",
        )


def refuse_adapters(modules: Mapping[str, nn.Module], where: str) -> None:
    """Raise UnsupportedModel for the first module that an adapter has replaced."""
    for name, module in modules.items():
        if type(module).__module__.partition(".")[0] == "peft":
            raise UnsupportedModel(
                f"'{name}' is a {type(module).__name__} of an adapter that was added to the model",
                where=where,
                fix="pass the PeftModel around it, or what its merge_and_unload() returns",
            )


def _refuse_packed(name: str, module: nn.Module, where: str) -> None:
    for part, tensor in own_tensors(module):
        place = f"{name}.{part}".lstrip(".")
        if tensor.is_meta:
            raise UnsupportedModel(
                f"'{place}' is on the meta device: its values are not in memory",
                where=where,
                fix="load the model without device_map, or with all of it on one device",
            )
        wrong = tensor.dtype not in _FLOATS
        if type(tensor) not in _PLAIN_TENSORS or (isinstance(tensor, nn.Parameter) and wrong):
            raise UnsupportedModel(
                f"'{place}' is a {type(tensor).__name__} of {tensor.dtype}, not a plain tensor of "
                "floating-point numbers",
                where=where,
                fix="pass the model before it was quantised or sharded",
            )


def _refuse_accelerate(name: str, module: nn.Module, where: str) -> None:
    if "_hf_hook" in vars(module):
        raise InvalidInput(
            f"'{name}' has a hook of accelerate, which moves tensors between devices",
            where=where,
            fix="load the model without device_map, or with all of it on one device",
        )


def _refuse_hooks(name: str, module: nn.Module, where: str) -> None:
    for hook in _forward_hooks(module):
        raise InvalidInput(
            f"'{name}' has a forward hook ({_describe(hook)}), which is not part of the weights",
            where=where,
            fix="remove it first: handle.remove(), reset_hooks() of a TransformerBridge, or leave "
            "the context of patch_model",
        )
    forward = vars(module).get("forward")
    if forward is not None and not _is_known(forward):
        raise InvalidInput(
            f"'{name}' has a forward function of its own ({_describe(forward)})",
            where=where,
            fix="delete it, or pass the model before it was changed",
        )


def _forward_hooks(module: nn.Module) -> Iterator[Any]:
    """Yield the forward hooks of a module that a caller has added."""
    installed = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    # A HookPoint of TransformerLens wraps the hooks of its users in functions of its own.
    for handle in getattr(module, "fwd_hooks", ()):
        installed.append(handle.user_hook)
    yield from (hook for hook in installed if not _is_known(hook))


def _is_known(function: Any) -> bool:
    inner = getattr(function, "func", function)  # of a functools.partial
    return str(getattr(inner, "__module__", "")).partition(".")[0] in _LIBRARIES


def _describe(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))


def own_tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Return the parameters and buffers of a module itself, without those of its children."""
    parts = {**module._parameters, **module._buffers}
    return [(name, tensor) for name, tensor in parts.items() if tensor is not None]
