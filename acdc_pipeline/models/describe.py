"""What a model is, from its `config.json` alone: no weights are read."""

from __future__ import annotations

from dataclasses import dataclass

from acdc_pipeline.graph import Topology
from acdc_pipeline.models.architectures import SUPPORTED, is_parallel, kv_heads, refusal
from acdc_pipeline.models.config_values import (
    HEAD_WIDTH,
    HEADS,
    HIDDEN,
    LAYERS,
    VOCABULARY,
    WIDTH,
    size_if_given,
    size_of,
)
from acdc_pipeline.models.conversion.quantised import require_dequantisable
from acdc_pipeline.models.directory import NATIVE, architecture_of, read_config
from acdc_pipeline.models.location import Located, locate
from acdc_pipeline.specs.model_ref import ModelRef


@dataclass(frozen=True)
class ModelDescription:
    """A model's shape. `refused` is None where the engine reproduces it, else the reason.

    `d_head` and `d_mlp` are what is usual for the width where config.json does not say; `d_mlp` is
    0 without MLPs.
    """

    ref: str
    architecture: str
    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    vocab: int
    n_edges: int
    topology: Topology
    revision: str
    refused: str | None


def describe_model(ref: ModelRef | str) -> ModelDescription:
    """The shape of a model.

    Raises:
        UnknownName: no such zoo model.
        UnsupportedModel: its weights are quantised in a way that cannot be undone here.
        InvalidInput: no such directory or repository, or its config.json lacks a size or
            gives none for it.
    """
    ref = ModelRef.parse(ref) if isinstance(ref, str) else ref
    located = locate(ref)
    return describe_located(ref, located)


def describe_located(ref: ModelRef, located: Located) -> ModelDescription:
    """`describe_model` for a model that was already found on this disk."""
    config = read_config(located.directory)
    architecture = architecture_of(config)
    require_dequantisable(config, where=str(ref))
    where = f"{located.directory / 'config.json'}"
    n_layers = size_of(config, where, LAYERS)
    n_heads = size_of(config, where, HEADS)
    topology = Topology(
        n_layers=n_layers,
        n_heads=n_heads,
        has_mlp=not (architecture == NATIVE and bool(config.get("attn_only"))),
        parallel=is_parallel(architecture, config),
    )
    d_model = size_of(config, where, WIDTH)
    hidden = size_if_given(config, where, HIDDEN) or 4 * d_model
    return ModelDescription(
        ref=str(ref),
        architecture=architecture,
        family=SUPPORTED.get(architecture, architecture),
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=kv_heads(architecture, config, n_heads),
        d_model=d_model,
        d_head=size_if_given(config, where, HEAD_WIDTH) or max(1, d_model // n_heads),
        d_mlp=hidden if topology.has_mlp else 0,
        vocab=size_of(config, where, VOCABULARY),
        n_edges=topology.n_edges,
        topology=topology,
        revision=located.revision,
        refused=refusal(architecture, config),
    )
