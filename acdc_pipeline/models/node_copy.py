"""One copy of a model's weights for all worker processes of a machine, on Linux.

Every worker prepares the model itself. The first that is ready copies its tensors into anonymous
memory (`memfd_create`), which the others find under `/proc/PID/fd` of the processes that hold it.
Each compares its own tensors with that memory bit by bit, and maps it in their place. The memory is
sealed once it is complete, so nothing half-written is found and nobody can change it, and the
system frees it with the last process that holds it, however that process ends.

Tensors that are mapped from the files of the model share the pages of these files already.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from acdc_pipeline.models.device import free_memory, resolve_dtype
from acdc_pipeline.models.mapped import release_freed_memory
from acdc_pipeline.specs.profile import amount_of
from acdc_pipeline.store.locks import lock

if TYPE_CHECKING:
    from acdc_pipeline.models.load import LoadedModel

ENVIRONMENT_VARIABLE = "ACDC_SHARE_WEIGHTS"
"""Set to 0, every worker keeps tensors of its own."""

LEAST = 2**26
"""Bytes below which a model is not shared."""

_AT_EASE = 8
"""Workers prepare models one after the other where memory is free for fewer copies than these."""

_LEAST_TENSOR = 2**14
_PAGE = 4096
_SEALS = 0x2 | 0x4 | 0x8  # F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE
_ADD_SEALS, _GET_SEALS = 1033, 1034  # of fcntl.h; the module lacks them before Python 3.12
_AT_ONCE = 2**28

_log = logging.getLogger(__name__)


@contextmanager
def preparation_turn(needed: int) -> Iterator[None]:
    """Prepare a model; where memory is short, while no other process of this machine does.

    Until it maps the copy, a worker holds tensors of its own.

    Args:
        needed: bytes of these.
    """
    if free_memory(torch.device("cpu")) >= _AT_EASE * needed:
        yield
        return
    with lock(_lock_folder() / "preparing.lock"):
        yield


@dataclass(frozen=True)
class _Slot:
    """Tensors on the same memory of this process, the first on all of it.

    Args:
        start: place of the bytes in the copy.
        address: of the memory.
    """

    tensors: list[Tensor]
    start: int
    address: int

    @property
    def size(self) -> int:
        return self.tensors[0].nbytes

    def holds(self, tensor: Tensor) -> bool:
        """Whether all entries of `tensor` are in this memory."""
        first, at = self.tensors[0], tensor.data_ptr() - self.address
        pairs = zip(tensor.shape, tensor.stride(), strict=True)
        span = 1 + sum((length - 1) * step for length, step in pairs)
        within = at >= 0 and at + span * tensor.itemsize <= self.size
        return within and tensor.dtype is first.dtype and at % tensor.itemsize == 0

    @property
    def described(self) -> str:
        return f"{self.tensors[0].dtype} {list(self.tensors[0].shape)}"


def share_weights(model: LoadedModel, dtype: str, least: int = LEAST) -> int:
    """Replace the tensors of a model on the CPU, in place, by the copy of this machine.

    Values do not change. Layers that are read from files are not shared, nor tensors on a GPU.
    Where there is no memory for the copy, the model keeps its own tensors, and the log says so.

    Args:
        dtype: by name, as the model was loaded.
        least: bytes of tensors below which nothing is shared.

    Returns:
        The bytes that are shared.
    """
    usable = hasattr(os, "memfd_create") and os.environ.get(ENVIRONMENT_VARIABLE) != "0"
    if not usable or model.is_layered:
        return 0
    precision = resolve_dtype(dtype)
    # Rounding in place makes pages of files private again.
    slots, small, size = _lay_out(model, skip_files=precision.held is precision.computed)
    if size < least:
        return 0
    parts = [model.revision, dtype, torch.__version__, *(slot.described for slot in slots)]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    try:
        with lock(_lock_folder() / f"{key}.lock"):
            descriptor = _find(key, size)
            if descriptor is None:
                descriptor = _write(key, slots, size)
    except OSError as error:
        _log.warning(
            "no copy of the weights of %s that the workers of this machine share, %s: %s; this "
            "worker keeps its own",
            model.ref,
            amount_of(size),
            error.strerror or error,
        )
        return 0
    try:
        shared = _adopt(slots, descriptor, size, str(model.ref))
    finally:
        os.close(descriptor)
    for tensor in small:
        tensor.data = tensor.clone()  # it may be a part of the memory of another
    release_freed_memory()
    return shared


def _lay_out(model: LoadedModel, *, skip_files: bool) -> tuple[list[_Slot], list[Tensor], int]:
    """Return the tensors to share, those too small for it, and the bytes of the copy.

    The order depends on the model alone.
    """
    small: list[Tensor] = []
    strided: list[Tensor] = []
    files = _file_ranges() if skip_files else []
    starts = [start for start, _ in files]
    found: dict[tuple[int, int, torch.dtype], _Slot] = {}
    end = 0
    for tensor in (*_tensors(model.weights), *_tensors(_oracle(model))):
        if tensor.device.type != "cpu" or not tensor.numel():
            continue
        if not tensor.is_contiguous():
            strided.append(tensor)
            continue
        key = tensor.data_ptr(), tensor.nbytes, tensor.dtype
        at = bisect_right(starts, key[0]) - 1
        in_file = at >= 0 and key[0] < files[at][1]
        if key in found:
            found[key].tensors.append(tensor)
        elif in_file:
            continue
        elif tensor.nbytes < _LEAST_TENSOR:
            small.append(tensor)
        else:
            found[key] = _Slot([tensor], end, key[0])
            end += -(-tensor.nbytes // _PAGE) * _PAGE
    slots = list(found.values())
    for tensor in strided:  # such as the columns of the queries in a matrix for all three
        owner = next((slot for slot in slots if slot.holds(tensor)), None)
        if owner is not None:
            owner.tensors.append(tensor)
    return slots, small, end


def _oracle(model: LoadedModel) -> nn.Module:
    return model.original if model.bridge is None else model.bridge


def _tensors(item: Any) -> Iterator[Tensor]:
    """Yield every tensor in nested dataclasses, tuples and modules."""
    if isinstance(item, Tensor):
        yield item
    elif isinstance(item, nn.Module):
        yield from item.parameters()
        yield from item.buffers()
    elif isinstance(item, tuple | list):
        for part in item:
            yield from _tensors(part)
    elif is_dataclass(item):
        for field in fields(item):
            yield from _tensors(getattr(item, field.name))


def _file_ranges() -> list[tuple[int, int]]:
    """Return the addresses at which files of weights are mapped, in order."""
    ranges = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(".safetensors"):
            start, _, end = line.split(maxsplit=1)[0].partition("-")
            ranges.append((int(start, 16), int(end, 16)))
    return ranges


def _lock_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"acdc-pipeline-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _find(key: str, size: int) -> int | None:
    """Return a descriptor of the complete copy that another process holds, or this one."""
    wanted = f"/memfd:acdc-{key} (deleted)"
    for link in _descriptors():
        with suppress(OSError):  # closed meanwhile, or of somebody else
            if str(link.readlink()) != wanted:
                continue
            descriptor = os.open(link, os.O_RDONLY | os.O_CLOEXEC)
            sealed = fcntl.fcntl(descriptor, _GET_SEALS) & _SEALS == _SEALS
            if sealed and os.fstat(descriptor).st_size == size:
                return descriptor
            os.close(descriptor)
    return None


def _descriptors() -> Iterator[Path]:
    """Yield the open files of all processes, as far as they may be seen."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                yield from (process / "fd").iterdir()


