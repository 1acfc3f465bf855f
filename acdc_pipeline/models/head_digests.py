"""A digest of each head's own weights, so that heads that changed places can be told."""

from __future__ import annotations

import hashlib

from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.graph import head
from acdc_pipeline.models.fingerprint import DIGITS, Fingerprint
from acdc_pipeline.models.load import load_model
from acdc_pipeline.models.weights import Attention, TransformerWeights


def with_heads(found: Fingerprint, ref: str) -> Fingerprint:
    """`found`, the fingerprint of model `ref`, with the digests of its heads.

    Raises what `load_model` raises.
    """
    return found.model_copy(update={"heads": head_digests(load_model(ref, device="cpu").weights)})


def head_digests(weights: TransformerWeights) -> dict[str, str]:
    """The digest of each head by its name: queries, keys and values that it reads by, and output.

    Under grouped-query attention heads share keys and values, and the digest of each counts them.
    """
    return {
        str(head(layer, index)): _digest(block.attn, index)
        for layer, block in enumerate(weights.blocks)
        for index in range(block.attn.w_q.shape[0])
    }


def _digest(attention: Attention, index: int) -> str:
    group = index // attention.heads_per_kv
    parts = [
        _row(attention.w_q, index),
        _row(attention.w_k, group),
        _row(attention.w_v, group),
        _row(attention.w_o, index),
        _row(attention.b_q, index),
        _row(attention.b_k, group),
        _row(attention.b_v, group),
    ]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:DIGITS]


def _row(table: Float[Tensor, "head ..."] | None, index: int) -> bytes:
    return b"" if table is None else table[index].contiguous().numpy().tobytes()
