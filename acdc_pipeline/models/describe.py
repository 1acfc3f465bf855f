"""Describe a model: its shape from `config.json` alone, its features from its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.graph import Topology
from acdc_pipeline.models.architectures import find_architecture, find_refusal
from acdc_pipeline.models.config import (
    EXPERT_WIDTH,
    HEAD_WIDTH,
    HEADS,
    LATENT_HEAD_WIDTHS,
    LAYERS,
    MLP_WIDTH,
    VOCABULARY,
    WIDTH,
    check_sizes,
    read_optional_size,
    read_size,
    require_dequantisable,
)
from acdc_pipeline.models.directory import architecture_of, read_config
from acdc_pipeline.models.location import Located, locate
from acdc_pipeline.specs.model_ref import ModelRef
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    from acdc_pipeline.models.weights import Attention, Mlp, TokenModule, TransformerWeights


@dataclass(frozen=True)
class ModelDescription:
    """The shape of a model.

    Args:
        family: name of the architecture in common use.
        d_head: from config.json, else `d_model / n_heads`.
        d_mlp: from config.json, else `4 * d_model`; 0 without MLPs; of one expert in a mixture.
        refused: the reason for which the engine does not reproduce the model, or None.
        experts: number of experts in a layer, and of those that process a token; None without.
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
    experts: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values; `experts` only where there are any."""
        fields = asdict(self) | {"topology": self.topology.as_dict()}
        return fields if self.experts else {k: v for k, v in fields.items() if k != "experts"}

    @property
    def layers(self) -> str:
        """`12 layers of 12 heads`, or the parts of layers that differ."""
        if self.topology.layers:
            return str(self.topology)
        return f"{pluralize(self.n_layers, 'layer')} of {pluralize(self.n_heads, 'head')}"


ONE_NODE_PER_MIXTURE = "leave out --experts nodes: each mixture is then one node"


def no_mixture() -> UnsupportedModel:
    """Return the error for a model without experts, of which experts are to be nodes."""
    return UnsupportedModel(
        "the model has no mixture of experts, so no expert can be a node",
        fix=ONE_NODE_PER_MIXTURE,
    )


def describe_model(ref: ModelRef | str) -> ModelDescription:
    """Return the shape of a model.

    Raises:
        UnknownName: no such zoo model.
        UnsupportedModel: its weights are quantised in a way that cannot be undone here.
        InvalidInput: no such directory or repository, or its config.json lacks a size or
            holds an invalid one.
    """
    ref = ModelRef.parse(ref) if isinstance(ref, str) else ref
    return describe_located(ref, locate(ref))


def describe_located(ref: ModelRef, located: Located) -> ModelDescription:
    """Return the shape of a model that is on this disk. Raises like `describe_model`."""
    config = read_config(located.directory)
    name = architecture_of(config)
    architecture = find_architecture(name, config)
    require_dequantisable(config, where=str(ref))
    where = str(located.directory / "config.json")
    refused = find_refusal(name, config)
    title, config = architecture.title, architecture.text_fields(config)
    architecture = architecture.text_architecture(config)
    check_sizes(config, where)
    n_layers = read_size(config, where, LAYERS)
    layers = architecture.layer_parts(config)
    has_heads = not layers or any("a" in parts for parts in layers)
    n_heads = read_size(config, where, HEADS) if has_heads else 0
    topology = Topology(
        n_layers=n_layers,
        n_heads=n_heads,
        has_mlp=architecture.has_mlp(config),
        parallel=architecture.is_parallel(config),
        layers=layers,
    )
    d_model = read_size(config, where, WIDTH)
    experts = architecture.count_experts(config)
    names = (*EXPERT_WIDTH, *MLP_WIDTH) if experts else MLP_WIDTH
    d_mlp = read_optional_size(config, where, names) or 4 * d_model
    return ModelDescription(
        ref=str(ref),
        architecture=name,
        family=title or name,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=architecture.count_kv_heads(config, n_heads),
        d_model=d_model,
        d_head=_read_head_width(config, where) or max(1, d_model // max(1, n_heads)),
        d_mlp=d_mlp if topology.has_mlp else 0,
        vocab=read_size(config, where, VOCABULARY),
        n_edges=topology.n_edges,
        topology=topology,
        revision=located.revision,
        refused=refused,
        experts=experts,
    )


def _read_head_width(config: Mapping[str, Any], where: str) -> int | None:
    """Return the width of queries and keys; None where `config` does not state it."""
    # In multi-head latent attention `head_dim` is the width of the rotated part.
    parts = [read_optional_size(config, where, (name,)) for name in LATENT_HEAD_WIDTHS]
    widths = [width for width in parts if width is not None]
    return sum(widths) if widths else read_optional_size(config, where, HEAD_WIDTH)


_NORMS = {"layer": "LayerNorms", "rms": "RMS norms", "none": "no norms"}


def list_features(weights: TransformerWeights) -> tuple[str, ...]:
    """Return one phrase for each feature of the model that the engine reproduces."""
    return (
        *_stream_features(weights),
        *_attention_features(weights),
        *_mixer_features(weights),
        _mlp_feature(weights),
    )


def _stream_features(weights: TransformerWeights) -> Iterator[str]:
    # A layer of an MLP alone has no norm before attention.
    first = next((block for block in weights.shapes if block.parts != "m"), weights.shapes[0])
    if first.norm_attn.kind != "none" or first.post_attn is None:
        yield _NORMS[first.norm_attn.kind]
    if first.post_attn is not None:
        yield f"{_NORMS[first.post_attn.kind]} after attention and MLP"
    if weights.parallel:
        yield "attention and MLP side by side"
    if weights.logit_cap is not None:
        yield f"logits capped at {weights.logit_cap:g}"


def _attention_features(weights: TransformerWeights) -> Iterator[str]:
    if weights.w_pos is not None:
        yield "learned positions"
    layers = weights.attentions
    if not layers:
        return
    first = layers[0]
    if len(layers) < len(weights.blocks):
        yield f"attention in {len(layers)} of {len(weights.blocks)} layers"
    rotary = [attn.rotary for attn in layers if attn.rotary is not None]
    if rotary:
        width, d_head = rotary[0].cos.shape[1], first.d_qk
        if first.difference is not None:
            d_head //= 2
        some = "" if len(rotary) == len(layers) else f" in {len(rotary)} of {len(layers)} layers"
        yield f"rotary positions on {width} of {d_head} dimensions{some}"
    if first.difference is not None:
        yield "heads that subtract one attention pattern from another"
    if first.heads_per_kv > 1:
        yield f"{first.w_q.shape[0]} query heads on {first.w_k.shape[0]} key/value heads"
    if first.q_norm is not None:
        across_heads = first.q_norm.across == "layer"
        span = "across the heads of a layer" if across_heads else "head by head"
        after = " after rotation" if first.q_norm.after_rotation else ""
        yield f"queries and keys normalised {span}{after}"
    if first.z_norm_eps is not None:
        yield "an RMS norm of what the heads of a layer carry"
    if first.score_cap is not None:
        yield f"scores capped at {first.score_cap:g}"
    windows = [attn.window for attn in layers if attn.window is not None]
    if windows:
        yield f"windows of {min(windows)} tokens in {len(windows)} of {len(layers)} layers"
    yield from _other_attention_features(layers)
    if first.direction == "bidirectional":
        yield "attention in both directions"


def _other_attention_features(layers: Sequence[Attention]) -> Iterator[str]:
    """Features of few architectures, each with the number of its layers unless it is all."""
    found: Counter[str] = Counter()
    for attn in layers:
        if attn.chunk is not None:
            found[f"chunks of {attn.chunk} tokens"] += 1
        if attn.k_latent is not None:
            found[f"keys and values from latents of {attn.k_latent.down.shape[1]} dimensions"] += 1
        if attn.q_latent is not None:
            found[f"queries from latents of {attn.q_latent.down.shape[1]} dimensions"] += 1
        if attn.w_v.shape[2] != attn.d_qk:
            found[f"values of {attn.w_v.shape[2]} dimensions for keys of {attn.d_qk}"] += 1
        if attn.v_norm is not None:
            found["values normalised"] += 1
        if attn.clip is not None:
            found[f"queries, keys and values clipped at {attn.clip:g}"] += 1
        if attn.query_scale is not None:
            found["queries scaled by position"] += 1
        if attn.alibi is not None:
            found["ALiBi position biases"] += 1
        if attn.sinks is not None:
            found["attention sinks"] += 1
        if attn.gate is not None:
            each = "head" if attn.gate == "heads" else "dimension of the values"
            found[f"a gate on every {each}"] += 1
    for feature, count in found.items():
        some = "" if count == len(layers) else f" in {count} of {len(layers)} layers"
        yield f"{feature}{some}"


def _mixer_features(weights: TransformerWeights) -> Iterator[str]:
    kinds = Counter(block.mixer.feature for block in weights.shapes if block.mixer is not None)
    for kind, count in kinds.items():
        yield f"{kind} in {count} of {len(weights.blocks)} layers"


def _mlp_feature(weights: TransformerWeights) -> str:
    layers = [_describe_mlp(block.mlp) for block in weights.shapes]
    kinds = Counter(layers)
    if len(kinds) == 1:
        return layers[0]
    return ", ".join(f"{kind} in {count} of {len(layers)} layers" for kind, count in kinds.items())


def _describe_mlp(mlp: Mlp | TokenModule | None) -> str:
    from acdc_pipeline.models.weights import TokenModule

    if mlp is None:
        return "no MLPs"
    if isinstance(mlp, TokenModule):
        return mlp.feature
    gated = "" if mlp.w_gate is None else "gated "
    return f"{gated}{mlp.activation.replace('_', ' ')} MLPs"
