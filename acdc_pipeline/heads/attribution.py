r"""Why a head attends to a key, and what it writes for that: exact sums over sources.

A query and a key are each a sum over what wrote the stream (`frozen_slots`), so that an attention
score is a sum over pairs of a source of the query and one of the key (QK attributions, Kamath et
al. 2025, "Tracing Attention Computation Through Feature Interactions"; with features in place of
nodes there). Softmax does not change when the same is added to all scores of a query. What is
decomposed is therefore a contrast, the score of one key above the mean of the n - 1 other keys
that the query sees:

    C = s(q, k*) - mean over k != k* of s(q, k) = mean over k != k* of ln A[q, k*] / A[q, k]

the second form where scores have no soft cap; with one, C is that of scores before it. The mean
is uniform: weighted by attention it would compare a head that rests on the first token with that
token alone.

Sources are the token embedding, the position embedding, every earlier head, mixer and MLP, and
`bias`: the biases of attention outputs, of norms and of the slot. Where keys are rotated, a source
of the key counts with its difference from its mean over the keys seen, and what the mean of all
keys gives at each distance is `distance`, as is ALiBi.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine.attention import visible_keys
from acdc_pipeline.graph import Node, Slot
from acdc_pipeline.heads.frozen_slots import FrozenLayer, FrozenSlot
from acdc_pipeline.heads.layer_run import LayerRun
from acdc_pipeline.heads.row_sources import RowSources
from acdc_pipeline.heads.source_names import BIAS, DISTANCE, REST
from acdc_pipeline.models.weights import Attention, TransformerWeights

LEAST_SHARE = 0.5
"""A key of a `Question` is explained if it has at least this share of the most attention."""

MOST_QUERY_SOURCES, MOST_KEY_SOURCES = 5, 7
"""The number of sources named in a table of pairs."""


@dataclass(frozen=True)
class Question:
    """Why `node` attends from position `query` of a row.

    Args:
        keys: the most attended of these is explained; the most attended of all where it has less
            than `LEAST_SHARE` of that one's attention, or where none are given.
    """

    node: Node
    row: int
    query: int
    keys: tuple[int, ...] = ()


@dataclass(frozen=True)
class Attribution:
    """The attention of a head to a key, and its output, as sums over sources.

    Args:
        weight: the attention.
        contrast: the score of the key above the mean of the other keys.
        by_query, by_key: contributions to the contrast, which is the sum of either.
        pairs: contributions of pairs: the sources of the query `rows` by those of the key
            `columns`, the last of either `REST`.
        by_value: the share of the output, along itself, that each source of the values writes;
            sums to 1. Empty if the head writes nothing.
        by_token: the same by the position that is read.
        output: what the head writes at the query.
    """

    question: Question
    key: int
    weight: float
    contrast: float
    by_query: Mapping[str, float]
    by_key: Mapping[str, float]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    pairs: Float[Tensor, "row column"]
    by_value: Mapping[str, float]
    by_token: Float[Tensor, " pos"]
    output: Float[Tensor, " d_model"]


def find_obstacle(attn: Attention) -> str | None:
    """Why attention scores of these heads are no sum over sources; None if they are."""
    if attn.clip is not None:
        return "projections are clipped"
    return None if attn.difference is None else "a head has two queries and two keys"


def attribute(
    weights: TransformerWeights,
    tokens: Int[Tensor, "row pos"],
    questions: Iterable[Question],
    visit: Callable[[list[Attribution], Float[Tensor, "pos d_model"]], None],
) -> None:
    """Answer `questions`; `visit` gets those of each row, and its final residual stream.

    Left out are queries that see one key only, and heads with an obstacle.
    """
    by_row: dict[int, list[Question]] = {}
    for question in questions:
        by_row.setdefault(question.row, []).append(question)
    for row, asked in sorted(by_row.items()):
        width = tokens.shape[1]
        if not weights.bidirectional:
            width = max(question.query for question in asked) + 1
        readers: list[_Reader] = []

        def read(
            run: LayerRun, asked: list[Question] = asked, readers: list[_Reader] = readers
        ) -> None:
            here = [question for question in asked if question.node.layer == run.layer]
            if here and find_obstacle(run.block.attention) is None:
                readers += _readers(run, here)

        with torch.no_grad():
            sources = RowSources(weights, tokens[row, :width], read)
            found = _attributions(sources, readers)
        visit(found, sources.final)


@dataclass
class _Reader:
    """A head that reads a row, with the gradients of what is decomposed by the stream it reads.

    Args:
        seen: the keys that the query sees.
        coefficients: of the score of each key in the contrast.
        biases: what ALiBi adds to the contrast.
        query, key: the query, and the coefficients' sum over keys after rotation, times the scale:
            their product is the contrast without ALiBi.
        distance: the part of `key` that the mean key gives.
        by_token: as in `Attribution`.
        gradients: by slot, of its contributions by the stream.
        reading: the gradient of the output's length, in units of itself, by what is carried.
    """

    question: Question
    weights: Float[Tensor, " pos"]
    seen: Bool[Tensor, " pos"]
    coefficients: Float[Tensor, " pos"]
    scale: float
    biases: float
    slots: Mapping[Slot, FrozenSlot]
    reading: Float[Tensor, " d_v"]
    output: Float[Tensor, " d_model"]
    query: Tensor = field(init=False)
    key: Tensor = field(init=False)
    distance: Tensor = field(init=False)
    by_token: Tensor = field(init=False)
    gradients: dict[Slot, Tensor] = field(init=False)

    def read(self, stream: Float[Tensor, "pos d_model"]) -> None:
        """Compute what depends on the whole stream."""
        at = torch.arange(len(stream), device=stream.device)
        here = slice(self.question.query, self.question.query + 1)
        keys = self.slots["k"].project(stream[None], at, constant=True)
        mean = keys[:, self.seen].mean(dim=1, keepdim=True).expand_as(keys)
        self.query = self.query_of(stream[None, here], constant=True)[0]
        self.distance = self._contrast(mean)[0]
        self.key = self.key_of(stream[None], constant=True)[0] + self.distance
        of: dict[Slot, tuple[Tensor, Callable[[Tensor], Tensor]]] = {
            "q": (stream[None, here], lambda x: self.query_of(x) @ self.key),
            "k": (stream[None], lambda x: self.key_of(x) @ self.query),
            "v": (stream[None], lambda x: self.value_of(x).sum(-1)),
        }
        self.gradients = {slot: _gradient(f, x)[0] for slot, (x, f) in of.items()}
        self.by_token = self.value_of(stream[None], constant=True)[0]

    def query_of(
        self, x: Float[Tensor, "n 1 d_model"], *, constant: bool = False
    ) -> Float[Tensor, "n d_qk"]:
        """The query that parts `x` of the stream at its position make."""
        slot = self.slots["q"]
        at = torch.tensor([self.question.query], device=x.device)
        projected = slot.project(x, at, constant=constant)
        return slot.rotate(projected, at, constant=constant)[:, 0]

    def key_of(
        self, x: Float[Tensor, "n pos d_model"], *, constant: bool = False
    ) -> Float[Tensor, "n d_qk"]:
        """The contrast of the keys that parts `x` of the stream make, without their means."""
        at = torch.arange(x.shape[1], device=x.device)
        keys = self.slots["k"].project(x, at, constant=constant)
        return self._contrast(keys - keys[:, self.seen].mean(dim=1, keepdim=True))

    def value_of(
        self, x: Float[Tensor, "n pos d_model"], *, constant: bool = False
    ) -> Float[Tensor, "n pos"]:
        """The share of the output that parts `x` of the stream at each position write."""
        at = torch.arange(x.shape[1], device=x.device)
        return self.slots["v"].project(x, at, constant=constant) @ self.reading * self.weights

    def _contrast(self, keys: Float[Tensor, "n pos d_qk"]) -> Float[Tensor, "n d_qk"]:
        # The bias of a norm after rotation is the same for all keys, and the coefficients sum to 0.
        at = torch.arange(keys.shape[1], device=keys.device)
        return self.scale * (self.coefficients @ self.slots["k"].rotate(keys, at))


def _gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The gradient of a linear function, which does not depend on the values of `x`."""
    with torch.enable_grad():
        start = torch.zeros_like(x).requires_grad_()
        (found,) = torch.autograd.grad(function(start).sum(), start)
    return found


