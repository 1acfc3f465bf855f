"""Which models of a site are checkpoints, seeds or fine-tunes of one another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from acdc_pipeline.wiki.families.declared import FamilyKind, read_declared, shape_of
from acdc_pipeline.wiki.families.sketches import likeness
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.text import assign_slugs

RELATED = 0.5
"""Median cosine of W_OV above which a model is a fine-tune of another of its name: independently
trained models have about 0."""

_STEP = re.compile(r"[-_./]?(?<![^\W\d_])(?:step|checkpoint|ckpt|iter)[-_]?(\d+)", re.I)
"""The word begins where no letter stands before it: `writer1` has no step."""

_SEED = re.compile(r"[-_.](?:s|seed[-_]?)(\d+)$", re.I)


@dataclass(frozen=True)
class Family:
    """Models of one shape that belong together.

    Args:
        slug: name of its page.
        members: checkpoints in the order of training, of fine-tunes the base first.
        labels: short name of each member within the family.
        steps: training step of each checkpoint; empty where they are unknown.
        reason: why these models are a family.
    """

    slug: str
    name: str
    kind: FamilyKind
    members: tuple[Model, ...]
    labels: tuple[str, ...]
    steps: tuple[float, ...]
    reason: str

    @property
    def shown(self) -> tuple[object, ...]:
        """All that its page depends on."""
        members = [
            (m.title, m.slug, m.measured, m.n_layers, m.n_heads, m.d_model) for m in self.members
        ]
        return self.slug, self.name, self.kind, members, self.labels, self.steps, self.reason

    @property
    def same_heads(self) -> bool:
        """Whether a head has the same name in all members: their weights continue each other."""
        return self.kind != "seeds"


def find_families(models: Sequence[Model], notes: Path | None = None) -> tuple[Family, ...]:
    """Return the families of a site, declared ones first.

    A model is a member of at most one family of each kind; what is declared counts. Raises
    SpecError or UnknownName if `families.yaml` in the folder of notes is invalid.
    """
    found: list[Family] = []
    for family, members in read_declared(notes, models):
        labels = _labels(members) if family.steps is None else tuple(map(_step, family.steps))
        steps = family.steps or ()
        reason = "declared in families.yaml"
        found.append(Family("", family.name, family.kind, members, labels, steps, reason))
    taken = {(family.kind, model.slug) for family in found for model in family.members}

    def free(kind: FamilyKind) -> list[Model]:
        return [model for model in models if model.scores and (kind, model.slug) not in taken]

    found += _checkpoints(free("checkpoints"))
    earlier = earlier_checkpoints(found)
    found += _seeds(model for model in free("seeds") if model.slug not in earlier)
    found += _finetunes([model for model in free("finetunes") if model.slug not in earlier])
    # of two found under one name, the declared one
    unique = {(family.name, family.kind): family for family in reversed(found)}
    slugs = assign_slugs({f"{name} {kind}" for name, kind in unique}, ("index",))
    return tuple(
        replace(family, slug=slugs[f"{family.name} {family.kind}"])
        for family in found
        if unique[family.name, family.kind] is family
    )


def earlier_checkpoints(families: Iterable[Family]) -> set[str]:
    """Return the slugs of all checkpoints but the last of each training."""
    return {
        model.slug
        for family in families
        if family.kind == "checkpoints"
        for model in family.members[:-1]
    }


def group_related(models: Sequence[Model], families: Iterable[Family]) -> list[list[Model]]:
    """Group models that are connected by families; a model without one is alone."""
    group = {model.slug: model.slug for model in models}
    for family in families:
        slugs = {group[model.slug] for model in family.members if model.slug in group}
        if slugs:
            first = min(slugs)
            group = {slug: first if of in slugs else of for slug, of in group.items()}
    out: dict[str, list[Model]] = {}
    for model in models:
        out.setdefault(group[model.slug], []).append(model)
    return list(out.values())


def _checkpoints(models: Iterable[Model]) -> Iterator[Family]:
    """Models whose references differ in the number of a step (`@step1000`, `run-step200`)."""
    groups: dict[tuple[object, ...], list[tuple[float, Model]]] = {}
    for model in models:
        if matches := list(_STEP.finditer(model.ref)):
            last = matches[-1]
            name = (model.ref[: last.start()] + model.ref[last.end() :]).rstrip("@-_./")
            key = (name, shape_of(model))
            groups.setdefault(key, []).append((float(last[1]), model))
    for (name, *_), found in groups.items():
        ordered = sorted(found, key=lambda pair: pair[0])
        steps = tuple(step for step, _ in ordered)
        if len(set(steps)) == len(steps) > 1:
            members = tuple(model for _, model in ordered)
            reason = "one shape, and references that differ only in the training step"
            yield Family(
                "", str(name), "checkpoints", members, tuple(map(_step, steps)), steps, reason
            )


def _seeds(models: Iterable[Model]) -> Iterator[Family]:
    """Models whose references differ in the number of a seed (`gpt2-4l-s0`, `pythia-70m-seed1`)."""
    groups: dict[tuple[object, ...], list[tuple[int, Model]]] = {}
    for model in models:
        name, at, revision = model.ref.partition("@")
        if match := _SEED.search(name):
            key = name[: match.start()] + at + revision, shape_of(model)
            groups.setdefault(key, []).append((int(match[1]), model))
    for (name, *_), found in groups.items():
        if len({seed for seed, _ in found}) == len(found) > 1:
            ordered = sorted(found, key=lambda pair: pair[0])
            labels = tuple(f"seed {seed}" for seed, _ in ordered)
            reason = "one shape, and references that differ only in the seed"
            members = tuple(model for _, model in ordered)
            yield Family("", str(name), "seeds", members, labels, (), reason)


def _finetunes(models: Sequence[Model]) -> Iterator[Family]:
    """Models named after another (`X-edited`) whose weights are still similar to its weights."""
    named = sorted((m for m in models if not _STEP.search(m.ref)), key=lambda m: len(m.ref))
    taken: set[str] = set()
    for base in named:
        others = [
            model
            for model in named
            if model.ref.startswith(f"{base.ref}-")
            and model.slug not in taken
            and shape_of(model) == shape_of(base)
            and (likeness(base.sketches, model.sketches) or 0.0) >= RELATED
        ]
        if others and base.slug not in taken:
            taken |= {model.slug for model in (base, *others)}
            labels = ("base", *(model.ref[len(base.ref) + 1 :] for model in others))
            reason = "one shape, named after the first, and similar weights"
            yield Family("", base.ref, "finetunes", (base, *others), labels, (), reason)


def _labels(members: Sequence[Model]) -> tuple[str, ...]:
    """Return the titles without what all have in common at the start."""
    titles = [model.title for model in members]
    start = 0
    while all(len(t) > start + 1 and t[start] == titles[0][start] for t in titles):
        start += 1
    start = max((titles[0].rfind(mark, 0, start) + 1 for mark in ":/@-_ "), default=0)
    return tuple(title[start:] for title in titles)


def _step(step: float) -> str:
    return f"step {step:,.0f}" if step == int(step) else f"step {step:g}"
