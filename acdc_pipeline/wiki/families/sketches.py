"""Sketches of the weights of heads, as profiles store them, and the cosines that they estimate."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int8

from acdc_pipeline.graph import Node

Circuit = Literal["ov", "qk"]


@dataclass(frozen=True)
class Sketches:
    """Sketches of W_OV and W_QK of every head of a model (`acdc_pipeline.heads.sketches`).

    Args:
        shape: numbers of layers, of heads and of numbers in a sketch.
        ov: 8-bit integers, head by head; zeros where a head has no sketch.
        qk: the same of W_QK.
    """

    shape: tuple[int, int, int]
    ov: bytes = field(repr=False)
    qk: bytes = field(repr=False)

    @classmethod
    def from_document(cls, plain: Mapping[str, Any]) -> Sketches:
        """Return what a profile stores. Raises ValueError or KeyError where it is malformed."""
        size = int(plain["size"])
        found = {
            (circuit, Node.parse(head)): np.frombuffer(base64.b64decode(text), np.int8)
            for circuit in ("ov", "qk")
            for head, text in plain[circuit].items()
        }
        places = [(node.layer or 0, node.head or 0) for _, node in found]
        n_layers, n_heads = (1 + max((place[i] for place in places), default=-1) for i in (0, 1))
        grids = {name: np.zeros((n_layers, n_heads, size), np.int8) for name in ("ov", "qk")}
        for (circuit, node), values in found.items():
            if values.shape != (size,):
                raise ValueError(f"a sketch of {len(values)} numbers, not {size}")
            grids[circuit][node.layer or 0, node.head or 0] = values
        return cls((n_layers, n_heads, size), grids["ov"].tobytes(), grids["qk"].tobytes())

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Sketches:
        """Return what `plain` returned."""
        shape, *packed = plain
        ov, qk = map(base64.b64decode, packed)
        if not len(ov) == len(qk) == np.prod(shape):
            raise ValueError("sketches of another size")
        return cls((shape[0], shape[1], shape[2]), ov, qk)

    def plain(self) -> list[Any]:
        """Return it as JSON data."""
        return [self.shape, *(base64.b64encode(x).decode("ascii") for x in (self.ov, self.qk))]

    def grid(self, circuit: Circuit) -> Int8[np.ndarray, "layer head size"]:
        """Return the sketches of one circuit."""
        packed = self.ov if circuit == "ov" else self.qk
        return np.frombuffer(packed, np.int8).reshape(self.shape)


def cosines(
    one: Sketches | None, other: Sketches | None, circuit: Circuit
) -> Float64[np.ndarray, "layer head"] | None:
    """Return the estimated cosine of each head's matrix with that of the same head in `other`.

    NaN where either has no sketch; None for models without sketches or of different shapes. The
    standard error at a cosine c is about (1 - c²) / √128, that is 0.09 at 0 and 0.02 at 0.9.
    """
    if one is None or other is None or one.shape != other.shape:
        return None
    a, b = (sketches.grid(circuit).astype(np.float64) for sketches in (one, other))
    norms = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return np.divide((a * b).sum(-1), norms, out=np.full(norms.shape, np.nan), where=norms > 0)


def likeness(one: Sketches | None, other: Sketches | None) -> float | None:
    """Return the median over heads of the cosines of W_OV; None where they cannot be compared."""
    found = cosines(one, other, "ov")
    if found is None or not np.isfinite(found).any():
        return None
    return float(np.nanmedian(found))
