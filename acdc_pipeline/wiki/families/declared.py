"""Families that a user declares: `families.yaml` in the folder of notes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from acdc_pipeline.errors import SpecError, UnknownName
from acdc_pipeline.specs.base import Spec
from acdc_pipeline.specs.load import load_yaml
from acdc_pipeline.wiki.models import Model

FILE = "families.yaml"

FamilyKind = Literal["checkpoints", "seeds", "finetunes"]


class DeclaredFamily(Spec):
    """One declared family.

    Args:
        name: heading of its page.
        kind: `checkpoints` of one training and `finetunes` of the first member have the same heads
            under the same names; `seeds` have not.
        members: models by the names that the wiki shows: checkpoints in the order of training, of
            fine-tunes the base first.
        steps: training step of each checkpoint; without it members are named, and stand
            side by side.
    """

    name: str = Field(min_length=1)
    kind: FamilyKind
    members: tuple[str, ...] = Field(min_length=2)
    steps: tuple[float, ...] | None = None


class DeclaredFamilies(Spec):
    """The content of `families.yaml`."""

    families: tuple[DeclaredFamily, ...]


def read_declared(
    folder: Path | None, models: Sequence[Model]
) -> list[tuple[DeclaredFamily, tuple[Model, ...]]]:
    """Return the families declared in the folder of notes, with their models.

    Raises:
        SpecError: the file is not valid, has two families of one name and kind, names a model
            twice, or models of different shapes, or its steps are not one for each member in
            rising order.
        UnknownName: a member is not on the site.
    """
    path = None if folder is None else folder / FILE
    if path is None or not path.is_file():
        return []
    known = {model.title: model for model in models}
    out: list[tuple[DeclaredFamily, tuple[Model, ...]]] = []
    for number, family in enumerate(load_yaml(path, DeclaredFamilies).families):
        field = f"families.{number}"
        if any((other.name, other.kind) == (family.name, family.kind) for other, _ in out):
            raise SpecError(
                f"'{family.name}' is there twice",
                where=str(path),
                field=f"{field}.name",
                fix=f"names of {family.kind} must differ",
            )
        for name in family.members:
            if name not in known:
                raise UnknownName.among(
                    "model of this wiki",
                    name,
                    known,
                    where=str(path),
                    field=f"{field}.members",
                    fix="profile it (acdc heads MODEL), or leave it out",
                )
        members = tuple(known[name] for name in family.members)
        _check(family, members, str(path), field)
        out.append((family, members))
    return out


def _check(family: DeclaredFamily, members: Sequence[Model], where: str, field: str) -> None:
    twice = next((m.title for m in members if members.count(m) > 1), None)
    if twice is not None:
        raise SpecError(f"'{twice}' is there twice", where=where, field=f"{field}.members")
    first = members[0]
    for other in members:
        if shape_of(other) != shape_of(first):
            raise SpecError(
                f"'{other.title}' has {describe_shape(other)}, but '{first.title}' has "
                f"{describe_shape(first)}",
                where=where,
                field=f"{field}.members",
                allowed="models of one shape",
            )
    if family.steps is None:
        return
    if family.kind != "checkpoints":
        raise SpecError("only checkpoints have steps", where=where, field=f"{field}.steps")
    rising = all(a < b for a, b in zip(family.steps, family.steps[1:], strict=False))
    if len(family.steps) != len(members) or not rising or family.steps[0] < 0:
        raise SpecError(
            f"{len(family.steps)} steps for {len(members)} members do not fit",
            where=where,
            field=f"{field}.steps",
            allowed="a rising number, at least 0, for each member",
        )


def shape_of(model: Model) -> tuple[object, ...]:
    """Return what models of one family have in common; the store does not know the vocabulary."""
    return model.n_layers, model.n_heads, model.d_model


def describe_shape(model: Model) -> str:
    """Return `4 layers of 8 heads, width 128`."""
    width = "unknown" if model.d_model is None else model.d_model
    return f"{model.n_layers} layers of {model.n_heads} heads, width {width}"
