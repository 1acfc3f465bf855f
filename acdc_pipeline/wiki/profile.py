"""The document of a profile run: roles, nulls, singular directions, attention and snippets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import UInt8

from acdc_pipeline.errors import AcdcError, DamagedRun
from acdc_pipeline.graph import Node
from acdc_pipeline.graph.edge import SLOTS
from acdc_pipeline.heads.near_misses import NearMiss
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.wiki.attribution import Attributed, parse_attributions
from acdc_pipeline.wiki.experts import ExpertUse
from acdc_pipeline.wiki.families.sketches import Sketches
from acdc_pipeline.wiki.typical import Typical, TypicalText, decode_square, parse_typical

VERSION = 1
"""Version of the document format."""

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, AcdcError)


@dataclass(frozen=True)
class Direction:
    """A singular direction of a head's `ov` or `qk` circuit, with the top tokens of its vectors.

    `share` is the singular value as a share of the Frobenius norm.
    """

    circuit: str
    share: float
    source: tuple[str, ...]
    target: tuple[str, ...]


@dataclass(frozen=True)
class Pattern:
    """The attention pattern of a head on a prompt: rows are queries, columns keys, 255 means 1."""

    task: str
    side: str
    tokens: tuple[str, ...]
    weights: UInt8[np.ndarray, "pos pos"]


@dataclass(frozen=True)
class Snippet:
    """A text at one of whose positions the output of a head is large.

    The output is large at `query`, which attends most to `key`. `source` is a task, or `text`.
    """

    source: str
    tokens: tuple[str, ...]
    query: int
    key: int
    weight: float


@dataclass(frozen=True)
class SpanAttention:
    """Mean attention of heads between the spans of a task: rows are queries, 255 means 1.

    Args:
        prompts: number of prompts.
        weights: by head.
    """

    spans: tuple[str, ...]
    prompts: int
    weights: Mapping[str, UInt8[np.ndarray, "span span"]]

    def weight(self, head: str, query: str, key: str) -> float | None:
        """Return the mean attention from one span to another; None where it was not measured."""
        if head not in self.weights or query not in self.spans or key not in self.spans:
            return None
        return float(self.weights[head][self.spans.index(query), self.spans.index(key)]) / 255


@dataclass(frozen=True)
class Profile:
    """One profile run of a model on a task.

    Args:
        nulls: largest of the null values of each metric.
        near_misses: for heads without a role, the scores closest to giving one.
        warnings: reasons why scores do not tell heads apart.
        document: directions, patterns and snippets by head, as stored. Empty in a summary, to save
            memory.
        experts: how the task uses the experts of the model; None without a mixture.
        ioi_like: whether the task has the roles of IOI.
        heads_per_key: how many heads share a key and value head, by layer; empty where none do, and
            in older profiles.
        sketches: of the weights of heads; None in older profiles.
    """

    task: str
    roles: tuple[HeadRole, ...]
    nulls: Mapping[str, float]
    near_misses: tuple[NearMiss, ...]
    warnings: tuple[str, ...]
    document: Mapping[str, Any]
    experts: ExpertUse | None = None
    ioi_like: bool = False
    heads_per_key: tuple[int, ...] = ()
    sketches: Sketches | None = None

    @property
    def low_nulls(self) -> dict[str, float]:
        """The lowest of the 1st percentiles of each metric's nulls; empty in a summary."""
        return {
            str(metric): min(float(null["low"]) for null in nulls)
            for metric, nulls in self.document.get("nulls", {}).items()
            if nulls
        }

    @property
    def answer_logit(self) -> float | None:
        """The whole model's answer logit on the task; None where it is not stored."""
        stored = self.document.get("answer_logit", {}).get("task")
        return None if stored is None else float(stored)

    def directions(self, node: str) -> list[Direction]:
        found = self.document["top_tokens"].get(node, {})
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

    def partners(self, node: str) -> list[tuple[str, str, float]]:
        """Return slot, earlier head and composition above chance: the largest for each slot."""
        found = self.document.get("composition", {}).get("heads", {}).get(node, {})
        return [
            (slot, str(Node.parse(found[slot][0][0])), float(found[slot][0][1]))
            for slot in SLOTS
            if found.get(slot)
        ]

    def patterns(self, node: str) -> list[Pattern]:
        """Return the stored attention patterns of a head; most heads have none."""
        attention = self.document["attention"]
        encoded = attention["patterns"].get(node)
        if encoded is None:
            return []
        return [
            Pattern(self.task, str(text["side"]), tokens, decode_square(weights, len(tokens)))
            for text, weights in zip(attention["texts"], encoded, strict=True)
            for tokens in (tuple(map(str, text["tokens"])),)
        ]

    @cached_property
    def span_attention(self) -> SpanAttention | None:
        """The attention of all heads between spans; None without spans, and in older profiles."""
        plain = self.document.get("span_attention")
        if plain is None:
            return None
        spans = tuple(map(str, plain["spans"]))
        decoded = {
            str(head): decode_square(encoded, len(spans))
            for head, encoded in plain["weights"].items()
        }
        return SpanAttention(spans, int(plain["prompts"]), decoded)

    def typical(self, node: str) -> list[Typical]:
        """Return places near the mean of what a head does; none in older profiles."""
        if node not in self._typical:
            self._typical[node] = list(parse_typical(self.document, node, self._texts))
        return self._typical[node]

    def attributions(self, node: str) -> list[Attributed]:
        """Return why a head attends in the first text of each typical part; none in older ones."""
        if node not in self._attributed:
            self._attributed[node] = list(parse_attributions(self.document, node))
        return self._attributed[node]

    # several parts of the page of a head need them, and many heads have texts in common

    @cached_property
    def _typical(self) -> dict[str, list[Typical]]:
        return {}

    @cached_property
    def _texts(self) -> dict[int, TypicalText]:
        return {}

    @cached_property
    def _attributed(self) -> dict[str, list[Attributed]]:
        return {}

    def snippets(self, node: str) -> list[Snippet]:
        """Return the snippets of a head, largest output first."""
        texts, heads = self.document["snippets"]["texts"], self.document["snippets"]["heads"]
        return [_parse_snippet(texts[one["text"]], one) for one in heads.get(node, ())]


