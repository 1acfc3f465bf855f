"""Load a model whose layers stay in their files: each is read when the engine computes it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.architectures import find_architecture
from acdc_pipeline.models.architectures.by_modules import BY_MODULES
from acdc_pipeline.models.architectures.layout import ModuleArchitecture
from acdc_pipeline.models.architectures.modules import ModuleReader
from acdc_pipeline.models.architectures.text_parts.part import TextPart
from acdc_pipeline.models.bridge import load_module, refuse_not_finite
from acdc_pipeline.models.config import quantisation_method
from acdc_pipeline.models.device import Precision
from acdc_pipeline.models.directory import DAMAGED, architecture_of, read_config, weight_files
from acdc_pipeline.models.mapped import MappedBlocks, release_freed_memory
from acdc_pipeline.models.moving import move
from acdc_pipeline.models.weights import Block, TransformerWeights


def layered_architecture(config: dict[str, Any]) -> ModuleArchitecture | None:
    """Return the architecture that reads single layers of a model; None if none can.

    Layers of quantised weights, of text models inside larger ones, of TransformerLens's own format
    and of some classes that are read through TransformerLens cannot be read one by one.
    """
    name = architecture_of(config)
    found = find_architecture(name, config)
    if quantisation_method(config) is not None or isinstance(found, TextPart):
        return None
    if isinstance(found, ModuleArchitecture):
        return found
    return BY_MODULES[name]() if name in BY_MODULES else None


def count_weight_bytes(directory: Path, precision: Precision) -> int:
    """Return the bytes that the weights in a model directory take in memory.

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
    return total * precision.held.itemsize


def load_layered(
    directory: Path,
    architecture: ModuleArchitecture,
    *,
    precision: Precision,
    device: torch.device,
    budget: int,
) -> tuple[Any, TransformerWeights]:
    """Load a model of which at most `budget` bytes of layers are in memory at a time.

    Embedding, unembedding and final norm are always there.

    Returns:
        The transformers model, which also reads its layers when they run, and its weights.

    Raises:
        InvalidInput: the directory does not hold a loadable model, or values of a narrower type
            than those in the files are wanted.
        OutOfMemoryBudget: not even three layers fit.
        UnsupportedModel: the engine does not reproduce a norm, or a module is missing.
    """
    if precision.held is not precision.computed:
        raise InvalidInput(
            "layers that are read from their files keep the values that they have there",
            where=str(directory),
            fix="use --dtype float32, which takes no more memory for them",
        )
    # Where transformers puts layers that files hold in another form; it stays empty for most.
    converted = tempfile.mkdtemp(prefix="acdc-layers-")
    try:
        model = load_module(
            directory,
            dtype=precision.computed,
            device_map=_place(directory, architecture),
            offload_folder=converted,
        )
    except BaseException:  # however it ended, the folder does not stay
        shutil.rmtree(converted, ignore_errors=True)
        raise
    weakref.finalize(model, shutil.rmtree, converted, ignore_errors=True)
    with torch.no_grad():
        reader = ModuleReader(model, architecture)

        @torch.no_grad()
        def read(layer: int) -> Block:
            with _in_memory(reader.layers[layer]):
                return move(reader.read_block(layer), precision, device)

        for layer, module in enumerate(reader.layers):
            with _in_memory(module):
                refuse_not_finite(
                    module.named_parameters(f"{architecture.layers}.{layer}"), str(directory)
                )
            release_freed_memory()
        blocks = MappedBlocks(read, reader.n_layers, budget)
        around = reader.read_around(blocks)
        return model, replace(around.to(precision=precision, device=device), blocks=blocks)


def _place(directory: Path, architecture: ModuleArchitecture) -> dict[str, str]:
    """Return where every module is kept: layers in their files, all others in memory."""
    import transformers
    from accelerate import init_empty_weights

    name = architecture.class_name or architecture_of(read_config(directory))
    with init_empty_weights():
        empty = getattr(transformers, name)(
            transformers.AutoConfig.from_pretrained(directory, local_files_only=True)
        )
    places, prefix = {}, ""
    for part in architecture.layers.split("."):
        children = empty.get_submodule(prefix).named_children()
        places |= {f"{prefix}.{child}".strip("."): "cpu" for child, _ in children if child != part}
        prefix = f"{prefix}.{part}".strip(".")
    return {**places, architecture.layers: "disk"}


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
