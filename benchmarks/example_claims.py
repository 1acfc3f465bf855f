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
"""How far the mean of the texts may be from the score: this, or half of the range of the middle
four fifths of all places if that is more."""


def check_texts(
    intro: str,
    name: str,
    values: dict[str, float],
    profiles: list[dict[str, Any]],
) -> Iterator[str]:
    """Yield the contradictions between a page's examples of a score and the profiles.

    Args:
        intro: the text above the examples, with the caption of the pattern where one is drawn.
        values: the scores of the head.
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
    if "</figcaption>" in intro:
        yield from _check_pattern(intro, one, texts[one["texts"][0]["text"]], metric)


def _check_pattern(intro: str, one: Any, text: Any, metric: str) -> Iterator[str]:
    """The pattern is that of the first text, and its caption has the mean of what is outlined.

    That mean is of all queries of the text that count. The page does not say that it is near the
    score, which the query of the text is.
    """
    place, size = one["texts"][0], len(text["tokens"])
    pattern = base64.b64decode(one["pattern"])
    start = place["query"] * size
    if pattern[start : start + size] != base64.b64decode(place["weights"]):
        yield "the pattern has other weights than its text"
    cells = text["cells"].get(metric, [])
    if not cells:
        return
    mean = sum(pattern[q * size + k] for q, k in cells) / 255 / len({q for q, _ in cells})
    outlined = re.search(r"outlined: what counts, here (\S+\s?%)", intro)
    if outlined is None or abs(read_number(outlined[1]) - mean) > ROUNDING:
        yield f"the pattern has {mean:.3f}, its caption {outlined and outlined[1]}"


def _check_place(place: Any, text: Any, metric: str) -> tuple[float, float | None]:
    """Return the value said of a text, and the sum of the stored weights of its marked keys."""
    cells = text["cells"].get(metric)
    if cells is None:
        return place["value"], None
    weights = base64.b64decode(place["weights"])
    return place["value"], sum(weights[k] for q, k in cells if q == place["query"]) / 255
