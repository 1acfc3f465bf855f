"""What a profile run keeps beside its scores: roles, nulls, tokens, attention, snippets."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from acdc_pipeline.errors import AcdcError, DamagedRun
from acdc_pipeline.heads.near_misses import NearMiss
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.json_text import read_json
from acdc_pipeline.specs.head_scores import ROLES

VERSION = 1
"""The form of the document that is read here."""

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, AcdcError)


@dataclass(frozen=True)
class Direction:
    """One singular direction of a head's OV or QK circuit.

    Args:
        circuit: `ov` or `qk`.
        share: singular value as a share of the Frobenius norm.
        source, target: tokens at its ends.
    """

    circuit: str
    share: float
    source: tuple[str, ...]
    target: tuple[str, ...]


@dataclass(frozen=True)
class Pattern:
    """Attention of a head on one prompt.

    Args:
        task: whose prompt.
        side: `clean` or `corrupted`.
        tokens: of the prompt.
        weights: a row a query, a column a key; 255 is all attention.
    """

    task: str
    side: str
    tokens: tuple[str, ...]
    weights: UInt8[np.ndarray, "pos pos"]


@dataclass(frozen=True)
class Snippet:
    """A text in which a head writes much.

    Args:
        source: what the text is from: a task, or `text`.
        tokens: the text.
        query: the position at which the head writes.
        key: the position that it looks at most there.
        weight: its attention to that position.
    """

    source: str
    tokens: tuple[str, ...]
    query: int
    key: int
    weight: float


@dataclass(frozen=True)
class Profile:
    """One profile run of a model on a task.

    Args:
        task: the task.
        roles: every role of every head.
        nulls: for each metric the value that chance does not exceed: the highest of its nulls.
        near_misses: of heads without a role, the scores that come near one.
        warnings: what keeps scores from telling heads apart.
        document: tokens, attention and snippets by head. Empty in a summary: a collection of
            models has far more of them than are looked at at a time.
    """

    task: str
    roles: tuple[HeadRole, ...]
    nulls: Mapping[str, float]
    near_misses: tuple[NearMiss, ...]
    warnings: tuple[str, ...]
    document: Mapping[str, Any]

    def directions(self, node: str) -> list[Direction]:
        """The strongest directions of a head's circuits."""
        return _directions(self.document["top_tokens"].get(node, {}))

    def patterns(self, node: str) -> list[Pattern]:
        """The attention of a head on the prompts that were kept; empty for most heads."""
        return _patterns(self.task, self.document["attention"], node)

    def snippets(self, node: str) -> list[Snippet]:
        """The texts in which a head writes most, most first."""
        return _snippets(self.document["snippets"], node)


def profile_from(data: bytes) -> Profile:
    """The profile in a file; roles that this version does not define are left out.

    Raises DamagedRun if it is none. `checked` says whether pages can show all of it.
    """
    try:
        document = read_json(data)
        if document["version"] != VERSION:
            raise DamagedRun(
                f"written in form {document['version']!r}", field="profile", allowed=str(VERSION)
            )
        roles = [HeadRole.from_plain(role) for role in document["roles"]]
        # profiles of before there were near misses have none
        near = [NearMiss.from_plain(miss) for miss in document.get("near_misses", ())]
        profile = Profile(
            task=str(document["task"]),
            roles=tuple(r for r in roles if r.role in ROLES and r.node.kind == "head"),
            nulls={
                str(metric): max(float(null["high"]) for null in nulls)
                for metric, nulls in document["nulls"].items()
                if nulls
            },
            near_misses=tuple(m for m in near if m.role in ROLES and m.node.kind == "head"),
            warnings=tuple(map(str, document.get("warnings", ()))),
            document=document,
        )
    except DamagedRun:
        raise
    except _MALFORMED as error:
        raise DamagedRun(f"not a profile: {error!r}", field="profile") from error
    return profile


def checked(profile: Profile) -> Profile:
    """`profile`, every example of which was read once, so that no page fails over it later.

    Raises:
        DamagedRun: one is none.
    """
    document = profile.document
    try:
        for found in document["top_tokens"].values():
            _directions(found)
        for node in document["attention"]["patterns"]:
            _patterns(profile.task, document["attention"], node)
        for node in document["snippets"]["heads"]:
            _snippets(document["snippets"], node)
    except _MALFORMED as error:
        raise DamagedRun(f"not a profile: {error!r}", field="profile") from error
    return profile


def merged_nulls(profiles: Iterable[Profile]) -> dict[str, float]:
    """The nulls of several profiles; where both have one, the first counts."""
    found: dict[str, float] = {}
    for profile in profiles:
        found = {**profile.nulls, **found}
    return found


def _directions(found: Mapping[str, Any]) -> list[Direction]:
    return [
        Direction(
            circuit,
            float(direction["share"]),
            tuple(map(str, direction["source"])),
            tuple(map(str, direction["target"])),
        )
        for circuit in ("ov", "qk")
        for direction in found.get(circuit, ())
    ]


def _patterns(task: str, attention: Mapping[str, Any], node: str) -> list[Pattern]:
    kept = attention["patterns"].get(node)
    if kept is None:
        return []
    return [
        Pattern(task, str(text["side"]), tokens, _square(encoded, len(tokens)))
        for text, encoded in zip(attention["texts"], kept, strict=True)
        for tokens in (tuple(map(str, text["tokens"])),)
    ]


def _snippets(found: Mapping[str, Any], node: str) -> list[Snippet]:
    return [_snippet(found["texts"][one["text"]], one) for one in found["heads"].get(node, ())]


def _snippet(text: Mapping[str, Any], one: Mapping[str, Any]) -> Snippet:
    """Where bidirectional attention looks may lie behind the query; outside the text it may not."""
    tokens = tuple(map(str, text["tokens"]))
    query, key = int(one["query"]), int(one["key"])
    if not (0 <= query < len(tokens) and 0 <= key < len(tokens)):
        raise ValueError(f"positions {query} and {key} in a text of {len(tokens)} tokens")
    return Snippet(str(text["from"]), tokens, query, key, float(one["weight"]))


def _square(encoded: str, size: int) -> UInt8[np.ndarray, "pos pos"]:
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    if len(data) != size * size:
        raise ValueError(f"{len(data)} weights between {size} tokens")
    return np.frombuffer(data, np.uint8).reshape(size, size)
