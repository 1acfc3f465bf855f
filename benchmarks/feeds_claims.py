"""Compare what pages say of what feeds a head, and what it feeds, with the store.

Part of `python -m benchmarks.wiki_claims`: the sentences on circuits are read from the page, and
their edges looked up in `edges.parquet`; those on one text in the attributions of profiles.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from benchmarks.wiki_reading import differs, read_number

_SLOTS = {"queries": "q", "keys": "k", "values": "v"}
_ATTRIBUTED = {"queries": "by_query", "keys": "by_key", "values": "by_value"}
_NAMES = {
    "the token embedding": "token",
    "the position embedding": "position",
    "the distance": "distance",
    "biases": "bias",
}
_SIZE = re.compile(r"In the circuit (?:at τ = (\S+?)( x \d+)?|of ([\d,]+) edges)(?: \(f[^)]*\))?, ")
_SAID = re.compile(r"(?:the (queries|keys|values) of )?(a\d+\.h\d+|[mr]\d+|the input|the logits)")
_NUMBER = re.compile(r"\((?:score |removing that edge (\w+(?: \w+)*?) )?([−≈\d][\d.,]*)")
_PART = re.compile(r"<section class=part id=on-(\S+?)><h3>(.*?)</h3>(.*?)</section>", re.S)

Edge = tuple[str, str, str]
"""Source, destination and slot."""


class StoredCircuit(NamedTuple):
    """The edges of a run that were kept, with their scores."""

    task: str
    threshold: float | None
    edges: Mapping[Edge, float | None]


class Part(NamedTuple):
    """A part of the page of a head: its task (None: random tokens) and its HTML."""

    task: str | None
    content: str

    def text(self, css: str) -> str:
        """The plain text of a paragraph; empty without it."""
        found = re.search(rf"<p class={css}>(.*?)\n", self.content, re.S)
        return "" if found is None else html.unescape(re.sub(r"<.*?>", "", found[1]))


def parts_of(page: str) -> list[Part]:
    """The parts of the page of a head."""
    found = _PART.findall(page)
    plain = [(one, html.unescape(re.sub(r"<.*?>", "", title))) for one, title, _ in found]
    return [
        Part(None if one == "random" else title.removeprefix("On "), content)
        for (one, title), (*_, content) in zip(plain, found, strict=True)
    ]


def read_circuits(runs: Sequence[Path]) -> list[StoredCircuit]:
    """Read the circuits over components of a model's runs; those of a consensus are left out."""
    found = []
    for run in runs:
        spec = json.loads((run / "run.json").read_text())["spec"]
        if not (run / "edges.parquet").exists() or spec["method"].get("consensus"):
            continue
        table = pq.read_table(run / "edges.parquet").to_pylist()
        if "dst_span" in table[0]:
            continue
        edges = {
            (row["src"], row["dst"], row["dst_slot"] or ""): row["score"]
            for row in table
            if row["present"]
        }
        found.append(StoredCircuit(spec["task"], spec["method"].get("threshold"), edges))
    return found


def check_feeds(
    parts: Sequence[Part],
    name: str,
    profiles: Sequence[dict[str, Any]],
    circuits: Sequence[StoredCircuit],
) -> Iterator[str]:
    """Yield the contradictions of the parts of one page."""
    tasks = {circuit.task for circuit in circuits}
    for part in parts:
        said = part.text("fed")
        size = _SIZE.search(said)
        if size is not None:
            yield from _check_circuit(said, size, name, part.task, circuits)
        elif "It is in no circuit" in said:
            if any(name in e[:2] for c in circuits if c.task == part.task for e in c.edges):
                yield f"is in a circuit of {part.task}: {said}"
        elif "No circuit" in said and part.task in tasks:
            yield f"a circuit of {part.task} was searched for: {said}"
        one = _attribution(part, name, profiles)
        if "In the first text" in said:
            if one is None:
                yield f"no sources on {part.task} are stored: {said}"
            else:
                yield from _check_text(said, one)
        yield from _check_readers(part, name, profiles)


def _check_circuit(
    said: str,
    size: re.Match[str],
    name: str,
    task: str | None,
    circuits: Sequence[StoredCircuit],
) -> Iterator[str]:
    """Some stored circuit of the task and size has exactly the edges that are said or counted."""
    if size[2]:
        return
    fits = [
        circuit
        for circuit in circuits
        if circuit.task == task
        and (
            circuit.threshold == float(size[1])
            if size[1]
            else len(circuit.edges) == int(size[3].replace(",", ""))
        )
    ]
    wrong = [list(_compare(said[size.end() :], name, circuit.edges)) for circuit in fits]
    if not wrong:
        yield f"no circuit of {task} is stored: {said}"
    elif all(wrong):
        yield f"{said!r}: {min(wrong, key=len)[0]}"


