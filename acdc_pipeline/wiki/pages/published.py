"""Published claims beside what was found: heads of published circuits, and single edges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs import ReferenceCircuit
from acdc_pipeline.specs.circuit_reference import Group
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name, primary_metric
from acdc_pipeline.wiki.page import Data
from acdc_pipeline.wiki.site import Site
from acdc_pipeline.wiki.tasks import (
    Finding,
    Task,
    Verdict,
    arxiv_url,
    check_role,
    find_claims,
    role_of_group,
)

_MOST_MODELS = 4
"""Number of models of which heads with the role of a group are named."""

_MOST_HEADS = 4
"""Number of heads named of a model."""

_ORDER: tuple[Verdict, ...] = ("agrees", "disagrees", "not tested")


def group_rows(site: Site, task: Task) -> list[Data]:
    """Return the groups of the published circuit of a task: their heads, judged, and those found.

    A head agrees if all that was measured of it agrees: that it is in the circuit, and behaves as
    its group says, at the positions that are stated.
    """
    reference = task.reference
    if reference is None:
        return []
    models = [model for model in site.models if reference.is_of(model.ref)]
    claims = {model.slug: find_claims(model, [task]) for model in models}
    rows = []
    for name, group in reference.groups.items():
        findings: list[tuple[Model, HeadIndex, Sequence[Finding]]] = [
            (model, place, claim.findings)
            for model in models
            for place in group.heads
            for claim in claims[model.slug].get(place, ())
        ]
        role = role_of_group(name)
        rows.append(
            {
                "name": name.replace("_", " "),
                "role": None if role is None else ROLES[role],
                "members": [str(node) for node in group.nodes],
                "where": _positions(group),
                "judged": _judge(findings),
                "found": [] if role is None else _found(site, role, task.name),
                "is_measured": role is not None and _is_measured(site, role, task.name),
            }
        )
    return rows


def role_claims(site: Site, role: str) -> list[Data]:
    """Return what publications say of a role: the heads they name, with scores as evidence alone.

    Circuits are on the pages of tasks.
    """
    rows = []
    for task in site.tasks.values():
        if task.reference is None:
            continue
        models = [model for model in site.models if task.reference.is_of(model.ref)]
        for name, group in task.reference.groups.items():
            if role_of_group(name) != role or not group.heads:
                continue
            findings = [
                (model, place, [found])
                for model in models
                for place in group.heads
                if place[0] in model.layers_with_heads and place[1] < model.n_heads
                if (found := check_role(model, task, place, name)) is not None
            ]
            rows.append(
                {
                    "task": task,
                    "model": task.reference.model,
                    "source": task.reference.source,
                    "url": arxiv_url(task.reference.source),
                    "members": [head_name(*place) for place in group.heads],
                    "judged": _judge(findings),
                }
            )
    return rows


def edge_rows(site: Site, task: Task) -> list[Data]:
    """Return for each model of a published circuit how many of its edges the circuit here has."""
    reference = task.reference
    if reference is None:
        return []
    rows = []
    for model in site.models:
        if not reference.is_of(model.ref) or task.name not in model.circuits:
            continue
        series = model.circuits[task.name][0]
        found = series.cuts[series.first_shown].run.details.get("reference")
        if not isinstance(found, dict) or not isinstance(found.get("total"), int):
            continue
        verdict = "agrees" if found["found"] == found["total"] else "disagrees"
        rows.append(
            {
                "model": model,
                "circuit": series.describe(series.cuts[series.first_shown]),
                "verdict": verdict,
                **{key: found.get(key) for key in ("found", "total", "others")},
            }
        )
    return rows


def is_on_site(site: Site, reference: ReferenceCircuit) -> bool:
    """Whether the model of a published circuit is on the site."""
    return any(reference.is_of(model.ref) for model in site.models)


def _positions(group: Group) -> str:
    parts = [f"at {', '.join(group.at)}"] if group.at else []
    return " ".join([*parts, *([f"reading {', '.join(group.reads)}"] if group.reads else [])])


def _judge(findings: Iterable[tuple[Model, HeadIndex, Sequence[Finding]]]) -> list[Data]:
    """Group heads by verdict; `why` is what contradicts them, or else the first finding."""
    by_verdict: dict[Verdict, list[Data]] = {verdict: [] for verdict in _ORDER}
    for model, place, found in findings:
        told = [one.verdict for one in found]
        verdict: Verdict = "not tested"
        if "disagrees" in told:
            verdict = "disagrees"
        elif "agrees" in told:
            verdict = "agrees"
        why = [one.text for one in found if one.verdict == verdict]
        head = {"slug": model.slug, "name": head_name(*place), "why": why}
        by_verdict[verdict].append(head)
    return [{"verdict": verdict, "heads": heads} for verdict, heads in by_verdict.items() if heads]


def _is_measured(site: Site, role: str, task: str) -> bool:
    """Whether a model with circuits of the task has the score that decides about the role."""
    metric = primary_metric(role, task)
    return any(metric in model.scores for model in site.models if task in model.circuits)


def _found(site: Site, role: str, task: str) -> list[Data]:
    """Return the heads that behave so here, on random tokens or on the prompts of the task."""
    models: dict[str, tuple[Model, list[HeadRole]]] = {}
    for model, held in site.holders.get(role, ()):
        if held.on in (None, task) and task in model.circuits:
            models.setdefault(model.slug, (model, []))[1].append(held)
    rows: list[Data] = []
    for model, roles in list(models.values())[:_MOST_MODELS]:
        heads = list(dict.fromkeys(str(one.node) for one in sorted(roles, key=lambda r: r.rank)))
        more = max(0, len(heads) - _MOST_HEADS)
        rows.append({"model": model, "heads": heads[:_MOST_HEADS], "more": more})
    if len(models) > _MOST_MODELS:
        rows.append({"model": None, "heads": [], "more": len(models) - _MOST_MODELS})
    return rows
