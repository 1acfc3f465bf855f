"""The attention patterns of a model's heads, for the pages that show them as text."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from acdc_pipeline.wiki.model_data import encode_script
from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.text import show_token


def pattern_files(model: Model) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the script with the patterns, also where there are none.

    `model` has full profiles, not summaries.
    """
    name = f"patterns/{model.slug}"
    yield f"data/{name}.js", encode_script(name, pattern_document(model))


def pattern_document(model: Model) -> dict[str, Any]:
    """Return the texts, and the patterns of each head that has any.

    `heads` has for each head pairs of the index of a text and its pattern: a byte for each query
    (row) and key (column), 255 for 1, row by row, in base64. `start` tokens before those of a text
    are not shown.
    """
    texts: list[dict[str, Any]] = []
    heads: dict[str, dict[int, str]] = {}
    for profile in model.profiles:
        attention = profile.document["attention"]
        places = []
        for text in attention["texts"]:
            shown = {
                "task": profile.task,
                "side": str(text["side"]),
                "prompt": _count(text.get("prompt")),
                "start": _count(text.get("start")),
                "tokens": [show_token(str(token)) for token in text["tokens"]],
            }
            # a profile of an earlier version has the same texts
            if shown not in texts:
                texts.append(shown)
            places.append(texts.index(shown))
        for head in attention["patterns"]:
            found = heads.setdefault(head, {})
            for place, pattern in zip(places, profile.patterns(head), strict=True):
                found.setdefault(place, base64.b64encode(pattern.weights.tobytes()).decode("ascii"))
    pairs = {head: list(found.items()) for head, found in heads.items()}
    return {"texts": texts, "heads": pairs}


def _count(value: object) -> int:
    """Return a number of the profile; 0 where it has none."""
    return value if isinstance(value, int) else 0