def _compare(said: str, name: str, edges: Mapping[Edge, float | None]) -> Iterator[str]:
    before, _, after = said.partition(". ")
    into: dict[str, list[Edge]] = {}
    for edge in edges:
        if edge[1] == name:
            into.setdefault(edge[2], []).append(edge)
    for what, slot in _SLOTS.items():
        group = re.search(rf"its {what} (?:are fed )?by (.*?)(?:; |$)", before)
        missing = re.search(rf"nothing in it feeds its [\w, ]*{what}", before)
        if (group is not None) != (slot in into) or (missing is not None) == (slot in into):
            yield f"edges into its {what}: {into.get(slot)}"
        elif group is not None:
            yield from _compare_ends(group[1], into[slot], 0, edges)
    out = [edge for edge in edges if edge[0] == name]
    if after.startswith("Nothing in it reads it") != (not out):
        yield f"it feeds {out}"
    elif out:
        yield from _compare_ends(after.removeprefix("It feeds "), out, 1, edges)


def _compare_ends(
    said: str, stored: Sequence[Edge], end: int, edges: Mapping[Edge, float | None]
) -> Iterator[str]:
    """The edges named are those of the largest scores, with these; the others are counted."""
    named = []
    for one in re.split(r", | and (?=the|a\d|m\d|r\d|\d+ more)", said.rstrip(".")):
        node = _SAID.match(one)
        if node is None:
            continue
        other = node[2].removeprefix("the ")
        slot = _SLOTS.get(node[1] or "", "")
        fits = [e for e in stored if e[end] == other and (end == 0 or e[2] == slot)]
        if not fits:
            yield f"no edge {one}"
            continue
        named.append(fits[0])
        number, score = _NUMBER.search(one), edges[fits[0]]
        if number is None and score is not None:
            yield f"{one} has no number, the score is {score}"
        elif number is not None and score is not None:
            value = 0.0 if number[2].startswith("≈") else read_number(number[2])
            value = -value if number[1] == "gains" else value
            if abs(value - score) > 5.1e-3 * abs(score) + 1e-4:
                yield f"{one}, the score is {score}"
    more = re.search(r"(\d+) more", said)
    if len(named) + int(more[1] if more else 0) != len(stored):
        yield f"{len(stored)} edges, {said!r} names {len(named)}"
    left = [abs(edges[e] or 0.0) for e in stored if e not in named]
    if left and named and max(left) > min(abs(edges[e] or 0.0) for e in named):
        yield f"a stronger edge is left out of {said!r}"


def _attribution(
    part: Part, name: str, profiles: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """The attribution that the part shows: the first of the profiles on its task."""
    for profile in profiles:
        for one in profile.get("attribution", {}).get("heads", {}).get(name, ()):
            if (one["metric"].partition(":")[2] or None) == part.task:
                return dict(one)
    return None


def _check_text(said: str, one: Mapping[str, Any]) -> Iterator[str]:
    for what, stored in _ATTRIBUTED.items():
        found = re.search(rf"its {what} (?:are fed most )?by (.*?) \((\S+(?:\s%)?)\)", said)
        parts = [part for part in one[stored] if part[0] != "rest"]
        if (found is not None) != bool(parts):
            yield f"sources of its {what} are {parts}: {said}"
        elif found is not None:
            largest = max(parts, key=lambda part: abs(part[1]))
            values = dict(map(tuple, parts))
            source = _NAMES.get(found[1], found[1])
            if abs(values.get(source, 0.0)) < abs(largest[1]):
                yield f"its {what} are fed most by {largest[0]}: {said}"
            elif differs(read_number(found[2]), values[source]):
                yield f"{found[0]!r} is {values[source]}"


def _check_readers(part: Part, name: str, profiles: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Every later head that it is said to feed has it as a source, with this value."""
    row = re.search(r"<dt>It feeds<dd>(.*?)</div>", part.content, re.S)
    for other, slot, value in re.findall(
        r">(a\d+\.h\d+)</a><i class=(\w)>\w</i> (.*?)</span>", "" if row is None else row[1]
    ):
        one = _attribution(part, other, profiles)
        stored = {"q": "by_query", "k": "by_key", "v": "by_value"}[slot]
        found = {} if one is None else dict(map(tuple, one[stored]))
        if name not in found or differs(read_number(value), found[name]):
            yield f"feeds {other} by {value}, stored is {found.get(name)}"
