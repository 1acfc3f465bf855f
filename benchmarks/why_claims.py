"""Compare what pages say of why a head attends with the profiles in the store.

Part of `python -m benchmarks.wiki_claims`: sentence and bars are read from the page, and their
numbers computed again from the pairs of sources, the stored patterns and the effects on logits.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from typing import Any

from acdc_pipeline.wiki.text import show_token
from benchmarks.feeds_claims import Part
from benchmarks.wiki_reading import ROUNDING, differs, read_number

_SENTENCE = re.compile(
    r"From (.*?) it gives (.*?) (\S+\s?%) of its attention: its score there is (\S+) (above|below) "
    r"the mean of other tokens(?:, (?:because of|in spite of) (.*?))?\. "
    r"(?:Against it: (.*?)\. )?"
    r"(?:It writes (\S+\s?%) from (.*?), raises (.*?) most \((\S+)\) and lowers (.*?) most "
    r"\((\S+)\)(?:, the answer (.*?) by (\S+))?\.)?\s*$",
    re.S,
)
_PART = re.compile(
    r"(?:([arm]\d+(?:\.h\d+)?)|(its token|its position|how far away it is|biases)) \((\S+)\)"
)
_NAMES = {
    "its token": "token",
    "its position": "position",
    "how far away it is": "distance",
    "biases": "bias",
}
_SLOTS = {"queries": "by_query", "keys": "by_key", "values": "by_value"}


def check_why(
    parts: Sequence[Part], name: str, profiles: Sequence[dict[str, Any]], shard: Any
) -> Iterator[str]:
    """Yield the contradictions of the reasons that the parts of a page give.

    Args:
        shard: the tables of pairs of the model, which parts name by number.
    """
    stored: dict[str, tuple[Any, Any]] = {}
    for profile in profiles:
        for one in profile.get("attribution", {}).get("heads", {}).get(name, ()):
            stored.setdefault(one["metric"], (one, profile))
    explained = 0
    for part in parts:
        number = re.search(r"data-number=(\d+)", part.content)
        text = part.text("seen")
        if number is None:
            continue
        explained += 1
        metric = shard["heads"][name][int(number[1])]["m"]
        if metric not in stored:
            yield f"no attribution of {metric} is stored: {text}"
            continue
        one, profile = stored[metric]
        said = _SENTENCE.match(text)
        if said is None:
            yield f"the sentence is not understood: {text}"
            continue
        if (metric.partition(":")[2] or None) != part.task:
            yield f"{metric} in the part on {part.task}"
        yield from _check_tokens(said, one)
        yield from _check_score(said, one)
        yield from _check_written(said, one)
        yield from _check_weight(read_number(said[3]), one, name, profile)
        yield from _check_bars(part.content, one)
    if stored and not explained:
        yield "the profile says why it attends, and the page does not"


def _check_tokens(said: re.Match[str], one: dict[str, Any]) -> Iterator[str]:
    """Query and key are those of the profile."""
    (at, query), (looked_at, key) = one["query"], one["key"]
    expected = show_token(query), "itself" if looked_at == at else show_token(key)
    if said.group(1, 2) != expected:
        yield f"“From {said[1]} it gives {said[2]}” is from {expected[0]} to {expected[1]}"


def _check_written(said: re.Match[str], one: dict[str, Any]) -> Iterator[str]:
    """What it writes has the largest share of the output, and the largest effects on logits."""
    is_stored = bool(one["by_token"] and one["raises"] and one["lowers"])
    answer = one.get("answer") if is_stored else None
    if (said[8] is not None) != is_stored or (said[14] is not None) != (answer is not None):
        yield f"the profile {'says' if is_stored else 'does not say'} what it writes, to {answer}"
        return
    if not is_stored:
        return
    at, token, share = max(one["by_token"], key=lambda part: abs(part[2]))
    up, gain = max(one["raises"], key=lambda part: part[1])
    down, loss = min(one["lowers"], key=lambda part: part[1])
    there = "there" if at == one["key"][0] else show_token(token)
    expected = [
        ("written from", said[9], said[8], there, share),
        ("raised most", said[10], said[11], show_token(up), gain),
        ("lowered most", said[12], said[13], show_token(down), loss),
    ]
    if answer is not None:
        expected.append(("the answer", said[14], said[15], show_token(answer[0]), answer[1]))
    for what, shown, number, name, value in expected:
        if shown != name or differs(read_number(number), value):
            yield f"{what}: {shown} with {number} is {name} with {value}"


def _check_score(said: re.Match[str], one: dict[str, Any]) -> Iterator[str]:
    """The score is the sum of all pairs, and a source of the key the sum of its column."""
    pairs = one["pairs"]
    score = read_number(said[4]) * (1 if said[5] == "above" else -1)
    total = sum(map(sum, pairs["values"]))
    if differs(score, total):
        yield f"the score {score} is not the sum of its pairs {total:.3f}"
    columns = {key: sum(row[at] for row in pairs["values"]) for at, key in enumerate(pairs["key"])}
    # more sources are stored than have a column in the table of pairs
    stored = {key: value for key, value in one["by_key"] if key != "rest"}
    parts = [_PART.findall(part or "") for part in (said[6], said[7])]
    for node, other, value in (found for part in parts for found in part):
        source = node or _NAMES[other]
        if source not in columns and source not in stored:
            yield f"{source} is none of the largest sources"
        elif source not in columns and differs(read_number(value), stored[source]):
            yield f"{value} of {source} is not {stored[source]:.3f}"
        elif source in columns and differs(read_number(value), columns[source]):
            yield f"{value} of {source} is not {columns[source]:.3f}"
    for_it = [read_number(value) for *_, value in parts[0]]
    if any(value <= 0 for value in for_it) or any(read_number(v) >= 0 for *_, v in parts[1]):
        yield "a source speaks for the key, and is said to speak against it, or the reverse"
    named = [value for key, value in columns.items() if key != "rest"]
    if for_it and max(for_it) < max(named) - ROUNDING:
        yield f"the largest source has {max(named):.3f}, the largest said {max(for_it)}"


def _check_weight(
    weight: float, one: dict[str, Any], name: str, profile: dict[str, Any]
) -> Iterator[str]:
    """The attention is that of the pattern of the text, where the key is shown."""
    typical = profile["typical"]
    (found,) = (t for t in typical["heads"][name] if t["metric"] == one["metric"])
    place = found["texts"][0]
    text = typical["texts"][place["text"]]
    if text["at"][place["query"]] != one["query"][0]:
        yield "the query is not that of the text shown"
    if one["key"][0] not in text["at"]:
        return
    weights = base64.b64decode(place["weights"])
    key = text["at"].index(one["key"][0])
    if abs(weights[key] / 255 - weight) > ROUNDING + 0.5 / 255:  # weights are stored in bytes
        yield f"{weight} of its attention is {weights[key] / 255:.3f}"
    if text["tokens"][key] != one["key"][1]:
        yield "the token looked at is another one in the text"
    about = [k for q, k in text["cells"].get(one["metric"], ()) if q == place["query"]]
    if about and key not in about and 2 * max(weights[k] for k in about) > max(weights) + 2:
        yield "the token looked at is none of those marked"


def _check_bars(rows: str, one: dict[str, Any]) -> Iterator[str]:
    for what, bars in re.findall(r"<dt>Feeds its (\w+)<dd>(.*?)</div>", rows, re.S):
        found = dict(one[_SLOTS[what]])
        shown = re.findall(r"<span.*?>(.*?)</span>", bars, re.S)
        values = []
        for bar in shown:
            name, value = re.sub(r"<.*?>", "", bar).replace("biases", "bias").split(maxsplit=1)
            values.append(abs(read_number(value)))
            if differs(read_number(value), found[name]):
                yield f"{value} of {name} for its {what} is not {found[name]}"
        most = max(abs(value) for source, value in found.items() if source != "rest")
        if differs(max(values), most):
            yield f"the largest source of its {what} has {most}, of those shown {max(values)}"
