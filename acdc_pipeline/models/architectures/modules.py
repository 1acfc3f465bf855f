"""Read the weights of a transformers model into plain tensors, by the names of its modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.models.architectures.layout import (
    ModuleArchitecture,
    find,
    find_optional,
)
from acdc_pipeline.models.architectures.reading.blocks import (
    check_post_norm,
    drop_zero,
    linear,
    scale_outputs,
)
from acdc_pipeline.models.architectures.reading.composed import SummedModules
from acdc_pipeline.models.architectures.reading.latent import read_latent_slots
from acdc_pipeline.models.architectures.reading.mlps import read_mixer, read_mlp
from acdc_pipeline.models.architectures.reading.norms import NO_NORM, read_head_norm, read_norm
from acdc_pipeline.models.architectures.reading.rotary import read_rotary
from acdc_pipeline.models.architectures.reading.slots import read_slots
from acdc_pipeline.models.architectures.reading.stream import (
    fold_factors,
    read_through,
    stream_scales,
)
from acdc_pipeline.models.weights import (
    Attention,
    Block,
    HeadNorm,
    Norm,
    Rotary,
    RotaryPairs,
    TransformerWeights,
)


def read_weights(model: Any, architecture: ModuleArchitecture) -> TransformerWeights:
    """Return a transformers model as plain tensors, which share memory with it where they can.

    Raises:
        UnsupportedModel: the engine does not reproduce a norm, or a module is missing.
    """
    with torch.no_grad():
        reader = ModuleReader(model, architecture)
        return reader.read_around([reader.read_block(layer) for layer in range(reader.n_layers)])


class ModuleReader:
    """Reads the weights of a transformers model, block by block. Raises like `read_weights`."""

    def __init__(self, model: Any, architecture: ModuleArchitecture) -> None:
        self.model, self.architecture = architecture.text_part(model)
        self.config = self.model.config
        self.layers = self.architecture.decoder_layers(self.model)
        self.n_ctx = self.architecture.count_positions(self.config)
        self._rotary = _read_rotary(self.model, self.architecture, self.layers, self.n_ctx)
        self._factors = [
            self.architecture.stream_factors(layer, self.config) for layer in self.layers
        ]
        self._scales = stream_scales(self._factors)

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.layers)

    def read_block(self, layer: int) -> Block:
        """Return the weights of one layer."""
        rotary = self._rotary[layer]
        block = _read_block(self.layers[layer], self.architecture, self.config, rotary)
        block = fold_factors(block, self._factors[layer], self._scales[layer])
        return scale_outputs(block, self.architecture.output_scale(self.config))

    def read_around(self, blocks: Sequence[Block]) -> TransformerWeights:
        """Return the whole model, whose layers are `blocks`."""
        model, architecture, config = self.model, self.architecture, self.config
        norm_final = _read_norm(model, architecture.final_norm, architecture) or NO_NORM
        logit_scale = architecture.logit_scale(config)
        w_u, b_u = linear(find(model, architecture.unembedding))
        w_u = architecture.unembed(w_u, model)
        embedding = find(model, architecture.embedding).weight
        return TransformerWeights(
            w_e=architecture.scale_embedding(embedding, model),
            w_pos=_read_positions(model, architecture),
            blocks=tuple(blocks) if isinstance(blocks, list) else blocks,
            norm_final=read_through(norm_final, self._scales[-1]),
            w_u=w_u if logit_scale == 1.0 else logit_scale * w_u,
            b_u=None if b_u is None else drop_zero(logit_scale * b_u),
            parallel=architecture.is_parallel(config.to_dict()),
            n_ctx=self.n_ctx,
            logit_cap=architecture.logit_cap(config),
        )


def _read_positions(
    model: Any, architecture: ModuleArchitecture
) -> Float[Tensor, "position d_model"] | None:
    table: Tensor | None = architecture.position_table(model)
    if table is None and architecture.positions:
        table = find(model, architecture.positions).weight[architecture.position_offset :]
    return table


def _read_rotary(
    model: Any, architecture: ModuleArchitecture, layers: Sequence[Any], n_ctx: int
) -> Sequence[Rotary | None]:
    tables = architecture.rotary_tables(model)
    if tables is not None:
        pairs = RotaryPairs(architecture.rotary_pairs)
        return [None if table is None else Rotary(*table, pairs) for table in tables]
    if not architecture.rotary:
        return [None] * len(layers)
    attentions = [architecture.find_part(layer, "a") for layer in layers]
    if not any(part is not None and architecture.rotates(part) for part in attentions):
        return [None] * len(layers)
    return read_rotary(find(model, architecture.rotary), architecture, attentions, n_ctx)


def _read_block(
    layer: Any, architecture: ModuleArchitecture, config: Any, rotary: Rotary | None
) -> Block:
    attention, mixer, mlp = (architecture.find_part(layer, part) for part in ("a", "r", "m"))
    if attention is None and not architecture.mixer:
        find(layer, architecture.attention)  # raises

    def post_norm(name: str, part: Any) -> Norm | None:
        return None if part is None else _read_post_norm(layer, name, architecture)

    norm_attn = _read_norm(layer, architecture.attn_norm, architecture) or NO_NORM
    attn = None if attention is None else _read_attention(attention, architecture, config, rotary)
    post_attn = post_norm(architecture.post_attn, attention)
    if attn is not None:
        check_post_norm(attn, post_attn)
    shared = find_optional(layer, architecture.shared_mlp)
    if mlp is not None and shared is not None:
        mlp = SummedModules(mlp, shared)
    norm_mlp = None
    if mlp is not None:
        norm_mlp = _read_norm(layer, architecture.mlp_norm, architecture) or norm_attn
    block = Block(
        norm_attn=norm_attn,
        attn=attn,
        norm_mlp=norm_mlp,
        mlp=None if mlp is None else read_mlp(mlp, architecture, config),
        post_attn=post_attn,
        post_mlp=post_norm(architecture.post_mlp, mlp),
        mixer=None if mixer is None else read_mixer(mixer, config),
        post_mixer=post_norm(architecture.post_mixer, mixer),
    )
    return architecture.finish_block(block, layer, config)


def _read_norm(module: Any, name: str, architecture: ModuleArchitecture) -> Norm | None:
    return read_norm(find(module, name), architecture) if name else None


def _read_post_norm(layer: Any, name: str, architecture: ModuleArchitecture) -> Norm | None:
    norm = _read_norm(layer, name, architecture)
    return None if norm is None or norm.kind == "none" else norm


def _read_attention(
    attention: Any, architecture: ModuleArchitecture, config: Any, rotary: Rotary | None
) -> Attention:
    latent = find_optional(attention, architecture.kv_down) is not None
    slots = (read_latent_slots if latent else read_slots)(attention, architecture, config)
    (heads, _, _), (kv_heads, _, d_qk) = slots["w_q"].shape, slots["w_k"].shape
    d_v = slots["w_v"].shape[2]
    w_o, b_o = linear(find(attention, architecture.o))

    def head_norm(name: str, count: int, width: int) -> HeadNorm | None:
        return read_head_norm(find_optional(attention, name), architecture, count, width)

    attn = Attention(
        **slots,
        w_o=w_o.reshape(heads, d_v, w_o.shape[1]),
        b_o=drop_zero(b_o),
        scale=architecture.score_scale(attention),
        rotary=rotary,
        direction="causal",
        window=architecture.window(attention),
        score_cap=architecture.score_cap(attention),
        q_norm=head_norm(architecture.q_norm, heads, d_qk),
        k_norm=head_norm(architecture.k_norm, kv_heads, d_qk),
        v_norm=head_norm(architecture.v_norm, kv_heads, d_v),
        sinks=find_optional(attention, architecture.sinks),
        clip=architecture.clip(config),
    )
    return architecture.finish_attention(attn, attention, config)
