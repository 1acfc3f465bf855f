"""A cell of a regression: one task in one model by one method, with one baseline file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import Field, model_serializer

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs import CircuitMethod, Dtype, RunSpec, Spec, circuit_method, method_label
from acdc_pipeline.specs.names import Positions

LONGEST_NAME = 80
_OTHER = re.compile(r"[^A-Za-z0-9_-]+")


class CellSpec(Spec):
    """The identity of a baseline: the settings of a run, without hashes of task and model."""

    task: str
    model: str
    method: CircuitMethod = Field(discriminator="name")
    prompts: int
    seed: int
    dtype: Dtype
    positions: Positions = "none"

    @model_serializer(mode="wrap")
    def _without_no_positions(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {n: v for n, v in write(self).items() if (n, v) != ("positions", "none")}

    def __str__(self) -> str:
        positions = "" if self.positions == "none" else f", positions {self.positions}"
        seed = f", seed {self.seed}" if self.seed else ""
        return f"{self.task} in {self.model}, {self.method_text}{positions}{seed}"

    @property
    def method_text(self) -> str:
        """Name of the method and size of its circuits: `acdc 0.03`, `eap 5%`."""
        # always the plural: the text is part of names of stored files
        if (edges := self.method.plain().get("edges")) is not None:
            return f"{self.method.name} {edges} edges"
        return method_label(self.method)

    @property
    def stem(self) -> str:
        """File name of the baseline without `.json`: `ioi.zoo-gpt2-4l-s0.acdc-0.03`."""
        positions = [] if self.positions == "none" else [f"positions-{self.positions}"]
        seed = [f"seed-{self.seed}"] if self.seed else []
        method = re.sub(r"[^A-Za-z0-9._-]+", "-", self.method_text.replace("%", "pc"))
        return ".".join([_make_slug(self.task), _make_slug(self.model), method, *positions, *seed])


def cell_of(run: RunSpec, model: str) -> CellSpec:
    """Return the cell of `run`.

    Args:
        model: reference, as in the sweep, of the model whose baseline the run is compared with.
    """
    return CellSpec(
        task=run.task,
        model=model,
        method=circuit_method(run.method),
        prompts=run.prompts,
        seed=run.seed,
        dtype=run.dtype,
        positions=run.positions,
    )


def check_distinct(cells: Iterable[CellSpec], sweep: str) -> None:
    """Raise SpecError if two cells of a sweep would share a baseline file."""
    taken: dict[str, CellSpec] = {}
    for cell in cells:
        other = taken.setdefault(cell.stem.casefold(), cell)
        if other != cell:
            raise SpecError(
                f"two of its cells would share the baseline {cell.stem}.json: they differ in "
                f"{', '.join(differences(other, cell))}",
                where=f"sweep '{sweep}'",
                fix="make two sweeps of it, each with baselines of its own (--baselines DIR)",
            )


def differences(was: CellSpec, now: CellSpec) -> tuple[str, ...]:
    """Return the settings in which two cells differ, as in `prompts 64 -> 32`."""
    before, after = _flatten(was), _flatten(now)
    return tuple(
        f"{name} {before.get(name)} -> {after.get(name)}"
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    )


def _flatten(cell: CellSpec) -> dict[str, object]:
    plain = cell.plain()
    method = plain.pop("method")
    return plain | {"method" if name == "name" else name: v for name, v in method.items()}


def _make_slug(text: str) -> str:
    slug = _OTHER.sub("-", text).strip("-") or "x"
    if len(slug) <= LONGEST_NAME:
        return slug
    return f"{slug[:60]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
