"""Words by which the search finds kinds of heads: titles, and names in publications."""

from __future__ import annotations

from acdc_pipeline.heads.habits import lead_place
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.models import head_index
from acdc_pipeline.wiki.site import Site
from acdc_pipeline.wiki.tasks import ROLE_OF_GROUP

_OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "induction": ("pattern completion",),
    "previous_token": ("prev token",),
    "duplicate_token": ("duplicate",),
    "current_token": ("self attention", "identity"),
    "sink": ("bos", "resting", "no-op", "first token"),
    "copying": ("copy",),
    "suppressing": ("suppression", "anti-copying"),
    "successor": ("increment",),
    "relation": ("fact", "knowledge"),
    "mover": ("argument mover", "letter mover"),
    "direct_contributor": ("direct effect",),
    "copy_suppression": ("anti name mover",),
    "s_inhibition": ("subject inhibition", "inhibition"),
    "backup_mover": ("backup mover",),
}
"""Names in publications and common ones, besides the title."""

_REACHED = 0.5
"""What a score exceeds in an example."""


def kind_words(role: str) -> list[str]:
    """Return every name of a role, in lower case with spaces, the title's first: `s inhibition`."""
    names = [ROLES[role].title, role, *_OTHER_NAMES.get(role, ())]
    names += [group for group, name in ROLE_OF_GROUP.items() if name == role]
    return list(dict.fromkeys(_plain(name) for name in names))


def near_kinds(role: str) -> list[str]:
    """Return the kinds to look at where none is of this kind, nearest first.

    Those that it is a special case of, from the nearest; then those that share one of its
    scores; then all others on the same texts.
    """
    found, general = [], ROLES[role].special_of
    while general is not None:
        found.append(general)
        general = ROLES[general].special_of
    mine = _scores(role)
    found += [other for other in ROLES if mine & _scores(other)]
    found += [other for other in ROLES if ROLES[other].on == ROLES[role].on]
    return [other for other in dict.fromkeys(found) if other != role]


def example_queries(site: Site) -> list[str]:
    """Return queries that find something on this site: a kind, a task, a head, a score."""
    kinds = sorted(site.holders, key=lambda role: (lead_place(role), role))
    found = [kind_words(kinds[0])[0]] if kinds else []
    for model in site.models:
        # the name of a kind would be read as the kind
        searched = (task for task, (series, *_) in model.circuits.items() if series.heads)
        found += [task for task in searched if task not in ROLES][:1]
        if len(found) > len(kinds[:1]):
            break
    for role in kinds:
        model, held = site.holders[role][0]
        layer, head = head_index(held.node)
        found.append(f"{model.slug} {layer}.{head}")
        break
    plain = (score for score in site.scores.values() if score.task is None)
    reached = (s.definition.name for s in plain if s.scale.low == 0 and _exceeds(site, s.metric))
    return [*found, *(f"{name}>{_REACHED}" for name in list(reached)[:1])]


def _exceeds(site: Site, metric: str) -> bool:
    grids = (model.scores[metric].values for model in site.models if metric in model.scores)
    return any(bool((grid > _REACHED).any()) for grid in grids)


def _scores(role: str) -> set[str]:
    definition = ROLES[role]
    return {c.score for c in (*definition.required, *definition.supporting)}


def _plain(name: str) -> str:
    words = name.lower().replace("_", " ").replace("-", " ").split()
    return " ".join(word for word in words if word not in ("head", "heads", "a", "an", "of"))
