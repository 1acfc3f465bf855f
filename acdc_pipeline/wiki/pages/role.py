"""The page of a role, that is, of a kind of head: its criteria, and the heads that meet them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.plotting.axes import Axis, log_axis
from acdc_pipeline.plotting.scatter import Mark, draw_scatter
from acdc_pipeline.specs.head_scores import ROLES, SCORES, Criterion, RoleDefinition
from acdc_pipeline.wiki.models import Model, head_index, primary_metric
from acdc_pipeline.wiki.page import Data, SinglePage, SitePage, frame
from acdc_pipeline.wiki.pages.mosaics import mosaic_settings
from acdc_pipeline.wiki.pages.plain_names import plain_name
from acdc_pipeline.wiki.pages.published import role_claims
from acdc_pipeline.wiki.pages.removal import removal_loss
from acdc_pipeline.wiki.pages.universality import universal_data
from acdc_pipeline.wiki.site import Site, SiteScore
from acdc_pipeline.wiki.text import format_number, pluralize, show_line, show_name

_MAX_ROWS = 40
_MAX_POINTS = 400
_MODELS_SHOWN = 24
"""Number of mosaics before the others are folded."""

_LEAST_MODELS = 5
"""Number of models from which depth is plotted against size."""

_THRESHOLDS = {
    "score": "at least {least}",
    "minus score": "at most −{least}",
    "share": "at least {least} of the whole model’s logit of the answer over wrong ones",
    "minus share": "at most −{least} of the whole model’s logit of the answer over wrong ones",
}

_STANDS_OUT = "; {floor} is enough if it stands out among the model’s heads"

Holder = tuple[Model, HeadRole]


class RoleListPage(SinglePage):
    """The list of roles."""

    template = "kinds.html"
    path = "k/index.html"

    def data(self, _: None) -> Data:
        return {
            **frame(1, "Kinds of heads", ("Kinds", None)),
            "rows": role_rows(self.site),
            "profiled": self.site.profiled,
        }


class RolePage(SitePage[RoleDefinition]):
    """The page of a role."""

    template = "kind.html"
    scope = "scores"

    def paths(self) -> Iterator[tuple[str, RoleDefinition]]:
        for role in ROLES.values():
            yield f"k/{role.name}.html", role

    def data(self, role: RoleDefinition) -> Data:
        site = self.site
        found = sorted(site.holders.get(role.name, ()), key=_order)
        profiled = [model for model in site.models if model.scores]
        # a head may have the role on several tasks
        counts = Counter(slug for slug, _ in {(model.slug, held.node) for model, held in found})
        heads = sum(counts.values())
        title = role.title.partition(" ")[2] if role.title[:2] in ("a ", "an") else role.title
        heading = title[:1].upper() + title[1:]
        return {
            **frame(1, heading, ("Kinds", "k/index.html"), (heading, None)),
            **mosaic_settings(site),
            "role": role,
            "title": heading,
            "criteria": [
                *(_criterion(site, c, "required") for c in role.required),
                *(_criterion(site, c, "supporting") for c in role.supporting),
            ],
            "spread": f"{pluralize(heads, 'head')} in "
            f"{pluralize(len(counts), 'model')} of {site.profiled} profiled",
            "definition": SCORES[role.required[0].score],
            "mosaics": _deciding_scores(site, role),
            "claims": role_claims(site, role.name),
            "shown": _MODELS_SHOWN,
            "counts": dict(counts),
            "names": {
                slug: plain_name(model) for slug, model in {m.slug: m for m, _ in found}.items()
            },
            "models": sorted(profiled, key=lambda m: (-counts.get(m.slug, 0), m.title)),
            "leaders": [(*pair, _loss(*pair)) for pair in found[:_MAX_ROWS]],
            "any_below": any(held.below_line is not None for _, held in found[:_MAX_ROWS]),
            "more": max(0, len(found) - _MAX_ROWS),
            "depths": _plot_depths(found, heading),
            "depth_models": _count_models([pair for pair in found if pair[0].size]),
            "enough_models": _LEAST_MODELS,
            "universal": universal_data(site, role),
            "rows": len(found),
            "heads": heads,
        }


def _loss(model: Model, held: HeadRole) -> float:
    return removal_loss(model, head_index(held.node), held.on)


def _order(holder: Holder) -> tuple[float, float, str, tuple[int, int]]:
    """What removing a head costs comes first, where it was measured; then its score."""
    model, held = holder
    loss = _loss(model, held)
    first = math.inf if math.isnan(loss) else -loss
    return first, -abs(held.value), model.title, head_index(held.node)


def role_rows(site: Site) -> list[Data]:
    """Return every role with the number of its heads and models."""
    rows = []
    for role in ROLES.values():
        found = site.holders.get(role.name, ())
        rows.append(
            {
                "role": role,
                "evidence": list(dict.fromkeys(c.evidence for c in role.required)),
                "heads": _count_heads(found),
                "models": _count_models(found),
            }
        )
    return rows


def _count_heads(holders: Sequence[Holder]) -> int:
    return len({(model.slug, held.node) for model, held in holders})


def _count_models(holders: Sequence[Holder]) -> int:
    return len({model.slug for model, _ in holders})


def _criterion(site: Site, criterion: Criterion, need: str) -> Data:
    score = SCORES[criterion.score]
    known = (s.slug for s in site.scores.values() if s.definition.name == score.name)
    return {
        "score": score,
        "slug": next(known, None),
        "need": f"{need}, where prompts give it" if criterion.if_measured else need,
        "threshold": _threshold(criterion),
        "evidence": criterion.evidence,
    }


def _threshold(criterion: Criterion) -> str:
    """Return what a score has to reach, also where it stands out among the heads of a model."""
    text = _THRESHOLDS[criterion.of].format(least=format_number(criterion.least))
    if criterion.floor is None:
        return text
    sign = "−" if criterion.of.startswith("minus") else ""
    return text + _STANDS_OUT.format(floor=sign + format_number(criterion.floor))


def _deciding_scores(site: Site, role: RoleDefinition) -> list[SiteScore]:
    """Return the score of the first criterion; on prompts, for every task, most heads first."""
    on_tasks = SCORES[role.required[0].score].per == "task"
    held = Counter(one.on for _, one in site.holders.get(role.name, ()))
    tasks = sorted(site.tasks, key=lambda task: -held[task]) if on_tasks else (None,)
    metrics = (primary_metric(role.name, task) for task in tasks)
    return [site.scores[metric] for metric in metrics if metric in site.scores]


def _plot_depths(found: list[Holder], heading: str) -> Markup | None:
    """Plot the relative depth of the heads against the size of their models; None for too few."""
    sized = [(model, held) for model, held in found if model.size]
    if _count_models(sized) < _LEAST_MODELS:
        return None
    points = [
        Mark(
            float(model.size or 0),
            model.depth(head_index(held.node)[0]),
            show_line(f"{show_name(model.title)} {held.node}: {format_number(held.value)}"),
            f"../m/{model.slug}/{held.node}.html",
        )
        for model, held in sized[:_MAX_POINTS]
    ]
    ticks = ((0.0, "first"), (0.25, ""), (0.5, "middle"), (0.75, ""), (1.0, "last"))
    label = (
        f"{heading}: depth of {pluralize(len(points), 'head')} in "
        f"{pluralize(_count_models(sized), 'model')} against the size of the model. "
        "Each is in the table below."
    )
    return Markup(
        draw_scatter(
            points,
            log_axis("weights in the layers", [point.x for point in points]),
            Axis("layer", -0.06, 1.06, ticks),
            label=show_line(label),
        )
    )
