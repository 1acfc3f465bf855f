"""Masks over the output dimensions of nodes: the "neurons" of EAP-IG and of the MIB benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool

NeuronBasis = Literal["stored", "centred"]
"""Of which outputs the dimensions are masked.

`stored`: of the outputs of the model as its weights are stored. `centred`: of outputs less their
mean over the dimensions, in models whose norms are LayerNorms, which do not see that mean.
TransformerLens by default centres the weights that write to the residual stream as it loads them,
so that files made with it (EAP-IG, MIB) are in this basis.
"""

NEURON_BASES: tuple[NeuronBasis, ...] = get_args(NeuronBasis)


@dataclass(frozen=True, eq=False)
class NeuronMasks:  # noqa: PLW1641  (arrays have no hash)
    """Which dimensions of each source's output the edges of a circuit carry.

    In the other dimensions an edge of the circuit carries the ablated output, as a removed edge
    does in all of them.

    Args:
        kept: in the order of `topology.sources`.
        basis: of which outputs.
    """

    kept: Bool[np.ndarray, "src d_model"]
    basis: NeuronBasis = "stored"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NeuronMasks):
            return NotImplemented
        return self.basis == other.basis and np.array_equal(self.kept, other.kept)
