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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from acdc_pipeline.heads.roles import current_role
from acdc_pipeline.specs.head_scores import ROLES
from benchmarks.example_claims import check_texts
from benchmarks.feeds_claims import Part, check_feeds, parts_of, read_circuits
from benchmarks.removal_claims import Row, check_dearest, check_effects
from benchmarks.why_claims import check_why
from benchmarks.wiki_reading import PLACES, ROUNDING, read_number, read_shard
from benchmarks.wiki_text_claims import check_text_sentence, longest_text

_ORDERS = ("before", "after")
HABITS = ("induction", "duplicate_token", "previous_token", "current_token", "sink")

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
    searched: dict[tuple[str, str], list[Path]] = {}
    for run in sorted((store / "runs").iterdir()):
        if (run / "run.json").exists():
            spec = json.loads((run / "run.json").read_text())["spec"]
            kind = by_model if (run / "profile.json").exists() else searched
            kind.setdefault((spec["model"], spec["model_revision"]), []).append(run)
    heads, found = 0, []
    for model, runs in by_model.items():
        scores: Scores = {}
        rows: dict[str, dict[str, Row]] = {}
        for run in reversed(runs):
            for row in pq.read_table(run / "heads.parquet").to_pylist():
                name = f"a{row['layer']}.h{row['head']}"
                scores.setdefault(name, {})[row["metric"]] = row["value"]
                rows.setdefault(name, {})[row["metric"]] = row
        profiles = [json.loads((run / "profile.json").read_text()) for run in runs]
        folder = site / "m" / folders[model]
        shard = read_shard(site / "data" / "why" / f"{folders[model]}.js")
        circuits = read_circuits(searched.get(model, ()))
        text = longest_text(store / "runs", model)
        for name, values in scores.items():
            heads += 1
            page = folder / f"{name}.html"
            sentence, intro, sure = _read(page)
            parts = parts_of(page.read_text(encoding="utf-8"))
            wrong = [
                *check_why(parts, name, profiles, shard),
                *check_feeds(parts, name, profiles, circuits),
                *_check_parts(parts, name, rows[name], profiles),
                *_check_also(page, sentence, name, profiles),
                *_check_sentence(sentence, name, values, profiles),
                *_check_place(sentence, _task_of(sentence), values),
                *check_effects(sentence, rows[name], profiles),
                *_check_certainty(sure, sentence, name, rows[name], profiles),
                *check_texts(intro, name, values, profiles),
            ]
            if text is not None:
                wrong += check_text_sentence(page, name, text, profiles)
            found += [f"{folder.name} {name}: {one}" for one in wrong]
    return heads, found


def _check_parts(
    parts: Sequence[Part],
    name: str,
    rows: dict[str, Row],
    profiles: list[dict[str, Any]],
) -> Iterator[str]:
    """The sentences and texts of further tasks, as those of the first."""
    values = {metric: row["value"] for metric, row in rows.items()}
    for part in parts:
        if intro := part.text("hint"):
            yield from check_texts(f"{intro} ", name, values, profiles)
        if sentence := part.text("says"):
            yield from _check_place(sentence, part.task, values)
            if "At the token that the answer of" in sentence:
                continue
            yield from _check_sentence(sentence, name, values, profiles)
            yield from check_effects(sentence, rows, profiles)
            if part.task != _task_of(sentence):
                yield f"{sentence!r} in the part on {part.task}"


def _check_place(sentence: str, task: str | None, values: dict[str, float]) -> Iterator[str]:
    """What is said of attention to the answer in each order, and of what is read there."""
    nothing = float("nan")
    scores = {o: values.get(f"attention_to_answer_{o}@1:{task}", nothing) for o in _ORDERS}
    low, high = min(scores.values()), max(scores.values())
    at_place = low < 0.1 and high >= 0.3 and values[f"attention_to_answer@1:{task}"] >= 0.1
    begins = ("adds to the right one directly", "At the token that the answer of")
    is_due = any(words in sentence for words in begins)
    if (is_due and at_place) != ("at a place, not at the answer" in sentence):
        yield f"attention to the answer is {scores}: {sentence}"
    for order, value in re.findall(
        r"it comes (before|after) (?:a wrong )?one \(([\d.]+)", sentence
    ):
        if abs(read_number(value) - scores[order]) > ROUNDING:
            yield f"{value} where it comes {order} a wrong one is {scores[order]}"
    read = re.search(r"reads there adds ([+−][\d.]+)", sentence)
    if read and abs(read_number(read[1]) - values[f"answer_reading@1:{task}"]) > ROUNDING:
        yield f"{read[0]!r} is {values[f'answer_reading@1:{task}']}"