def _write(key: str, slots: list[_Slot], size: int) -> int:
    """Write the copy; returns its descriptor. Raises OSError if there is no room for it."""
    if size > free_memory(torch.device("cpu")):
        raise OSError(errno.ENOMEM, "so much memory is not free")
    descriptor = os.memfd_create(f"acdc-{key}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        for slot in slots:
            values, done = _bytes_of(slot.tensors[0]), 0
            while done < slot.size:
                part = values[done : done + _AT_ONCE]
                done += os.pwrite(descriptor, part.data, slot.start + done)
        fcntl.fcntl(descriptor, _ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _adopt(slots: list[_Slot], descriptor: int, size: int, name: str) -> int:
    """Map the copy in place of every tensor that equals its part of it; returns their bytes."""
    # Private: a tensor that is written to after all gets pages of its own. As long as a tensor is
    # mapped, so is a descriptor that `mmap` duplicates, under which other workers find the copy.
    path = f"/proc/self/fd/{descriptor}"
    pages = np.memmap(path, mode="c", dtype=np.uint8, shape=(size,))
    shared = 0
    for slot in slots:
        first = slot.tensors[0]
        part = pages[slot.start : slot.start + slot.size]
        if not np.array_equal(part, _bytes_of(first)):
            _log.warning("a worker prepared %s of %s unlike another", slot.described, name)
            continue
        mapped = torch.from_numpy(part).view(first.dtype)
        for tensor in slot.tensors:
            offset = (tensor.data_ptr() - slot.address) // tensor.itemsize
            tensor.data = mapped.as_strided(tensor.shape, tensor.stride(), offset)
        shared += slot.size
    return shared


def _bytes_of(tensor: Tensor) -> np.ndarray:
    return tensor.detach().reshape(-1).view(torch.uint8).numpy()
