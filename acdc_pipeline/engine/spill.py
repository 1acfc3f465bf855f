"""Tensors outside the memory budget: in a mapped temporary file, or in the host's memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.specs.profile import amount_of

K = TypeVar("K")

LEAST = 2**16
"""Bytes of the smallest tensor that is worth a mapping of its own."""


class Spill:
    """A place for tensors that the memory budget does not hold.

    Those of the CPU are mapped from temporary files, whose pages the system writes and takes back
    as it needs memory; those of a GPU are in the host's memory, where the GPU reads and writes
    them. Files have no name any more when they are used, and end with their tensors.

    Args:
        folder: of the files; None for `TMPDIR`, else /var/tmp, which is on a disk.
        least: bytes of the smallest tensor that is kept here.
    """

    def __init__(self, folder: Path | None = None, least: int = LEAST) -> None:
        self.folder = folder or _default_folder()
        self.least = least

    def empty(self, shape: tuple[int, ...], like: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return a tensor of that shape, of the type and for the device of `like`.

        Raises:
            ExecutionFailed: the temporary folder cannot hold it.
        """
        if like.device.type == "cuda":
            return _in_host_memory(shape, like)
        return self._mapped(shape, like.dtype)

    def keep(self, tensor: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return a copy of `tensor` that is here; small ones stay where they are."""
        if tensor.nbytes < self.least:
            return tensor
        return self.empty(tuple(tensor.shape), tensor).copy_(tensor)

    def _mapped(self, shape: tuple[int, ...], dtype: torch.dtype) -> Float[Tensor, ...]:
        size = prod(shape)
        file, name = tempfile.mkstemp(prefix="acdc-activations-", dir=self.folder)
        try:
            # Writing to a mapped page without a block on a full disk would end the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file, 0, max(1, size * dtype.itemsize))
            return torch.from_file(name, shared=True, size=size, dtype=dtype).view(shape)
        except (OSError, RuntimeError) as error:
            raise ExecutionFailed(
                f"{amount_of(max(1, size * dtype.itemsize))} of activations, which exceed the "
                f"memory budget, do not fit the temporary folder: {error}",
                where=str(self.folder),
                fix="set TMPDIR to a folder with more space, or use fewer prompts or a larger "
                "memory budget (--memory, or memory of the profile)",
            ) from error
        finally:
            os.close(file)
            Path(name).unlink()


class SpilledTensors(dict[K, Tensor]):
    """A dictionary whose tensors are kept in a `Spill`."""

    def __init__(self, spill: Spill, items: Mapping[K, Tensor] | None = None) -> None:
        super().__init__(items or {})
        self._spill = spill

    def __setitem__(self, key: K, tensor: Tensor) -> None:
        super().__setitem__(key, self._spill.keep(tensor))

    def update(self, items: Any = (), /, **named: Tensor) -> None:
        pairs: dict[Any, Tensor] = dict(items, **named)
        for key, tensor in pairs.items():
            self[key] = tensor

    def copy(self) -> SpilledTensors[K]:
        """Return a dictionary of the same tensors."""
        return SpilledTensors(self._spill, self)


def empty(
    shape: tuple[int, ...], like: Float[Tensor, ...], spill: Spill | None
) -> Float[Tensor, ...]:
    """Return an uninitialised tensor of the type of `like`, in memory without a `spill`."""
    return like.new_empty(shape) if spill is None else spill.empty(shape, like)


def tensor_dict(spill: Spill | None) -> dict[Any, Tensor]:
    """Return a dictionary of tensors, which are in memory without a `spill`."""
    return {} if spill is None else SpilledTensors(spill)


def _default_folder() -> Path:
    if not os.environ.get("TMPDIR") and os.access("/var/tmp", os.W_OK):
        return Path("/var/tmp")
    return Path(tempfile.gettempdir())


class _OnDevice:
    """Pinned memory of the host as a GPU addresses it."""

    def __init__(self, pinned: Float[Tensor, ...]) -> None:
        self.pinned = pinned  # lives as long as the tensor that is made of this

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": tuple(self.pinned.shape),
            "typestr": f"<f{self.pinned.element_size()}",
            "data": (self.pinned.data_ptr(), False),
            "strides": None,
            "version": 3,
        }


def _in_host_memory(shape: tuple[int, ...], like: Float[Tensor, ...]) -> Float[Tensor, ...]:
    with torch.cuda.device(like.device):
        pinned = torch.empty(shape, dtype=like.dtype, pin_memory=True)
        return torch.as_tensor(_OnDevice(pinned), device=like.device)