def _check_also(
    path: Path, sentence: str, name: str, profiles: list[dict[str, Any]]
) -> Iterator[str]:
    """The sentence and the one after it name every role on a task, and no other."""
    also = re.search(r"<p class=also>(.*?)</p>", path.read_text(encoding="utf-8"), re.S)
    said = "" if also is None else html.unescape(re.sub(r"<.*?>", "", also[1]))
    named = {
        (title, task)
        for title, tasks in re.findall(r"\bas (.+?) on (.+?)(?=,? (?:and )?as |\.$)", said)
        for task in re.split(r", | and ", tasks)
    }
    stored = {
        (ROLES[current_role(role["role"], role["metric"])].title, role["on"])
        for p in profiles
        for role in p["roles"]
        if role["head"] == name and role["on"] is not None
    }
    left = {on for _, on in stored - named}
    if named - stored or left != {_task_of(sentence)} - {None}:
        yield f"{said!r} and the first sentence name {sorted(named)} of {sorted(stored)}"


def _task_of(sentence: str) -> str | None:
    """The task that a sentence about a role is about."""
    on = re.search(r"; seen on (?!random tokens)(.*?), ", sentence)
    return None if on is None else on[1]


def _read(path: Path) -> tuple[str, str, str]:
    """Return the sentence of a page, the paragraph above its texts, and how sure it is.

    Empty where the page lacks one.
    """
    page = path.read_text(encoding="utf-8")
    patterns = (
        r"<p class=lede>(.*?)</p>",
        r'id="shown".*?<p class=hint>(.*?</figcaption>|.*?<div)',
        r">How sure</a>: (.*?)\.</p>",
    )
    found = (re.search(pattern, page, re.S) for pattern in patterns)
    sentence, intro, sure = ("" if one is None else html.unescape(one[1]) for one in found)
    return sentence, intro, sure


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
            if abs(read_number(value) - habits[habit]) > ROUNDING:
                yield f"{value} is not the score {habits[habit]}"
            if habits[habit] >= read_number(line) and chance is None:
                yield f"{value} reaches the line {line}"
            yield from _check_habit(sentence, habits, values, profiles)
    said = re.search(r"; seen (?:on (.*?), )?[^;]*; (.*)\.$", sentence)
    if roles and said is None:
        yield "has a role that the sentence does not name"
    back = re.search(r"it looks (\d+) tokens back \((\S+) of its", sentence)
    if back is not None:
        share = _share_back(name, int(back[1]), profiles)
        if (
            roles
            or share < max(0.4, *habits.values())
            or abs(share - read_number(back[2])) > ROUNDING
        ):
            yield f"{back[0]!r}, but {share} of its attention is there"
    if said is not None and not roles:
        yield "has no role, but its sentence names one"
    if said is not None:
        yield from _check_measures(said[1], said[2], values)


def _share_back(name: str, distance: int, profiles: list[dict[str, Any]]) -> float:
    """The mean of the stored pattern on random tokens at a distance."""
    for profile in profiles:
        typical = profile.get("typical", {})
        for one in typical.get("heads", {}).get(name, ()):
            text = typical["texts"][one["texts"][0]["text"]]
            if ":" not in one["metric"]:
                at, pattern = text["at"], base64.b64decode(one["pattern"])
                cells = [
                    pattern[q * len(at) + k]
                    for q, here in enumerate(at)
                    for k, there in enumerate(at)
                    if here - there == distance
                ]
                return sum(cells) / 255 / len(cells)
    return float("nan")