def parse_profile(data: bytes) -> Profile:
    """Parse a profile document; roles unknown to this version are left out.

    Raises:
        DamagedRun: the content is malformed. Examples of heads are checked by `check_examples`.
    """
    try:
        document = read_json(data)
        if document["version"] != VERSION:
            raise DamagedRun(
                f"written in form {document['version']!r}", field="profile", allowed=str(VERSION)
            )
        roles = [HeadRole.from_plain(role) for role in document["roles"]]
        # missing in profiles of early versions
        near = [NearMiss.from_plain(miss) for miss in document.get("near_misses", ())]
        return Profile(
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
            experts=ExpertUse.of(document["experts"]) if "experts" in document else None,
            ioi_like=bool(document.get("ioi_like", False)),
            heads_per_key=tuple(map(int, document.get("heads_per_key", ()))),
            sketches=Sketches.from_document(document["sketches"])
            if "sketches" in document
            else None,
        )
    except DamagedRun:
        raise
    except _MALFORMED as error:
        raise DamagedRun(f"not a profile: {error!r}", field="profile") from error


def check_examples(profile: Profile) -> None:
    """Parse directions, patterns, snippets and attention between spans.

    Raises DamagedRun now, so that no page does.
    """
    document = profile.document
    try:
        for node in document["top_tokens"]:
            profile.directions(node)
        for node in document.get("composition", {}).get("heads", {}):
            profile.partners(node)
        for node in document["attention"]["patterns"]:
            profile.patterns(node)
        for node in document["snippets"]["heads"]:
            profile.snippets(node)
        for node in document.get("typical", {}).get("heads", {}):
            profile.typical(node)
        for node in document.get("attribution", {}).get("heads", {}):
            profile.attributions(node)
        _ = profile.span_attention, profile.low_nulls, profile.answer_logit
    except _MALFORMED as error:
        raise DamagedRun(f"not a profile: {error!r}", field="profile") from error


def merge_nulls(profiles: Iterable[Profile]) -> dict[str, float]:
    """Merge the nulls of several profiles; the first profile with a metric counts."""
    found: dict[str, float] = {}
    for profile in profiles:
        found = {**profile.nulls, **found}
    return found


def _parse_snippet(text: Mapping[str, Any], one: Mapping[str, Any]) -> Snippet:
    # in bidirectional attention the key may come after the query
    tokens = tuple(map(str, text["tokens"]))
    query, key = int(one["query"]), int(one["key"])
    if not (0 <= query < len(tokens) and 0 <= key < len(tokens)):
        raise ValueError(f"positions {query} and {key} in a text of {len(tokens)} tokens")
    return Snippet(str(text["from"]), tokens, query, key, float(one["weight"]))
