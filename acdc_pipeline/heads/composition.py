"""Q-, K- and V-composition: how strongly heads read the outputs of earlier heads, by weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.graph import Node, head
from acdc_pipeline.graph.edge import SLOTS, Slot
from acdc_pipeline.heads.batches import chunks
from acdc_pipeline.heads.folded import Circuit, FoldedLayer, available_values, folded_layer
from acdc_pipeline.heads.values import HeadValues, on_every_layer
from acdc_pipeline.models.mapped import MappedBlocks, release_freed_memory
from acdc_pipeline.models.weights import TransformerWeights

PARTNERS = 3
"""The number of earlier heads stored for each head and slot, the strongest first."""


@dataclass(frozen=True)
class Composition:
    """The composition of every head of a model with earlier heads.

    Args:
        strongest: for each slot, the largest composition of each head with any earlier head, minus
            `baseline`; NaN in the first layer with heads, which has no earlier one.
        partners: for each slot and head, the `PARTNERS` earlier heads it reads most, with the
            composition minus `baseline`.
        baseline: the composition of randomly rotated matrices: over rotations R of d_model
            dimensions, the mean square of ‖A R X‖ / (‖A‖‖X‖) is 1 / d_model.
        norms: ‖W_OV‖ and ‖W_QK‖ of every head, as `ov_norm` and `qk_norm`, [layer head] each.
    """

    strongest: Mapping[Slot, np.ndarray]
    partners: Mapping[tuple[Slot, Node], tuple[tuple[Node, float], ...]]
    baseline: float
    norms: Mapping[str, np.ndarray]


def composition(weights: TransformerWeights, memory: int) -> Composition:
    """‖W_OV¹ X‖ / (‖W_OV¹‖ ‖X‖) for every pair of an earlier head (1) and a later one.

    X is W_QK for queries, its transpose for keys, W_OV for values (Elhage et al. 2021). No d_model
    x d_model matrix is formed: with M = W_O¹ W_Q, for queries, the square of the numerator is the
    trace of Mᵀ (W_V¹ᵀ W_V¹) M (W_Kᵀ W_K). NaN where a head's matrices are zero, or a
    circuit is no product of matrices.
    """
    topology = weights.topology
    layers, n_heads = topology.layers_with_heads, topology.n_heads
    strongest: dict[Slot, np.ndarray] = {
        slot: np.full((topology.n_layers, n_heads), np.nan) for slot in SLOTS
    }
    partners: dict[tuple[Slot, Node], tuple[tuple[Node, float], ...]] = {}
    baseline = weights.d_model**-0.5
    norms: dict[Circuit, list[np.ndarray]] = {"ov": [], "qk": []}
    tables: dict[tuple[Slot, int], list[Tensor]] = {}
    for group in chunks(len(layers), _writers_at_once(weights, memory)):
        writers: list[tuple[Tensor, dict[str, Tensor]]] = []
        for number in range(group.start, len(layers)):
            reader = folded_layer(weights, layers[number])
            grams = _grams(reader)
            for slot in SLOTS if writers else ():
                table = tables.setdefault((slot, number), [])
                table += [_pairs(*writer, reader, grams, slot, memory).cpu() for writer in writers]
                if isinstance(weights.blocks, MappedBlocks):
                    release_freed_memory()
                if len(table) < number:
                    continue  # some earlier layers are in a later group
                excess = torch.cat(tables.pop((slot, number))).to(torch.float64).numpy() - baseline
                for index in range(n_heads):
                    found = _strongest(excess[:, index], layers, n_heads)
                    partners[slot, head(layers[number], index)] = found
                    if found:
                        strongest[slot][layers[number], index] = found[0][1]
            if number < group.stop:
                writers.append((reader.w_o, grams))
                for name, by_layer in norms.items():
                    by_layer.append(grams[name].cpu().to(torch.float64).numpy())
    return Composition(
        strongest,
        partners,
        baseline,
        {
            f"{name}_norm": available_values(
                weights, on_every_layer(topology, np.stack(by_layer)), name
            )
            for name, by_layer in norms.items()
        },
    )


def _writers_at_once(weights: TransformerWeights, memory: int) -> int:
    """Of how many layers the outputs are held at once, in half of the memory.

    The rest is for what is freed and not returned to the system yet.
    """
    attn, n_heads, d_model = weights.attentions[0], weights.topology.n_heads, weights.d_model
    d_v = attn.w_o.shape[1]
    matrix, square = n_heads * d_v * d_model, n_heads * max(d_v, attn.d_qk) ** 2
    writer, reader = matrix + 4 * square, 5 * matrix + 4 * square
    left = memory // (2 * weights.dtype.itemsize) - reader - 4 * n_heads * square
    return max(1, left // writer)


def composition_values(composed: Composition) -> list[HeadValues]:
    """Every score of the family: compositions, and the norms of both circuits."""
    values = [HeadValues(f"{slot}_composition", composed.strongest[slot]) for slot in SLOTS]
    return values + [HeadValues(name, norms) for name, norms in composed.norms.items()]


def _strongest(
    excess: np.ndarray, layers: Sequence[int], n_heads: int
) -> tuple[tuple[Node, float], ...]:
    order = [int(i) for i in np.argsort(-excess, kind="stable") if np.isfinite(excess[i])]
    return tuple(
        (head(layers[i // n_heads], i % n_heads), float(excess[i])) for i in order[:PARTNERS]
    )


def _pairs(
    writer: Float[Tensor, "head d_v d_model"],
    writer_grams: Mapping[str, Tensor],
    reader: FoldedLayer,
    grams: Mapping[str, Tensor],
    slot: Slot,
    memory: int,
) -> Float[Tensor, "head head"]:
    """The composition of every head of an earlier layer (rows) with every head of a later one.

    `writer` is W_O of the earlier layer. Heads that share a key or value matrix share the product
    with it.
    """
    matrix, other, size = {
        "q": (reader.w_q, grams["k"], grams["qk"]),
        "k": (reader.w_k[:: reader.heads_per_kv], grams["q"], grams["qk"]),
        "v": (reader.w_v[:: reader.heads_per_kv], grams["o"], grams["ov"]),
    }[slot]
    n_shared, d_model, d_head = matrix.shape
    n_heads = len(other)
    flat = matrix.transpose(0, 1).reshape(d_model, n_shared * d_head)
    rows = []
    for part in chunks(len(writer), memory // (4 * n_heads * d_head**2 * flat.element_size())):
        met = (writer[part] @ flat).unflatten(-1, (n_shared, d_head))
        left = torch.einsum("wab,wbrc->warc", writer_grams["v"][part], met)
        each = other.unflatten(0, (n_shared, -1))
        right = torch.einsum("wbrc,rgcd->wbrgd", met, each)
        square = torch.einsum("wbrc,wbrgc->wrg", left, right).flatten(1).clamp(min=0)
        rows.append(square.sqrt() / (writer_grams["ov"][part, None] * size))
    return torch.cat(rows)


def _grams(layer: FoldedLayer) -> dict[str, Tensor]:
    """Gram matrices of a layer's projections, and the norms of their products, head by head.

    ‖A Bᵀ‖ is the square root of the trace of AᵀA times BᵀB.
    """
    w_o = layer.w_o.transpose(-2, -1)
    matrices = {"q": layer.w_q, "k": layer.w_k, "v": layer.w_v, "o": w_o}
    grams = {name: m.transpose(-2, -1) @ m for name, m in matrices.items()}
    for name, left, right in (("ov", "v", "o"), ("qk", "q", "k")):
        product = grams[left] * grams[right].transpose(-2, -1)
        grams[name] = product.sum((-2, -1)).clamp(min=0).sqrt()
    return grams
