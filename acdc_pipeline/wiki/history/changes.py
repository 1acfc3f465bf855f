"""What the runs of each day added to each model, from the dates of the runs alone.

The state of a model on a day is that of its runs up to the end of that day. Hence the same runs
give the same changes, whichever site was built when. Runs of unknown date, and evaluations, which
have no date, belong to every state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs import canonical_json
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name, merge_roles
from acdc_pipeline.wiki.runs import Run, StoreContents, version_of

Role = tuple[str, str | None]
"""Name of a role, and the task that it is on; None for none."""


@dataclass(frozen=True)
class CircuitChange:
    """A circuit that was added, and how it differs from an earlier one.

    Args:
        size: threshold; None for methods without one.
        compared_with: the newest run of an earlier day with the same task, method and kind of
            nodes and positions, but other prompts, seed or dtype; None where there is none.
        added, removed: numbers of edges that only this run, or only that one, has.
    """

    task: str
    method: str
    run_id: str
    size: float | None
    edges: int
    by_span: bool
    compared_with: str | None = None
    added: int = 0
    removed: int = 0


@dataclass(frozen=True)
class Change:
    """What the runs of one day added to one model.

    Args:
        version: data version of the model at the end of the day.
        site_version: data version of the site at the end of the day.
        gained, lost: roles by name of the head, against the day before.
        profiles: tasks on which heads were profiled.
    """

    day: date
    slug: str
    title: str
    version: str
    site_version: str
    is_new: bool
    run_ids: tuple[str, ...]
    gained: Mapping[str, tuple[Role, ...]]
    lost: Mapping[str, tuple[Role, ...]]
    circuits: tuple[CircuitChange, ...]
    profiles: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "date": self.day.isoformat(),
            "model": self.title,
            "slug": self.slug,
            "data_version": self.version,
            "site_version": self.site_version,
            "new_model": self.is_new,
            "runs": list(self.run_ids),
            "profiles": list(self.profiles),
            "roles_gained": {head: list(map(list, roles)) for head, roles in self.gained.items()},
            "roles_lost": {head: list(map(list, roles)) for head, roles in self.lost.items()},
            "circuits": [vars(circuit) for circuit in self.circuits],
        }


def find_changes(contents: StoreContents, models: Sequence[Model]) -> tuple[Change, ...]:
    """Return the changes, those of the newest day first and by title within a day."""
    runs = {run.run_id: run for run in contents.runs}
    days = sorted({contents.dates[run_id] for run_id in runs if run_id in contents.dates})
    until = {
        day: version_of(run_id for run_id in runs if _known_by(contents, run_id, day))
        for day in days
    }
    found = [change for model in models for change in _changes_of(model, runs, contents, until)]
    return tuple(sorted(found, key=lambda change: (-change.day.toordinal(), change.title)))


def _known_by(contents: StoreContents, run_id: str, day: date) -> bool:
    return contents.dates.get(run_id, date.min) <= day


def _changes_of(
    model: Model, runs: Mapping[str, Run], contents: StoreContents, until: Mapping[date, str]
) -> Iterable[Change]:
    by_day: dict[date, list[Run]] = {}
    known = [run_id for run_id in model.run_ids if run_id not in contents.dates]
    for run_id in model.run_ids:
        if run_id in contents.dates:
            by_day.setdefault(contents.dates[run_id], []).append(runs[run_id])
    roles = _roles(runs[run_id] for run_id in known)
    earlier = {_comparable(runs[run_id]): runs[run_id] for run_id in known}
    for day in sorted(by_day):
        new, is_new = by_day[day], not known
        # in the order of ids, as for the pages
        known = sorted([*known, *(run.run_id for run in new)])
        after = roles
        if any(run.profile is not None for run in new):
            after = _roles(runs[run_id] for run_id in known)
        yield Change(
            day=day,
            slug=model.slug,
            title=model.title,
            version=version_of(known),
            site_version=until[day],
            is_new=is_new,
            run_ids=tuple(run.run_id for run in new),
            gained=_difference(after, roles),
            lost=_difference(roles, after),
            circuits=tuple(
                sorted(
                    (_compare(run, earlier) for run in new if run.edges is not None),
                    key=lambda c: (c.task, c.method, c.by_span, -(c.size or 0), c.edges, c.run_id),
                )
            ),
            profiles=tuple(sorted({run.profile.task for run in new if run.profile is not None})),
        )
        roles = after
        earlier |= {_comparable(run): run for run in new}


def _roles(runs: Iterable[Run]) -> Mapping[HeadIndex, tuple[HeadRole, ...]]:
    return merge_roles(run.profile for run in runs if run.profile is not None)


def _difference(
    of: Mapping[HeadIndex, tuple[HeadRole, ...]], without: Mapping[HeadIndex, tuple[HeadRole, ...]]
) -> dict[str, tuple[Role, ...]]:
    """Return the roles that heads have in `of` but not in `without`."""
    found: dict[str, tuple[Role, ...]] = {}
    for place, held in of.items():
        other = {(role.role, role.on) for role in without.get(place, ())}
        own = tuple((r.role, r.on) for r in held if (r.role, r.on) not in other)
        if own:
            found[head_name(*place)] = own
    return found


def _comparable(run: Run) -> str:
    """Return what two runs have in common whose circuits are compared."""
    plain = run.spec.plain()
    names = ("task", "method", "experts", "positions")
    return canonical_json({name: plain[name] for name in names if name in plain})


def _compare(run: Run, earlier: Mapping[str, Run]) -> CircuitChange:
    edges = {edge.key for edge in run.edges or ()}
    before = earlier.get(_comparable(run))
    change = CircuitChange(
        task=run.spec.task,
        method=run.spec.method.name,
        run_id=run.run_id,
        size=getattr(run.spec.method, "threshold", None),
        edges=len(edges),
        by_span=run.shape is not None and bool(run.shape.spans),
    )
    if before is None or before.edges is None:
        return change
    old = {edge.key for edge in before.edges}
    return replace(
        change,
        compared_with=before.run_id,
        added=len(edges - old),
        removed=len(old - edges),
    )
