"""What heads do on ordinary text, as a run stores it. `docs/head-scores.md` has the definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acdc_pipeline.errors import AcdcError, DamagedRun
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.specs.methods.text import DECILES, KEY_KINDS

VERSION = 1
"""Version of the document format."""

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, AcdcError)

Shares = Mapping[str, float]
"""By kind of key."""


@dataclass(frozen=True)
class TextContext:
    """A context: its tokens, and the text that they are from."""

    source: str
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class TextExample:
    """A query in a context, with the keys that get most of its attention and the share of each."""

    context: TextContext
    query: int
    keys: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class TextComponent:
    """A principal component of what a head writes.

    Args:
        share: of the variance.
        raises, lowers: the tokens whose logits it raises and lowers most.
        high, low: texts at both ends.
    """

    share: float
    raises: tuple[str, ...]
    lowers: tuple[str, ...]
    high: tuple[TextExample, ...]
    low: tuple[TextExample, ...]


@dataclass(frozen=True)
class HeadOnText:
    """What one head does.

    Args:
        attention: shares of its attention by kind of key; they sum to 1.
        interval: 95 % intervals of them over contexts.
        output: shares of its output by the kind of key that it comes from, which sum to 1 and may
            be negative; None for a head that writes nothing.
        activation: mean of the norm of its output as a share of that of the stream.
        edges: smallest activation, the nine deciles, the largest.
        deciles: examples of each decile, the smallest activations first.
        spectrum: share of the variance of each component.
    """

    attention: Shares
    interval: Mapping[str, tuple[float, float]]
    output: Shares | None
    activation: float
    edges: tuple[float, ...]
    deciles: tuple[tuple[TextExample, ...], ...]
    largest: tuple[TextExample, ...]
    spectrum: tuple[float, ...]
    components: tuple[TextComponent, ...]


@dataclass(frozen=True)
class TextProfile:
    """What the heads of a model do on a text.

    Args:
        title: names of the files.
        tokens: number of tokens that count.
        first: the first token of each context, for readers.
        having: by kind of key, the share of the queries that have one.
        uniform: what a head gives each kind that looks everywhere alike.
    """

    title: str
    tokens: int
    contexts: tuple[TextContext, ...]
    first: str
    width: int
    having: Shares
    uniform: Shares
    document: Mapping[str, Any]

    def head(self, name: str) -> HeadOnText | None:
        """Return what a head does; None for a head that the run does not have."""
        stored = self.document["heads"].get(name)
        if stored is None:
            return None
        edges = tuple(map(float, stored["edges"]))
        deciles = tuple(map(self._examples, stored["deciles"]))
        if len(edges) != DECILES + 1 or len(deciles) != DECILES:
            raise ValueError(f"{len(deciles)} deciles with {len(edges)} edges")
        lows, highs = map(_by_kind, stored["interval"])
        return HeadOnText(
            _by_kind(stored["attention"]),
            {kind: (lows[kind], highs[kind]) for kind in KEY_KINDS},
            None if stored["output"] is None else _by_kind(stored["output"]),
            float(stored["activation"]),
            edges,
            deciles,
            self._examples(stored["largest"]),
            tuple(map(float, stored["spectrum"])),
            tuple(self._component(one) for one in stored["components"]),
        )

    def _component(self, plain: Mapping[str, Any]) -> TextComponent:
        return TextComponent(
            float(plain["share"]),
            tuple(map(str, plain["raises"])),
            tuple(map(str, plain["lowers"])),
            self._examples(plain["high"]),
            self._examples(plain["low"]),
        )

    def _examples(self, plain: Sequence[Any]) -> tuple[TextExample, ...]:
        return tuple(self._example(*one) for one in plain)

    def _example(self, row: int, query: int, keys: Sequence[Any]) -> TextExample:
        context = self.contexts[_inside(row, len(self.contexts))]
        size = len(context.tokens)
        found = tuple((_inside(key, size), int(weight) / 255) for key, weight in keys)
        return TextExample(context, _inside(query, size), found)


def parse_text_profile(data: bytes, title: str) -> TextProfile:
    """Parse the document of a run. Raises DamagedRun."""
    try:
        document = read_json(data)
        if document["version"] != VERSION or tuple(document["kinds"]) != KEY_KINDS:
            raise DamagedRun(
                f"written in form {document['version']!r}", field="text", allowed=str(VERSION)
            )
        names = [str(source["name"]) for source in document["sources"]]
        contexts = tuple(
            TextContext(names[_inside(one["source"], len(names))], tuple(map(str, one["tokens"])))
            for one in document["contexts"]
        )
        bos = document["bos"]
        return TextProfile(
            title,
            int(document["tokens"]),
            contexts,
            "the first token" if bos is None else str(bos),
            int(document["width"]),
            _by_kind(document["having"]),
            _by_kind(document["uniform"]),
            document,
        )
    except DamagedRun:
        raise
    except _MALFORMED as error:
        raise DamagedRun(f"no profile on text: {error!r}", field="text") from error


def check_text_profile(profile: TextProfile) -> None:
    """Parse what is stored of every head. Raises DamagedRun now, so that no page does."""
    try:
        for name in profile.document["heads"]:
            profile.head(name)
    except _MALFORMED as error:
        raise DamagedRun(f"no profile on text: {error!r}", field="text") from error


def _by_kind(values: Sequence[Any]) -> dict[str, float]:
    return {kind: float(value) for kind, value in zip(KEY_KINDS, values, strict=True)}


def _inside(value: Any, size: int) -> int:
    if not 0 <= (index := int(value)) < size:
        raise ValueError(f"index {index} of {size}")
    return index
