"""The page of a kind of head: what makes one, which heads are, and how universal they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.plotting.axes import Axis, log_axis
from acdc_pipeline.plotting.scatter import Mark, draw_scatter
from acdc_pipeline.specs.head_scores import ROLES, SCORES, Criterion, RoleDefinition, metric_key
from acdc_pipeline.wiki.models import Model, head_name, primary_metric
from acdc_pipeline.wiki.numbers import counted, number
from acdc_pipeline.wiki.page import frame
from acdc_pipeline.wiki.pages.mosaics import Panels, cell_size, is_linked
from acdc_pipeline.wiki.pages.score import definition_facts
from acdc_pipeline.wiki.site import Site
from acdc_pipeline.wiki.text import name, plain

Facts = dict[str, Any]

_LEADERS = 40

_LINES = {
    "score": "at least {least}",
    "minus score": "at most −{least}",
    "share": "at least {least} of the answer’s logit",
    "minus share": "at most −{least} of the answer’s logit",
}

Holder = tuple[Model, HeadRole]


def kind_pages(site: Site, panels: Panels) -> Iterator[tuple[str, Facts]]:
    """The facts of every kind's page by name."""
    for role in ROLES.values():
        yield role.name, _page(site, panels, role)


def kind_index(site: Site) -> Facts:
    """The facts of the list of kinds."""
    rows = []
    for role in ROLES.values():
        found = site.holders.get(role.name, ())
        rows.append(
            {
                "role": role.name,
                "title": role.title,
                "claim": role.claim,
                "evidence": list(dict.fromkeys(c.evidence for c in role.required)),
                "heads": len({(model.slug, held.node) for model, held in found}),
                "models": len({model.slug for model, _ in found}),
            }
        )
    return frame(1, "Kinds of heads", ("Kinds", None)) | {
        "rows": rows,
        "profiled": _profiled(site),
    }


def holders(site: Site, role: str) -> list[Holder]:
    """Every head of a kind, those of the clearest score first."""
    found = site.holders.get(role, ())
    return sorted(found, key=lambda pair: (-abs(pair[1].value), pair[0].title, _place(pair[1])))


def _page(site: Site, panels: Panels, role: RoleDefinition) -> Facts:
    root = "../"
    found = holders(site, role.name)
    title = role.title.partition(" ")[2] if role.title[:2] in ("a ", "an") else role.title
    heading = title[:1].upper() + title[1:]
    profiled = _profiled(site)
    models = {model.slug for model, _ in found}
    return {
        **frame(1, heading, ("Kinds", "k/index.html"), (heading, None)),
        "role": role.name,
        "title": heading,
        "says": role.title,
        "claim": role.claim,
        "reason": role.reason,
        "criteria": [
            *(_criterion(site, c, "required") for c in role.required),
            *(_criterion(site, c, "supporting") for c in role.supporting),
        ],
        "spread": f"{counted(len({(m.slug, h.node) for m, h in found}), 'head')} in "
        f"{counted(len(models), 'model')} of {profiled} profiled",
        "definition": definition_facts(SCORES[role.required[0].score]),
        "cell": cell_size(site),
        "linked": is_linked(site),
        "parts_": [
            {
                "task": task or "",
                "metric": metric,
                "scale": site.rulers[metric],
                "panels": panels[metric],
            }
            for task, metric in _metrics(site, role)
        ],
        "on_tasks": role.on == "task",
        "leaders": [_leader(pair, root) for pair in found[:_LEADERS]],
        "more": max(0, len(found) - _LEADERS),
        "depths": _depths(found, heading, root),
    }


def _criterion(site: Site, criterion: Criterion, need: str) -> Facts:
    score = SCORES[criterion.score]
    return {
        "title": score.title,
        "slug": site.score_slugs.get(score.name),
        "need": need,
        "line": _LINES[criterion.of].format(least=number(criterion.least)),
        "evidence": criterion.evidence,
        "nulls": ", ".join(score.nulls),
    }


def _metrics(site: Site, role: RoleDefinition) -> list[tuple[str | None, str]]:
    """The score that decides, once for every task where it is one of tasks."""
    if SCORES[role.required[0].score].per == "task":
        found = [(task, primary_metric(role.name, task)) for task in site.tasks]
    else:
        found = [(None, metric_key(role.required[0].score))]
    return [(task, metric) for task, metric in found if metric in site.rulers]


def _leader(pair: Holder, root: str) -> Facts:
    model, held = pair
    return {
        "model": model.title,
        "name": str(held.node),
        "href": f"{root}m/{model.slug}/{held.node}.html",
        "task": held.on,
        "value": held.value,
        "rank": held.rank,
        "of": held.of,
        "depth": model.depth(_place(held)[0]),
        "evidence": list(held.evidence),
    }


def _depths(found: list[Holder], heading: str, root: str) -> Markup | None:
    """How deep in a model such heads stand, against how large it is."""
    sized = [(model, held) for model, held in found if model.size]
    if len({model.slug for model, _ in sized}) < 2:
        return None
    points = [
        Mark(
            float(model.size or 0),
            model.depth(_place(held)[0]),
            plain(f"{name(model.title)} {head_name(*_place(held))}: {number(held.value)}"),
            f"{root}m/{model.slug}/{head_name(*_place(held))}.html",
        )
        for model, held in sized[:400]
    ]
    ticks = ((0.0, "first"), (0.25, ""), (0.5, "middle"), (0.75, ""), (1.0, "last"))
    says = (
        f"{heading}: depth of {counted(len(points), 'head')} in "
        f"{counted(len({m.slug for m, _ in sized}), 'model')} against the size of the model. "
        "Each is in the table below."
    )
    return Markup(
        draw_scatter(
            points,
            log_axis("weights in the layers", [point.x for point in points]),
            Axis("layer", -0.06, 1.06, ticks),
            label=plain(says),
        )
    )


def _place(held: HeadRole) -> tuple[int, int]:
    return held.node.layer or 0, held.node.head or 0


def _profiled(site: Site) -> int:
    return sum(bool(model.scores) for model in site.models)
