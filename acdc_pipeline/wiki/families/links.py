"""What the pages of a model and its heads say about its relatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from acdc_pipeline.wiki.families.declared import FamilyKind
from acdc_pipeline.wiki.families.find import Family
from acdc_pipeline.wiki.families.matching import standardise
from acdc_pipeline.wiki.families.sketches import cosines
from acdc_pipeline.wiki.models import HeadIndex, Model

_MOST_RELATIVES = 4

Grid = tuple[tuple[float | None, ...], ...]
"""A value for each layer and head, with two decimals; None where it is unknown."""


@dataclass(frozen=True)
class Relative:
    """Another member of a family, whose heads go by the same names.

    Args:
        does: correlation of the standardised scores of each head with those of the same head.
        ov, qk: estimated cosines of their matrices; None without sketches.
    """

    label: str
    slug: str
    does: Grid | None
    ov: Grid | None
    qk: Grid | None

    def similarities(self, place: HeadIndex) -> list[tuple[str, float]]:
        """Return what two heads have in common, by what it is."""
        named = (("scores", self.does), ("OV", self.ov), ("QK", self.qk))
        found = ((name, _at(grid, place)) for name, grid in named)
        return [(name, value) for name, value in found if value is not None]


@dataclass(frozen=True)
class Relatives:
    """A family of a model, with the members to which its heads link: none of seeds."""

    name: str
    slug: str
    kind: FamilyKind
    label: str
    shown: tuple[Relative, ...]


def find_relatives(model: Model, families: Sequence[Family]) -> tuple[Relatives, ...]:
    """Return the families of a model.

    Of checkpoints the neighbours in training are shown, of fine-tunes the base or up to four
    others, of seeds none: which head matches which is on the page of the family.
    """
    out = []
    for family in families:
        slugs = [member.slug for member in family.members]
        if model.slug in slugs:
            place = slugs.index(model.slug)
            shown = tuple(
                _relative(model, family.members[other], family.labels[other])
                for other in _shown(family, place)
            )
            out.append(
                Relatives(family.name, family.slug, family.kind, family.labels[place], shown)
            )
    return tuple(out)


def _shown(family: Family, place: int) -> Iterator[int]:
    if family.kind == "checkpoints":
        yield from (p for p in (place - 1, place + 1) if 0 <= p < len(family.members))
    elif family.kind == "finetunes":
        yield from range(1, 1 + _MOST_RELATIVES)[: len(family.members) - 1] if place == 0 else (0,)


def _relative(model: Model, other: Model, label: str) -> Relative:
    return Relative(
        label,
        other.slug,
        _rounded(correlations(model, other)),
        _rounded(cosines(model.sketches, other.sketches, "ov")),
        _rounded(cosines(model.sketches, other.sketches, "qk")),
    )


def correlations(one: Model, other: Model) -> Float64[np.ndarray, "layer head"] | None:
    """Return the correlation of the standardised scores of each head with the same head's."""
    vectors = standardise(one, other)
    if vectors is None:
        return None
    a, b = vectors
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.divide((a * b).sum(-1), norms, out=np.full(norms.shape, np.nan), where=norms > 0)


def _rounded(grid: Float64[np.ndarray, "layer head"] | None) -> Grid | None:
    if grid is None:
        return None
    rows = np.round(grid, 2).tolist()
    return tuple(tuple(v if v == v else None for v in row) for row in rows)  # noqa: PLR0124  (NaN)


def _at(grid: Grid | None, place: HeadIndex) -> float | None:
    layer, head = place
    if grid is None or layer >= len(grid) or head >= len(grid[layer]):
        return None
    return grid[layer][head]
