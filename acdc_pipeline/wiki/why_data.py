"""The pairs of sources of a model's heads, for the pages that show why heads attend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
    """Return by head and metric the pairs of sources, what is read where, and token effects."""
    heads: dict[str, dict[str, Any]] = {}
    for place in model.places:
        name = head_name(*place)
        for profile in model.profiles:
            for one in profile.attributions(name):
                query, key, rows = one.pairs
                plain = {
                    "q": query,
                    "k": key,
                    "s": [round(value, 2) for row in rows for value in row],
                    "t": [(at, show_token(text), round(v, 2)) for at, text, v in one.tokens],
                    "up": [(show_token(text), round(value, 2)) for text, value in one.raises],
                    "down": [(show_token(text), round(value, 2)) for text, value in one.lowers],
                }
                heads.setdefault(name, {}).setdefault(one.metric, plain)
    return {"heads": heads}
