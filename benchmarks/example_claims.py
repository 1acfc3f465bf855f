"""Compare the texts and the pattern that show a head's sentence with the profiles in the store.

Part of `python -m benchmarks.wiki_claims STORE SITE`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

from benchmarks.wiki_reading import PLACES, ROUNDING, read_number

FAR = 0.15
"""How far texts and patterns may be from the mean of a score: this, or if that is more, for single
places half of the range of the middle four fifths of all places, for patterns `ERRORS`."""

ERRORS = 3.0
"""The number of standard errors of the queries of a pattern. They are those of a normal
distribution with that range."""

OF_RANGE = 2.563
"""The middle four fifths of a normal distribution, in standard deviations."""

FEW = 5
"""Number of queries from which the mean of a pattern is not that of single places."""


def check_texts(
    intro: str,
    name: str,
    values: dict[str, float],
    profiles: list[dict[str, Any]],
    *,
    has_pattern: bool = True,
) -> Iterator[str]:
    """Yield the contradictions between a page's examples of a score and the profiles.

    Args:
        intro: the text above the examples, with the caption of the pattern.
        values: the scores of the head.
        has_pattern: whether the examples are a pattern and texts, and not one text alone.
    """
    shown = re.search(
        r"Places on (.*?) whose (?:attention to )?(.*?) is (?:near|within \S+(?: points?)? of) "
        r"the mean of (\S+\s?%?); over all "
        r"[\d,]+ places?, four in five lie between (\S+\s?%?) and (\S+\s?%?)\.\s",
        intro,
    )
    if shown is None:
        back = re.search(r"attention \d+ tokens back is (\S+\s?%?) on average", intro)
        if back is None and any(p.get("typical", {}).get("heads", {}).get(name) for p in profiles):
            yield "the profile has texts that the page does not show"
        return
    source, place, mean, low, high = shown.groups()
    metric = f"{PLACES[place]}@1" + ("" if source == "random tokens" else f":{source}")
    stored = [
        (one, p["typical"]["texts"])
        for p in profiles
        for one in p.get("typical", {}).get("heads", {}).get(name, ())
        if one["metric"] == metric
    ]
    if not stored:
        yield f"no text of {metric} is stored"
        return
    one, texts = stored[0]
    if abs(read_number(mean) - values[metric]) > ROUNDING:
        yield f"the mean {mean} is not the score {values[metric]}"
    drawn = [_check_place(place, texts[place["text"]], metric) for place in one["texts"]]
    for value, summed in drawn:
        if summed is not None and abs(value - summed) > ROUNDING:
            yield f"a text said to have {value} has {summed:.3f}"
    reach = re.search(r" is within (\S+)( points?)? of the mean", intro)
    if reach is not None:
        most = float(reach[1]) / (100 if reach[2] else 1)
        if any(abs(value - values[metric]) > most + ROUNDING for value, _ in drawn):
            yield f"the texts are not within {most} of {values[metric]:.3f}"
    average = sum(value for value, _ in drawn) / len(drawn)
    far = max(FAR, (read_number(high) - read_number(low)) / 2)
    if abs(average - values[metric]) > far:
        yield f"the texts have {average:.3f} on average, the score is {values[metric]:.3f}"
    cells = texts[one["texts"][0]["text"]]["cells"].get(metric, [])
    if cells and has_pattern:
        size = len(texts[one["texts"][0]["text"]]["tokens"])
        pattern = base64.b64decode(one["pattern"])
        queries = len({q for q, _ in cells})
        mean_cell = sum(pattern[q * size + k] for q, k in cells) / 255 / queries
        spread = (read_number(high) - read_number(low)) / OF_RANGE
        reach = far if queries < FEW else max(FAR, ERRORS * spread / queries**0.5)
        if abs(mean_cell - values[metric]) > reach:
            yield f"the pattern has {mean_cell:.3f}, the score is {values[metric]:.3f}"
        outlined = re.search(r"outlined: what counts, here (\S+\s?%)", intro)
        # other parts of the page show a text without the pattern
        is_drawn = "</figcaption>" in intro
        if is_drawn and (outlined is None or abs(read_number(outlined[1]) - mean_cell) > ROUNDING):
            yield f"the pattern has {mean_cell:.3f}, its caption {outlined and outlined[1]}"


def _check_place(place: Any, text: Any, metric: str) -> tuple[float, float | None]:
    """Return the value said of a text, and the sum of the stored weights of its marked keys."""
    cells = text["cells"].get(metric)
    if cells is None:
        return place["value"], None
    weights = base64.b64decode(place["weights"])
    return place["value"], sum(weights[k] for q, k in cells if q == place["query"]) / 255