def _readers(run: LayerRun, questions: Sequence[Question]) -> list[_Reader]:
    """The heads of a layer that `questions` ask about; without those that see one key only."""
    attn, stream = run.block.attention, run.stream[0]
    pos = len(stream)
    frozen = FrozenLayer(run.block, stream, ("q", "k", "v"))
    allowed = visible_keys(attn, pos, stream.device)
    readers = []
    for question in questions:
        index, query = question.node.head, question.query
        assert index is not None
        seen, weights = allowed[query], run.pattern[index, 0, query]
        count = int(seen.sum())
        if count < 2:
            continue
        key = int(weights.argmax())
        if among := [key for key in question.keys if seen[key]]:
            asked = max(among, key=lambda key: float(weights[key]))
            key = asked if weights[asked] >= LEAST_SHARE * weights[key] else key
        coefficients = seen.to(stream.dtype) / (1 - count)
        coefficients[key] = 1.0
        at = torch.tensor([query], device=stream.device)
        output = run.into_stream(run.carried[:, :, query : query + 1], at)[index, 0, 0]
        length = output.square().sum()
        along = output / length if length > 0 else torch.zeros_like(output)
        places = torch.zeros_like(at), at
        reading = run.reading(along[None], places)[index, 0]
        reader = _Reader(
            question=question,
            weights=weights,
            seen=seen,
            coefficients=coefficients,
            scale=attn.scale,
            biases=0.0 if attn.alibi is None else float(attn.alibi[index, :pos] @ coefficients),
            slots={slot: frozen.slot(slot, index) for slot in ("q", "k", "v")},
            reading=reading if run.gate is None else reading * run.gate[index, 0, query],
            output=output,
        )
        reader.read(stream)
        readers.append(reader)
    return readers