def _check_habit(
    sentence: str,
    habits: dict[str, float],
    values: dict[str, float],
    profiles: list[dict[str, Any]],
) -> Iterator[str]:
    """What a sentence without a role says of entropy, of a second place and of removal."""
    entropy = values["normalised_entropy@1"]
    said = re.search(r"(nearly evenly|few tokens) \(entropy ([\d.]+)", sentence)
    expected = "nearly evenly" if entropy >= 0.8 else "few tokens"
    if (said is not None) != (entropy >= 0.8 or max(entropy, *habits.values()) <= 0.2):
        yield f"the entropy is {entropy}, which the sentence calls {said and said[0]}"
    elif said and (said[1] != expected or abs(read_number(said[2]) - entropy) > ROUNDING):
        yield f"{said[0]!r}, but the entropy is {entropy}"
    second = re.search(r", and else at (.*?) \((\S+)\)", sentence)
    if second and abs(read_number(second[2]) - sorted(habits.values())[-2]) > ROUNDING:
        yield f"{second[0]!r} is not the second place: {habits}"
    if second and abs(read_number(second[2]) - habits[PLACES[second[1]]]) > ROUNDING:
        yield f"{second[0]!r} is not the score {habits[PLACES[second[1]]]}"
    yield from check_dearest(sentence, values, profiles)


def _check_measures(on: str | None, measures: str, values: dict[str, float]) -> Iterator[str]:
    """Every number of a sentence has to be a score of the head, on the task that it names."""
    near = [v for m, v in values.items() if ":" not in m or m.partition(":")[2] == on]
    above = re.search(r"no more than on counterfactual prompts \(up to (\S+)\)", measures)
    if above and values[f"attention_to_answer@1:{on}"] > read_number(above[1]) + ROUNDING:
        yield f"{above[0]!r} is less than the attention"
    for number in re.findall(
        r"(?<!up to )(?<!± )(?<![\d.])[+−]?\d+\.\d\d(?! on the first token)", measures
    ):
        if all(abs(read_number(number) - abs(v)) > ROUNDING for v in near) and all(
            abs(read_number(number) - v) > ROUNDING for v in near
        ):
            yield f"{number} is no score of the head"


def _check_certainty(
    sure: str, sentence: str, name: str, rows: dict[str, Row], profiles: list[dict[str, Any]]
) -> Iterator[str]:
    """Sample, interval and null have to be those of one score that the sentence states."""
    if not sure:
        if sentence and "not measured" not in sentence and "No habit" not in sentence:
            yield "does not say how sure it is"
        return
    roles = [role for p in profiles for role in p["roles"] if role["head"] == name]
    metrics = {role["metric"] for role in roles} or {f"{habit}@1" for habit in HABITS}
    count = re.search(r"; ([\d,]+) (?:answer|random sequence)s?(?: on ([^;]*))?", sure)
    interval = re.search(r"95 % interval (\S+) to ([^;]+)", sure)
    null = re.search(r"chance (up|down) to (\S+) \(", sure)
    for metric in metrics & rows.keys():
        row = rows[metric]
        nulls = [one for p in profiles for one in p["nulls"].get(metric, ())]
        fits = [count is None or (int(read_number(count[1])) == row["n"])]
        fits += [count is None or (count[2] or "") == metric.partition(":")[2]]
        if interval is not None:
            ends = (row["ci_low"], row["ci_high"])
            fits += [
                end is not None and abs(read_number(said) - end) <= ROUNDING
                for said, end in zip(interval.groups(), ends, strict=True)
            ]
        if null is not None:
            high = null[1] == "up"
            reach = [one["high" if high else "low"] for one in nulls]
            fits += [any(abs(read_number(null[2]) - one) <= ROUNDING for one in reach)]
        if all(fits):
            break
    else:
        yield f"how sure: {sure!r} fits none of {sorted(metrics)}"
    for task in re.findall(r"also on (.*?)(?:;|$)", sure):
        on = {role["on"] for role in roles}
        if not {one.strip() for one in re.split(", | and ", task)} <= on:
            yield f"has no role on {task}"


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
