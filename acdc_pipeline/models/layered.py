"""Load a model whose layers stay in their files: each is read when the engine computes it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from acdc_pipeline.errors import InvalidInput, OutOfMemoryBudget
from acdc_pipeline.models.architectures import find_architecture
from acdc_pipeline.models.architectures.by_modules import BY_MODULES
from acdc_pipeline.models.architectures.layout import ModuleArchitecture
from acdc_pipeline.models.architectures.modules import ModuleReader
from acdc_pipeline.models.bridge import load_module, refuse_not_finite
from acdc_pipeline.models.config import quantisation_method
from acdc_pipeline.models.device import Precision
from acdc_pipeline.models.directory import DAMAGED, architecture_of, weight_files
from acdc_pipeline.models.mapped import (
    MappedBlocks,
    release_freed_memory,
    release_memory_when_freed,
)
from acdc_pipeline.models.moving import move
from acdc_pipeline.models.rounding import round_parameters
from acdc_pipeline.models.weight_sizes import WeightSizes, make_empty, measure_weights
from acdc_pipeline.models.weights import Block, TransformerWeights
from acdc_pipeline.specs.profile import amount_of

# Modules of these read parameters of others, which are in files while only their own module runs.
_READ_FROM_OUTSIDE = frozenset(("DbrxForCausalLM",))


def layered_architecture(config: dict[str, Any]) -> ModuleArchitecture | None:
    """Return the architecture that reads single layers of a model; None if none can."""
    name = architecture_of(config)
    if quantisation_method(config) is not None or name in _READ_FROM_OUTSIDE:
        return None
    found = find_architecture(name, config)
    if isinstance(found, ModuleArchitecture):
        return found
    return BY_MODULES[name]() if name in BY_MODULES else None


def refuse_too_large(directory: Path, config: dict[str, Any], free: int, *, where: str) -> None:
    """Raise OutOfMemoryBudget if files that cannot be read layer by layer exceed the memory.

    Args:
        config: of the model.
        free: bytes of memory.
        where: the place that errors name.
    """
    needed = sum(file.stat().st_size for file in weight_files(directory))
    if needed <= free:
        return
    reason = f"the weights of a {architecture_of(config)} are converted all together"
    if quantisation_method(config) is not None:
        reason = "quantised weights are dequantised all together"
    raise OutOfMemoryBudget(
        f"files of {needed / 2**30:,.1f} GiB do not fit the free memory, {free / 2**30:,.1f} GiB, "
        f"and their layers cannot be read one by one: {reason}",
        where=where,
        fix="use a machine with more memory, or a Hugging Face checkpoint in plain float values",
    )


def count_weight_bytes(directory: Path, precision: Precision) -> int:
    """Return the bytes that the weights in a model directory take in memory.

    Raises: as `count_entries`.
    """
    return count_entries(directory) * precision.held.itemsize


def count_entries(directory: Path) -> int:
    """Return the number of entries of all weights in a model directory.

    Raises:
        InvalidInput: a file of weights is damaged, or there is none.
    """
    from safetensors import SafetensorError, safe_open

    total = 0
    for file in weight_files(directory):
        try:
            with safe_open(file, framework="pt") as stored:
                shapes = [stored.get_slice(name).get_shape() for name in stored.keys()]  # noqa: SIM118
        except SafetensorError as error:
            raise InvalidInput(f"cannot be read: {error}", where=str(file), fix=DAMAGED) from error
        total += sum(torch.Size(shape).numel() for shape in shapes)
    return total


def require_memory(
    directory: Path,
    sizes: WeightSizes,
    precision: Precision,
    memory: int,
    *,
    on_cpu: bool,
    where: str,
) -> None:
    """Raise OutOfMemoryBudget if layers cannot be read within `memory` bytes.

    It names the least budget that works: for that, or for all weights where that is less.
    """
    least = sizes.least_memory(precision, on_cpu=on_cpu)
    if memory >= least:
        return
    around = amount_of(sizes.around_bytes(precision, on_cpu=on_cpu))
    passing = amount_of(sizes.passing_bytes(precision))
    works = min(least, count_weight_bytes(directory, precision))
    raise OutOfMemoryBudget(
        f"a memory budget of {amount_of(memory)} is too small: half of it is for weights, of which "
        f"{around} are outside the layers, and three layers in passing take {passing}",
        where=where,
        fix=f"use at least {amount_of(works)} (--memory, or memory of the profile)",
    )


def load_layered(
    directory: Path,
    architecture: ModuleArchitecture,
    *,
    precision: Precision,
    device: torch.device,
    memory: int,
    where: str,
) -> tuple[Any, TransformerWeights, int]:
    """Load a model whose layers stay in their files, with at most half of `memory` for weights.

    Embedding, unembedding and final norm are always in memory, and as many of the last layers as
    fit beside those in passing.

    Args:
        memory: bytes.
        where: the place that errors name.

    Returns:
        The transformers model, which also reads its layers when they run; its weights; and about
        how many bytes a pass over all layers reads from the files.

    Raises:
        InvalidInput: the directory does not hold a loadable model, or a value is too large for the
            type that is wanted.
        OutOfMemoryBudget: `memory` is too small; found before any weight is read.
        UnsupportedModel: the engine does not reproduce a norm, or a module is missing.
    """
    sizes, on_cpu = measure_weights(directory, architecture), device.type == "cpu"
    require_memory(directory, sizes, precision, memory, on_cpu=on_cpu, where=where)
    release_memory_when_freed()
    left = (memory - sizes.least_memory(precision, on_cpu=on_cpu)) // 2
    # Where transformers puts layers that files hold in another form; it stays empty for most.
    converted = tempfile.mkdtemp(prefix="acdc-layers-")
    try:
        model = load_module(
            directory,
            dtype=precision.computed,
            device_map=_place(directory, architecture, sizes.path),
            offload_folder=converted,
        )
    except BaseException:  # however it ended, the folder does not stay
        shutil.rmtree(converted, ignore_errors=True)
        raise
    weakref.finalize(model, shutil.rmtree, converted, ignore_errors=True)
    round_parameters(model.named_parameters(), precision, directory, where=where)
    if precision.held is not precision.computed:
        _round_when_read(model, precision, directory, where)
    names = {id(module): name for name, module in model.named_modules()}
    with torch.no_grad():
        reader = ModuleReader(model, architecture)

        @torch.no_grad()
        def read(layer: int) -> Block:
            with _in_memory(reader.layers[layer]):
                return move(reader.read_block(layer), precision, device)

        for module in reader.layers:
            with _in_memory(module):
                refuse_not_finite(module.named_parameters(names[id(module)]), str(directory))
            release_freed_memory()
        blocks = MappedBlocks(read, sizes.layer_bytes(precision), left)
        around = reader.read_around(blocks).to(precision=precision, device=device)
        stored = sum(file.stat().st_size for file in weight_files(directory))
        per_pass = stored * sum(sizes.layers) / count_entries(directory) * blocks.read_share
        return model, replace(around, blocks=blocks), int(per_pass)


def _place(directory: Path, architecture: ModuleArchitecture, layers: str) -> dict[str, str]:
    """Return where every module is kept: the list of layers in files, all others in memory."""
    empty = make_empty(directory, architecture)
    places, prefix = {}, ""
    for part in layers.split("."):
        module = empty.get_submodule(prefix)
        places |= {
            f"{prefix}.{name}".strip("."): "cpu"
            for name, _ in (*module.named_children(), *module.named_parameters(recurse=False))
            if name != part
        }
        prefix = f"{prefix}.{part}".strip(".")
    return {**places, layers: "disk"}


def _round_when_read(model: nn.Module, precision: Precision, directory: Path, where: str) -> None:
    """Round the parameters of layers to the held type each time they are read from their files."""
    for name, module in model.named_modules():
        hook: Any = getattr(module, "_hf_hook", None)
        if hook is not None:
            hook.pre_forward = partial(
                _read_rounded, hook.pre_forward, name, precision, directory, where
            )


def _read_rounded(
    read: Any,
    name: str,
    precision: Precision,
    directory: Path,
    where: str,
    module: nn.Module,
    *args: Any,
    **kwargs: Any,
) -> Any:
    passed_on = read(module, *args, **kwargs)
    round_parameters(module.named_parameters(name), precision, directory, where=where)
    return passed_on


@contextmanager
def _in_memory(layer: nn.Module) -> Iterator[nn.Module]:
    """Read the parameters of a layer from its files, and leave them there afterwards."""
    hooked: list[tuple[nn.Module, Any]] = [
        (module, module._hf_hook) for module in layer.modules() if hasattr(module, "_hf_hook")
    ]
    for module, hook in hooked:
        hook.pre_forward(module)
    try:
        yield layer
    finally:
        for module, hook in hooked:
            hook.post_forward(module, None)
