"""The heads of a model that share a key and value head, side by side (grouped queries)."""

from __future__ import annotations

from collections.abc import Iterator

from acdc_pipeline.heads.habits import lead_role
from acdc_pipeline.plotting.heatmap import draw_attention_mask
from acdc_pipeline.wiki.models import HeadIndex, Model, head_name
from acdc_pipeline.wiki.page import Data, SectionPage, frame


class GroupsPage(SectionPage[None]):
    """The page of all groups of a model; only of models whose heads share keys."""

    template = "groups.html"

    def paths(self) -> Iterator[tuple[str, None]]:
        model = self.section.model
        if any(group_size(model, layer) > 1 for layer in model.layers_with_heads):
            yield f"m/{model.slug}/groups.html", None

    def data(self, _: None) -> Data:
        model = self.section.model
        path = f"m/{model.slug}/index.html"
        return {
            **frame(
                2,
                f"Groups of heads in {model.title}",
                ("Models", "m/index.html"),
                (model.title, path),
                ("Groups", None),
            ),
            "model": model,
            "groups": [
                {
                    "anchor": head_name(*group[0]),
                    "names": f"{head_name(*group[0])} to {head_name(*group[-1])}",
                    **_side_by_side(model, group),
                }
                for group in all_groups(model)
            ],
        }


def group_size(model: Model, layer: int) -> int:
    """Return how many heads share a key head in a layer; 1 where none do, or it is unknown."""
    shared = model.heads_per_key
    return max(1, shared[layer]) if layer < len(shared) else 1


def all_groups(model: Model) -> Iterator[list[HeadIndex]]:
    """Yield the heads of each group of more than one."""
    for layer in model.layers_with_heads:
        size = group_size(model, layer)
        for first in range(0, model.n_heads, size) if size > 1 else ():
            yield [(layer, head) for head in range(first, min(first + size, model.n_heads))]


def others_in_group(model: Model, place: HeadIndex) -> list[Data]:
    """Return the heads that share the key and value of a head, with their roles."""
    layer, head = place
    size = group_size(model, layer)
    first = head - head % size
    return [
        {
            "name": head_name(layer, other),
            "anchor": head_name(layer, first),
            "roles": model.role_names((layer, other)),
        }
        for other in range(first, min(first + size, model.n_heads))
        if other != head
    ]


def group_lines(model: Model) -> str:
    """Return the borders between groups in a mosaic, as SVG path data in cells; empty for none."""
    parts = []
    for layer in model.layers_with_heads:
        size = group_size(model, layer)
        borders = range(size, model.n_heads, size) if size > 1 else ()
        parts += [f"M{layer} {border}h1" for border in borders]
    return "".join(parts)


def _side_by_side(model: Model, group: list[HeadIndex]) -> Data:
    """Return the heads of a group, with their patterns on one prompt of the task with most."""
    names = [head_name(*place) for place in group]
    found = [(p.task, {name: p.patterns(name)[:1] for name in names}) for p in model.profiles]
    task, shown = max(found, key=lambda x: sum(map(len, x[1].values())), default=(None, {}))
    heads = []
    for place, name in zip(group, names, strict=True):
        roles = model.roles.get(place, ())
        heads.append(
            {
                "name": name,
                "roles": model.role_names(place),
                "value": lead_role(roles).value if roles else None,
                "patterns": [
                    {
                        "size": len(pattern.tokens),
                        "mask": draw_attention_mask(pattern.weights),
                        "label": f"Attention of {name} on a prompt of {task}",
                    }
                    for pattern in shown.get(name, ())
                ],
            }
        )
    drawn = any(head["patterns"] for head in heads)
    return {
        "task": task if drawn else None,
        "heads": heads,
        "is_plain": not drawn and not any(head["roles"] for head in heads),
    }
