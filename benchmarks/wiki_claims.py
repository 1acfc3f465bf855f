"""Compare what the pages of heads say with the scores and weights that the store holds.

    python -m benchmarks.wiki_claims STORE SITE

SITE is a wiki built from STORE. The sentences are read from the pages, and every number and
place in them is computed again from `heads.parquet` and `profile.json`, without the code that made
them. Prints every contradiction, and ends with code 1 if there are any.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

PLACES = {
    "the token that followed the current one before": "induction",
    "the earlier occurrence of the current token": "duplicate_token",
    "the token before the current one": "previous_token",
    "the current token itself": "current_token",
    "the first token": "sink",
    "the right answer": "attention_to_answer",
    "the last mention of the repeated name": "attention_to_repeat",
    "effect on the logit of the answer over wrong ones": "direct_effect",
}
HABITS = ("induction", "duplicate_token", "previous_token", "current_token", "sink")
ROUNDING = 0.006
"""Half of the last digit shown, and a little for the digits stored."""

FAR = 0.15
"""How far texts and patterns may be from the mean of a score: this, and for single places half of
the range of the middle four fifths of all places if that is more."""

FEW = 5
"""Number of queries from which the mean of a pattern is not that of single places."""

Scores = dict[str, dict[str, float]]
"""By head and metric."""


def find_contradictions(store: Path, site: Path) -> tuple[int, list[str]]:
    """Return the number of heads with a sentence, and every contradiction."""
    index = json.loads((site / "data" / "index.json").read_text())
    folders = {
        (one["ref"], one["revision"]): one["document"].removesuffix(".json")
        for one in index["models"]
    }
    by_model: dict[tuple[str, str], list[Path]] = {}
    for run in sorted((store / "runs").iterdir()):
        if (run / "profile.json").exists():
            spec = json.loads((run / "run.json").read_text())["spec"]
            key = spec["model"], spec["model_revision"]
            by_model.setdefault(key, []).append(run)
    heads, found = 0, []
    for model, runs in by_model.items():
        scores: Scores = {}
        for run in reversed(runs):
            for row in pq.read_table(run / "heads.parquet").to_pylist():
                name = f"a{row['layer']}.h{row['head']}"
                scores.setdefault(name, {})[row["metric"]] = row["value"]
        profiles = [json.loads((run / "profile.json").read_text()) for run in runs]
        folder = site / "m" / folders[model]
        for name, values in scores.items():
            heads += 1
            sentence, intro = _read(folder / f"{name}.html")
            wrong = [
                *_check_sentence(sentence, name, values, profiles),
                *_check_texts(intro, name, values, profiles),
            ]
            found += [f"{folder.name} {name}: {one}" for one in wrong]
    return heads, found


def _read(path: Path) -> tuple[str, str]:
    """Return the sentence of a page, and the paragraph above its texts, empty if it has none."""
    page = path.read_text(encoding="utf-8")
    found = (
        re.search(pattern, page, re.S)
        for pattern in (r'<p class="lede">(.*?)</p>', r'id="shown".*?<p class="hint">(.*?)<div')
    )
    sentence, intro = ("" if one is None else html.unescape(one[1]) for one in found)
    return sentence, intro


def _number(text: str) -> float:
    text = text.replace("−", "-").replace("+", "").replace(",", "").strip()
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def _check_sentence(
    sentence: str, name: str, values: dict[str, float], profiles: list[dict[str, Any]]
) -> Iterator[str]:
    roles = [role for p in profiles for role in p["roles"] if role["head"] == name]
    habits = {habit: values.get(f"{habit}@1", -1.0) for habit in HABITS}
    clear = re.search(
        r"it looks most at (.*?) \((\S+)(?: ± \S+)? of its attention; an? .*? has (\S+) or more"
        r"(?:; chance gives up to ([\d.]+))?",
        sentence,
    )
    if "No clear habit" in sentence:
        if roles:
            yield "has a role, but no clear habit"
        if clear is not None:
            place, value, line, chance = clear.groups()
            habit = PLACES[place]
            if habits[habit] < max(habits.values()):
                yield f"looks more at another place than at {place}: {habits}"
            if abs(_number(value) - habits[habit]) > ROUNDING:
                yield f"{value} is not the score {habits[habit]}"
            if habits[habit] >= _number(line) and chance is None:
                yield f"{value} reaches the line {line}"
    said = re.search(r"; seen (?:on (.*?), )?[^;]*; (.*)\.$", sentence)
    if roles and said is None:
        yield "has a role that the sentence does not name"
    if said is not None and not roles:
        yield "has no role, but its sentence names one"
    if said is not None:
        yield from _check_measures(said[1], said[2], values)


def _check_measures(on: str | None, measures: str, values: dict[str, float]) -> Iterator[str]:
    """Every number of a sentence has to be a score of the head, on the task that it names."""
    near = [v for m, v in values.items() if ":" not in m or m.partition(":")[2] == on]
    for number in re.findall(r"(?<!± )(?<![\d.])[+−]?\d+\.\d\d(?! on the first token)", measures):
        if all(abs(_number(number) - abs(v)) > ROUNDING for v in near) and all(
            abs(_number(number) - v) > ROUNDING for v in near
        ):
            yield f"{number} is no score of the head"


def _check_texts(
    intro: str, name: str, values: dict[str, float], profiles: list[dict[str, Any]]
) -> Iterator[str]:
    shown = re.search(
        r"Places on (.*?) whose (?:attention to )?(.*?) is near the mean of (\S+\s?%?); over all "
        r"[\d,]+ places?, four in five lie between (\S+\s?%?) and (\S+\s?%?)\.\s",
        intro,
    )
    if shown is None:
        if any(p.get("typical", {}).get("heads", {}).get(name) for p in profiles):
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
    if abs(_number(mean) - values[metric]) > ROUNDING:
        yield f"the mean {mean} is not the score {values[metric]}"
    drawn = [_check_place(place, texts[place["text"]], metric) for place in one["texts"]]
    for value, summed in drawn:
        if summed is not None and abs(value - summed) > ROUNDING:
            yield f"a text said to have {value} has {summed:.3f}"
    average = sum(value for value, _ in drawn) / len(drawn)
    far = max(FAR, (_number(high) - _number(low)) / 2)
    if abs(average - values[metric]) > far:
        yield f"the texts have {average:.3f} on average, the score is {values[metric]:.3f}"
    cells = texts[one["texts"][0]["text"]]["cells"].get(metric, [])
    if cells:
        size = len(texts[one["texts"][0]["text"]]["tokens"])
        pattern = base64.b64decode(one["pattern"])
        queries = len({q for q, _ in cells})
        mean_cell = sum(pattern[q * size + k] for q, k in cells) / 255 / queries
        if abs(mean_cell - values[metric]) > (far if queries < FEW else FAR):
            yield f"the pattern has {mean_cell:.3f}, the score is {values[metric]:.3f}"


def _check_place(place: Any, text: Any, metric: str) -> tuple[float, float | None]:
    """Return the value said of a text, and the sum of the stored weights of its marked keys."""
    cells = text["cells"].get(metric)
    if cells is None:
        return place["value"], None
    weights = base64.b64decode(place["weights"])
    return place["value"], sum(weights[k] for q, k in cells if q == place["query"]) / 255


def main() -> int:
    """Compare the pages of a site with its store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path, help="folder of a store")
    parser.add_argument("site", type=Path, help="folder of a wiki built from it")
    arguments = parser.parse_args()
    heads, found = find_contradictions(arguments.store, arguments.site)
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{heads} heads, {len(found)} contradictions")
    return bool(found) or not heads


if __name__ == "__main__":
    sys.exit(main())
