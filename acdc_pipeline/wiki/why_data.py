"""The pairs of sources of a model's heads, for the pages that show why heads attend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from acdc_pipeline.wiki.attribution import Attributed
from acdc_pipeline.wiki.model_data import encode_script
from acdc_pipeline.wiki.models import Model, head_name
from acdc_pipeline.wiki.text import show_token


def why_files(model: Model) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the script with the pairs, also where there are none.

    `model` has full profiles, not summaries.
    """
    name = f"why/{model.slug}"
    yield f"data/{name}.js", encode_script(name, why_document(model))


def why_document(model: Model) -> dict[str, Any]:
    """Return by head, in the order of `model_attributions`, pairs of sources and tokens."""
    heads = {
        name: [_plain(one) for one in found]
        for place in model.places
        for name in (head_name(*place),)
        if (found := model_attributions(model, name))
    }
    return {"heads": heads}


def model_attributions(model: Model, name: str) -> list[Attributed]:
    """Return the attributions of a head: for each metric that of the first profile with one."""
    found: dict[str, Attributed] = {}
    for profile in model.profiles:
        for one in profile.attributions(name):
            found.setdefault(one.metric, one)
    return list(found.values())


def _plain(one: Attributed) -> dict[str, Any]:
    query, key, rows = one.pairs
    return {
        "m": one.metric,
        "q": query,
        "k": key,
        "s": [round(100 * value) for row in rows for value in row],  # hundredths
        "t": [(at, show_token(text), round(share, 2)) for at, text, share in one.tokens],
        "up": [(show_token(text), round(value, 2)) for text, value in one.raises],
        "down": [(show_token(text), round(value, 2)) for text, value in one.lowers],
    }
