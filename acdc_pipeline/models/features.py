"""What a model consists of, in words."""

from __future__ import annotations

from collections.abc import Iterator

from acdc_pipeline.models.weights import Attention, HeadNorm, TransformerWeights

_NORMS = {"layer": "LayerNorms", "rms": "RMS norms", "none": "no norms"}


def features(weights: TransformerWeights) -> tuple[str, ...]:
    """Everything the engine reproduces in this model, one phrase each."""
    return (*_stream(weights), *_attention(weights), *_mlp(weights))


def _stream(weights: TransformerWeights) -> Iterator[str]:
    first = weights.blocks[0]
    before = first.norm_attn.kind
    if before != "none" or first.post_attn is None:
        yield _NORMS[before]
    if first.post_attn is not None:
        yield f"{_NORMS[first.post_attn.kind]} after attention and MLP"
    if weights.parallel:
        yield "attention and MLP side by side"
    if weights.logit_cap is not None:
        yield f"logits capped at {weights.logit_cap:g}"


def _attention(weights: TransformerWeights) -> Iterator[str]:
    layers = [block.attn for block in weights.blocks]
    first = layers[0]
    yield from _positions(weights, layers)
    if first.heads_per_kv > 1:
        yield f"{first.w_q.shape[0]} query heads on {first.w_k.shape[0]} key/value heads"
    if first.q_norm is not None:
        yield f"queries and keys normalised {_span(first.q_norm)}"
    if first.score_cap is not None:
        yield f"scores capped at {first.score_cap:g}"
    windows = [attn.window for attn in layers if attn.window is not None]
    if windows:
        yield f"windows of {min(windows)} tokens in {len(windows)} of {len(layers)} layers"
    if first.direction == "bidirectional":
        yield "attention in both directions"


def _positions(weights: TransformerWeights, layers: list[Attention]) -> Iterator[str]:
    if weights.w_pos is not None:
        yield "learned positions"
    turning = [attn.rotary for attn in layers if attn.rotary is not None]
    if turning:
        width, d_head = turning[0].cos.shape[1], layers[0].w_q.shape[2]
        some = "" if len(turning) == len(layers) else f" in {len(turning)} of {len(layers)} layers"
        yield f"rotary positions on {width} of {d_head} dimensions{some}"


def _span(norm: HeadNorm) -> str:
    return "head by head" if norm.across == "head" else "across the heads of a layer"


def _mlp(weights: TransformerWeights) -> Iterator[str]:
    mlp = weights.blocks[0].mlp
    if mlp is None:
        yield "no MLPs"
        return
    gated = "" if mlp.w_gate is None else "gated "
    yield f"{gated}{mlp.activation.replace('_', ' ')} MLPs"