def _attributions(sources: RowSources, readers: Sequence[_Reader]) -> list[Attribution]:
    """Add up contributions over all sources, then the pairs of the largest."""
    if not readers:
        return []
    stop = max(reader.question.node.layer or 0 for reader in readers)
    by_slot: dict[Slot, list[dict[str, float]]] = {
        slot: [{} for _ in readers] for slot in ("q", "k", "v")
    }
    queries = torch.tensor([reader.question.query for reader in readers])
    stacked = {
        slot: torch.stack([reader.gradients[slot] for reader in readers]).flatten(1)
        for slot in by_slot
    }
    layers = torch.tensor([reader.question.node.layer for reader in readers])
    for written in sources.each(stop):
        out = written.outputs
        at_queries = out[:, queries.to(out.device)]
        found: dict[Slot, Tensor] = {
            "q": torch.einsum("rd,nrd->rn", stacked["q"], at_queries),
            "k": stacked["k"] @ out.flatten(1).T,
            "v": stacked["v"] @ out.flatten(1).T,
        }
        for slot, values in found.items():
            for index, row in enumerate(values.tolist()):
                if layers[index] >= written.layer:
                    total = by_slot[slot][index]
                    for name, value in zip(written.sources, row, strict=True):
                        total[name] = total.get(name, 0.0) + value
    for index, reader in enumerate(readers):
        _add_constants(reader, *(by_slot[slot][index] for slot in ("q", "k", "v")))
    rows = [_largest(found, MOST_QUERY_SOURCES) for found in by_slot["q"]]
    columns = [_largest(found, MOST_KEY_SOURCES) for found in by_slot["k"]]
    tables = _pairs(sources, readers, rows, columns, stop)
    return [
        Attribution(
            question=reader.question,
            key=int(reader.coefficients.argmax()),
            weight=float(reader.weights[reader.coefficients.argmax()]),
            contrast=float(reader.query @ reader.key) + reader.biases,
            by_query=by_slot["q"][index],
            by_key=by_slot["k"][index],
            rows=(*rows[index], REST),
            columns=(*columns[index], REST),
            pairs=tables[index],
            by_value=by_slot["v"][index] if bool(reader.output.any()) else {},
            by_token=reader.by_token,
            output=reader.output,
        )
        for index, reader in enumerate(readers)
    ]


