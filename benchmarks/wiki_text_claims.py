"""Compare what the pages of heads say of ordinary text with what the store holds.

Part of `python -m benchmarks.wiki_claims STORE SITE`: every sentence is read from the pages, and
its numbers are computed again from `text.json` and the roles, without the code that made them.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.wiki_reading import ROUNDING, read_number

KIND_OF_ROLE = {
    "sink": "first",
    "current_token": "current",
    "previous_token": "previous",
    "duplicate_token": "duplicate",
    "induction": "induction",
    "anti_induction": "induction",
}
"""Written again, to find an error in `specs.methods.text.OF_ROLE`, which pages are made from."""

WORDS = {
    "the token itself": "current",
    "the token before": "previous",
    "what followed it before": "induction",
    "its earlier occurrences": "duplicate",
}
BEYOND = 0.05
"""Share over that of a head that looks everywhere alike, from which a place is named."""

_SENTENCE = re.compile(
    r"On ([\d,]+) tokens of (.*?) it "
    r"(rests on .*? with|looks most at .*?:|rests nowhere in particular)"
    r"(?: (\S+\s?%) of its attention)?(?:, where alike would be (\S+\s?%))?"
    r"(?:; its roles explain (\S+\s?%), on (.*?) \(a head that looks everywhere alike: (\S+\s?%)\)"
    r"(?:, and (\S+\s?%) of what it writes)?"
    r"|, (which is|against) its role|; (it has no role that says where it looks))\."
)


def longest_text(runs: Path, model: tuple[str, str]) -> tuple[str, Mapping[str, Any]] | None:
    """Return title and document of the run on text that the pages of a model show."""
    found = []
    for run in sorted(runs.iterdir()):
        if (run / "text.json").exists():
            spec = json.loads((run / "run.json").read_text())["spec"]
            if (spec["model"], spec["model_revision"]) == model:
                found.append((-spec["method"]["tokens"], run.name, spec["task"], run))
    if not found:
        return None
    *_, title, run = min(found)
    return title, json.loads((run / "text.json").read_text())


def check_text_sentence(
    page: Path, name: str, text: tuple[str, Mapping[str, Any]], profiles: Sequence[Any]
) -> Iterator[str]:
    """Yield every contradiction between the sentence of a page and the stored shares."""
    title, document = text
    section = re.search(r'<h2 id="text">.*?<p>(.*?)<p class="split-key">', page.read_text(), re.S)
    said = section and _SENTENCE.search(html.unescape(re.sub(r"<.*?>", "", section[1])))
    if not said:
        yield "the run on text is not shown"
        return
    tokens, source, place, rest, flat, share, where, alike, written, beside, none = said.groups()
    kinds = document["kinds"]
    attention = dict(zip(kinds, document["heads"][name]["attention"], strict=True))
    uniform = dict(zip(kinds, document["uniform"], strict=True))
    if int(tokens.replace(",", "")) != document["tokens"] or source != title:
        yield f"{tokens} tokens of {source} are {document['tokens']} of {title}"
    yield from _check_place(place, rest, flat, attention, uniform)
    roles = {role["role"] for p in profiles for role in p["roles"] if role["head"] == name}
    about = {KIND_OF_ROLE[role] for role in roles if role in KIND_OF_ROLE}
    looking = about - {"first"}
    if (none is None) != bool(about) or (beside is not None) != (about == {"first"}):
        yield f"its roles are about {sorted(about)}"
    if beside is not None and (beside == "which is") != place.startswith("rests on"):
        yield f"“{place}, {beside} its role” although its role is to look at the first token"
    if share is not None:
        named = {kind for words, kind in WORDS.items() if words in where}
        if named != looking:
            yield f"roles about {sorted(named)} instead of {sorted(looking)}"
        for number, values in ((share, attention), (alike, uniform)):
            if abs(read_number(number) - sum(values[kind] for kind in looking)) > ROUNDING:
                yield f"{number} of {sorted(looking)} is {values}"
        output = document["heads"][name]["output"]
        if (output is None) != (written is None):
            yield f"its output is {output}, and it is said to write {written}"
        elif output is not None:
            of_kinds = sum(output[kinds.index(kind)] for kind in looking)
            if abs(read_number(written) - of_kinds) > ROUNDING:
                yield f"{written} of what it writes is {of_kinds}"
    if not (page.parent / "text" / page.name).exists():
        yield "has no page on text"


def _check_place(
    place: str,
    rest: str | None,
    flat: str | None,
    attention: Mapping[str, float],
    uniform: Mapping[str, float],
) -> Iterator[str]:
    """Yield what is wrong with the place that a head is said to rest on, or to look at most."""
    beyond = {kind: share - uniform[kind] for kind, share in attention.items()}
    most = max(beyond, key=lambda kind: beyond[kind])
    if beyond["first"] > BEYOND:
        expected, where = "first", "the first token"
    elif most != "other" and beyond[most] > BEYOND:
        expected, where = most, next(words for words, kind in WORDS.items() if kind == most)
    else:
        expected, where = "nowhere", "nowhere"
    if place.startswith("rests on"):
        found = "first"
    else:
        found = next((kind for words, kind in WORDS.items() if f"at {words}:" in place), "nowhere")
    if found != expected:
        share = f" is {attention[expected]}" if expected in attention else ""
        yield f"“{place}” although that on {where}{share}"
    elif rest is not None and abs(read_number(rest) - attention[found]) > ROUNDING:
        yield f"{rest} on {where} is {attention[found]}"
    elif flat is not None and abs(read_number(flat) - uniform[found]) > ROUNDING:
        yield f"{flat} on {where} of a head that looks everywhere alike is {uniform[found]}"
