"""Load a model for the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.graph import Topology
from acdc_pipeline.models.architectures import find_architecture, require_supported
from acdc_pipeline.models.architectures.base import Architecture
from acdc_pipeline.models.architectures.extraction import extract_weights
from acdc_pipeline.models.architectures.layout import ModuleArchitecture
from acdc_pipeline.models.architectures.modules import read_weights
from acdc_pipeline.models.bridge import load_bridge, load_module, load_tokenizer
from acdc_pipeline.models.device import Precision, free_memory, resolve_devices, resolve_dtype
from acdc_pipeline.models.directory import SHOW_SUPPORTED, architecture_of, read_config
from acdc_pipeline.models.hashing import hash_nested, hash_tensors, hash_tokenizer
from acdc_pipeline.models.laid_over import lay_over
from acdc_pipeline.models.layered import (
    count_entries,
    count_weight_bytes,
    layered_architecture,
    load_layered,
    refuse_too_large,
)
from acdc_pipeline.models.location import Located, locate
from acdc_pipeline.models.mapped import MappedBlocks
from acdc_pipeline.models.node_copy import preparation_turn, share_weights
from acdc_pipeline.models.rounding import round_parameters
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.specs.model_ref import ModelRef

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False, repr=False)
class LoadedModel:
    """A model in memory.

    Args:
        ref: the reference it was loaded by.
        revision: changes whenever the weights do.
        architecture: Hugging Face class name, or TransformerLensNative.
        weights: plain tensors, on the device the engine computes on.
        tokenizer: None if the directory has none.
        bridge: the TransformerLens model on the CPU, the oracle for the engine; None for an
            architecture that is read from the transformers model.
        original: that model, or a copy of the one that the caller held in memory, on the CPU;
            the oracle where there is one.
        dtype, digest: the dtype by name, and a hash of all weights and of the tokenizer, of what
            `load_model` returned; they are empty where the package loads models for itself.
        read_per_pass: about how many bytes a pass over all layers reads from files; 0 for a model
            in memory.
    """

    ref: ModelRef
    revision: str
    architecture: str
    weights: TransformerWeights
    tokenizer: PreTrainedTokenizerBase | None
    bridge: Any
    original: Any = None
    dtype: str = ""
    digest: str = ""
    read_per_pass: int = 0

    def __repr__(self) -> str:
        return f"<model {self.ref}: {self.architecture}, {self.weights!r}>"

    @property
    def topology(self) -> Topology:
        """Computational graph."""
        return self.weights.topology

    @property
    def is_layered(self) -> bool:
        """Whether its layers are in files, and read when they are computed."""
        return self.read_per_pass > 0

    def reference_logits(
        self, tokens: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos vocab"]:
        """Return the logits of the original model on the CPU, through TransformerLens if loaded."""
        with torch.no_grad():
            if isinstance(self.weights.blocks, MappedBlocks):
                self.weights.blocks.settle()  # the model reads its layers too
            if self.original is not None:
                return self.original(tokens.cpu(), use_cache=False).logits
            return self.bridge(tokens.cpu())


def load_model(ref: ModelRef | str, *, dtype: str = "float32", device: str = "auto") -> LoadedModel:
    """Load `zoo:NAME`, `hf:ORG/NAME[@REVISION]`, `dir:PATH` or `gguf:FILE`.

    Raises:
        UnknownName: no such zoo model.
        UnsupportedModel: the engine does not reproduce its architecture.
        InvalidInput: files are missing or do not fit together, or an unknown dtype or device.
    """
    loaded = load_reference(ModelRef.parse(ref) if isinstance(ref, str) else ref, dtype, device)
    return replace(loaded, dtype=dtype, digest=digest_of(loaded))


def digest_of(model: LoadedModel) -> str:
    """Return a hash of the weights of a model, of those of its oracle, and of its tokenizer."""
    oracle = model.original if model.bridge is None else model.bridge
    weights = hash_nested(model.weights) + hash_tensors(oracle.named_parameters())
    return weights + ("" if model.tokenizer is None else hash_tokenizer(model.tokenizer))


def load_reference(
    ref: ModelRef, dtype: str, device: str, memory: int | None = None, *, shares: bool = False
) -> LoadedModel:
    """Return the same as `load_model`, without the digest that shows later changes.

    Args:
        memory: the layers of a model whose weights take more bytes stay in their files, if the
            architecture allows it; half of it is for weights that are in memory.
        device: by name; with several, the layers are laid over them.
        shares: whether other processes of this machine load the same models, see `node_copy`.

    Raises:
        OutOfMemoryBudget: `memory` is too small for that; or the layers cannot be read one by one,
            and the weights exceed the free memory; or several devices do not hold them.
    """
    precision, devices = resolve_dtype(dtype), resolve_devices(device)
    located = locate(ref)
    config = read_config(located.directory)
    architecture = architecture_of(config)
    require_supported(architecture, config, where=str(ref))
    found = find_architecture(architecture, config)
    if memory is not None and len(devices) == 1:
        layered = layered_architecture(config)
        if layered is None:
            refuse_too_large(located.directory, config, free_memory(devices[0]), where=str(ref))
        elif count_weight_bytes(located.directory, precision) > memory:
            return _load_layered(ref, located, layered, precision, devices[0], memory)
    if not shares:
        return _load(ref, located, found, architecture, precision, devices)
    entries = count_entries(located.directory)
    with preparation_turn(2 * entries * precision.computed.itemsize):
        model = _load(ref, located, found, architecture, precision, devices)
        share_weights(model, dtype)
    return model


def _load(
    ref: ModelRef,
    located: Located,
    found: Architecture,
    architecture: str,
    precision: Precision,
    devices: Sequence[torch.device],
) -> LoadedModel:
    by_module = found.source == "module"
    load = load_module if by_module else load_bridge
    model = load(located.directory, dtype=precision.computed)
    round_parameters(model.named_parameters(), precision, located.directory, where=str(ref))
    weights = weights_of(model, found, where=str(located.directory / "config.json"))
    return LoadedModel(
        ref=ref,
        revision=located.revision,
        architecture=architecture,
        weights=weights.to(precision=precision, device=devices[0])
        if len(devices) == 1
        else lay_over(weights, precision, devices, where=str(ref)),
        tokenizer=load_tokenizer(located.directory),
        bridge=None if by_module else model,
        original=model if by_module else None,
    )


def _load_layered(
    ref: ModelRef,
    located: Located,
    architecture: ModuleArchitecture,
    precision: Precision,
    device: torch.device,
    memory: int,
) -> LoadedModel:
    original, weights, read_per_pass = load_layered(
        located.directory,
        architecture,
        precision=precision,
        device=device,
        memory=memory,
        where=str(ref),
    )
    return LoadedModel(
        ref=ref,
        revision=located.revision,
        architecture=architecture_of(read_config(located.directory)),
        weights=weights,
        tokenizer=load_tokenizer(located.directory),
        bridge=None,
        original=original,
        read_per_pass=read_per_pass,
    )


def weights_of(model: Any, architecture: Architecture, *, where: str) -> TransformerWeights:
    """Return the weights of a model as plain tensors, on the CPU.

    Args:
        model: a bridge, or a transformers model where `architecture` is read from its modules.

    Raises:
        UnsupportedModel: the engine does not reproduce an activation or a norm.
    """
    try:
        if isinstance(architecture, ModuleArchitecture):
            return read_weights(model, architecture)
        return extract_weights(model, architecture)
    except UnsupportedModel as error:
        error.fix = error.fix or SHOW_SUPPORTED
        raise error.at(where)  # noqa: B904  (the same error)
