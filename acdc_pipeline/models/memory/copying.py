"""Copy a model that shares its tensors, in the type of a computation and without its hooks."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.device import Precision
from acdc_pipeline.models.rounding import round_tensor

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def copy_module(module: Any, precision: Precision, *, where: str) -> Any:
    """Return a copy of `module` on the CPU, without hooks, in evaluation mode, for inference.

    Parameters that have the type and place already share their memory with the original, and must
    not be written to; all else is separate.

    Args:
        where: name of the model in errors.

    Raises:
        InvalidInput: an attribute cannot be copied, or a value is too large for the type.
    """
    memo: dict[int, Any] = {}
    for part in dict(named_modules(module)).values():
        for name in _HOOKS:
            memo[id(getattr(part, name))] = OrderedDict()
    return _copy(module, memo, precision, where)


def copy_bridge(bridge: Any, precision: Precision, *, where: str) -> Any:
    """Return a copy of a `TransformerBridge` with its own hooks. Otherwise as `copy_module`."""
    copied = _copy(bridge, {}, precision, where)
    copied.cfg.device = "cpu"
    copied.cfg.dtype = precision.computed
    patched = False
    for _, part in named_modules(copied):
        # TransformerLens patches some modules with functions that hold the original module.
        if "forward" in vars(part) and not hasattr(vars(part)["forward"], "__self__"):
            del part.forward
            patched = True
    if patched:
        copied.adapter.prepare_model(copied.original_model)
    return copied


def is_bridge(model: Any) -> bool:
    """Return whether `model` is a `TransformerBridge`, without importing TransformerLens."""
    return any(
        kind.__name__ == "TransformerBridge" and kind.__module__.startswith("transformer_lens.")
        for kind in type(model).__mro__
    )


def named_modules(model: Any) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module of a model once, by name; of a bridge, those of both its trees."""
    seen: set[int] = set()
    roots = {"": model}
    # Not by getattr: a module may define the attribute as something else.
    if is_bridge(model):
        roots["original_model"] = model.original_model
    for prefix, root in roots.items():
        for name, module in nn.Module.named_modules(root, prefix=prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module


def _copy(model: Any, memo: dict[int, Any], precision: Precision, where: str) -> Any:
    for name, module in named_modules(model):
        for part, tensor in module._parameters.items():
            if tensor is not None and id(tensor) not in memo:
                plain = tensor.detach().to("cpu", precision.computed)
                plain = round_tensor(
                    plain, precision, name=f"{name}.{part}".lstrip("."), where=where
                )
                memo[id(tensor)] = nn.Parameter(plain, requires_grad=False)
        for part, tensor in module._buffers.items():
            if tensor is not None:
                memo[id(tensor)] = _copy_buffer(part, tensor, precision)
    for _, module in named_modules(model):
        for tensor in _attribute_tensors(tuple(vars(module).values())):
            if id(tensor) not in memo:
                memo[id(tensor)] = _copy_attribute(tensor, precision)
    try:
        copied = copy.deepcopy(model, memo)
    except (TypeError, RuntimeError, ValueError, AttributeError, NotImplementedError) as error:
        raise InvalidInput(
            f"cannot be copied: {' '.join(str(error).split())}",
            where=where,
            fix="remove what was attached to the model as an attribute",
        ) from error
    return copied.eval()


def _copy_buffer(name: str, tensor: Tensor, precision: Precision) -> Tensor:
    """Return a copy that is separate: modules write into their buffers.

    A constant bias, which TransformerLens adds to an unembedding, has the type of the computation.
    Of other buffers, only types as narrow as 16 bits are widened: transformers computes rotary
    tables in float32 whatever the type of the model.
    """
    dtype = tensor.dtype
    if tensor.is_floating_point() and name in ("bias", "weight"):
        dtype = precision.computed
    elif dtype in (torch.bfloat16, torch.float16):
        dtype = torch.float32
    return tensor.detach().to("cpu", dtype).clone()


def _attribute_tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors among attributes, such as processed weights and recorded outputs."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _attribute_tensors(one)
    elif isinstance(value, dict):
        yield from _attribute_tensors(tuple(value.values()))


def _copy_attribute(tensor: Tensor, precision: Precision) -> Tensor:
    dtype = precision.computed if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype)