def _largest(found: Mapping[str, float], most: int) -> list[str]:
    return sorted(found, key=lambda name: -abs(found[name]))[:most]


def _add_constants(
    reader: _Reader, query: dict[str, float], key: dict[str, float], value: dict[str, float]
) -> None:
    """Add what no source of the stream contributes."""
    nothing = torch.zeros_like(reader.gradients["k"])[None]
    constants = (
        (query, float(reader.query_of(nothing[:, :1], constant=True)[0] @ reader.key)),
        (key, float(reader.key_of(nothing, constant=True)[0] @ reader.query)),
        (value, float(reader.value_of(nothing, constant=True).sum())),
    )
    for found, constant in constants:
        if constant or BIAS in found:
            found[BIAS] = found.get(BIAS, 0.0) + constant
    if reader.biases:
        query[DISTANCE] = reader.biases
    if reader.biases or reader.slots["k"].rotary is not None:
        key[DISTANCE] = float(reader.distance @ reader.query) + reader.biases


def _pairs(
    sources: RowSources,
    readers: Sequence[_Reader],
    rows: Sequence[Sequence[str]],
    columns: Sequence[Sequence[str]],
    stop: int,
) -> list[Float[Tensor, "row column"]]:
    """The contributions of pairs of the sources named, and of `REST` on both sides."""
    queries = [_start(r.query, names) for r, names in zip(readers, rows, strict=True)]
    keys = [_start(r.key, names) for r, names in zip(readers, columns, strict=True)]
    for written in sources.each(stop):
        number = {name: i for i, name in enumerate(written.sources)}
        for reader, q, k in zip(readers, queries, keys, strict=True):
            if (reader.question.node.layer or 0) < written.layer:
                continue
            if found := [name for name in written.sources if name in q]:
                here = slice(reader.question.query, reader.question.query + 1)
                out = written.outputs[[number[name] for name in found], here]
                _add(q, found, reader.query_of(out))
            if found := [name for name in written.sources if name in k]:
                _add(k, found, reader.key_of(written.outputs[[number[n] for n in found]]))
    tables = []
    for reader, q, k in zip(readers, queries, keys, strict=True):
        nothing = torch.zeros_like(reader.gradients["k"])[None]
        if BIAS in q:
            _add(q, [BIAS], reader.query_of(nothing[:, :1], constant=True))
        if BIAS in k:
            _add(k, [BIAS], reader.key_of(nothing, constant=True))
        if DISTANCE in k:
            k[DISTANCE] = reader.distance
        sides = []
        for named, total in ((q, reader.query), (k, reader.key)):
            stacked = torch.stack(list(named.values()))
            sides.append(torch.cat((stacked, (total - stacked.sum(0))[None])))
        table = sides[0] @ sides[1].T
        at = [list(side).index(DISTANCE) if DISTANCE in side else -1 for side in (q, k)]
        table[at[0], at[1]] += reader.biases
        tables.append(table)
    return tables


def _start(like: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    return {name: torch.zeros_like(like) for name in names}


def _add(sums: dict[str, Tensor], names: Sequence[str], parts: Float[Tensor, "n d"]) -> None:
    for name, part in zip(names, parts, strict=True):
        sums[name] = sums[name] + part
