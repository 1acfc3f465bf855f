"""Models whose modules go down to float32 inside, kept in float64 all the way.

Hugging Face's RMS norms and softmaxes compute in float32 whatever the model's type. Under this
mode they do not, so that two computations of the same function agree to 1e-12 and not to 1e-7.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Float64Throughout(TorchFunctionMode):
    """Casts of float64 tensors to float32 have no effect while this is entered."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].dtype is torch.float64:
            if func is Tensor.float:
                return args[0]
            if func in (Tensor.to, Tensor.type):
                args = tuple(_widened(argument) for argument in args)
            kwargs = {name: _widened(argument) for name, argument in kwargs.items()}
        return func(*args, **kwargs)


def _widened(argument: Any) -> Any:
    return torch.float64 if argument is torch.float32 else argument
