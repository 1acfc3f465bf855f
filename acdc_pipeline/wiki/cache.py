"""The cache of run summaries, in the folder of the site: a build reads only runs that are new.

One file: a line with the format, then parts, each with the runs that were new to one build: the
digest and the length of what follows, the length of a compressed JSON document, the document, and
the grids of 32-bit numbers that it refers to, compressed byte by byte. A file that is truncated,
altered, of another format or of another version of the program is ignored. It contains no code, and
its text is escaped on pages like that of any run.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from acdc_pipeline.graph import Node, Topology
from acdc_pipeline.graph.consensus import Consensus
from acdc_pipeline.heads.near_misses import NearMiss
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.specs import RunSpec
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.wiki.experts import ExpertUse
from acdc_pipeline.wiki.families.sketches import Sketches
from acdc_pipeline.wiki.output import digest_of, write_atomically
from acdc_pipeline.wiki.profile import Profile
from acdc_pipeline.wiki.runs import MALFORMED, CachedRun, KeptEdge, Run
from acdc_pipeline.wiki.scores import Score

NAME = ".acdc-wiki.cache"

_FORMAT = b"acdc-pipeline/wiki-cache 4\n"
_DIGEST_BYTES = 32
_LENGTH_BYTES = 8
_MAX_JSON = 1 << 30
"""Bytes of JSON: 100,000 runs."""

_MOST_ADDED = 1 / 4
"""Bytes of the parts after the first, in relation to it, up to which another part is added: they
may repeat its grids."""

_PLAIN = ("digest", "measured", "edges_total", "metrics", "details", "code_version")
"""Attributes of a run that are JSON already."""

_EDGE = attrgetter("src", "dst", "slot", "score")
_EDGE_IN_SPAN = attrgetter("src", "dst", "slot", "score", "span")


def read_cache(folder: Path, program: str) -> dict[str, CachedRun]:
    """Return the cached runs by id; none if the cache is missing or of another program."""
    try:
        data = memoryview((folder / NAME).read_bytes())
        if data[: len(_FORMAT)] != _FORMAT:
            return {}
        found: dict[str, CachedRun] = {}
        start = len(_FORMAT)
        while start < len(data):
            seal, body = _part_at(data, start)
            if seal != _seal(body):
                return {}
            start += _DIGEST_BYTES + _LENGTH_BYTES + len(body)
            end = _LENGTH_BYTES + int.from_bytes(body[:_LENGTH_BYTES], "little")
            document = read_json(_decompress(body[_LENGTH_BYTES:end]))
            if document["program"] != program:
                return {}
            found |= _decode(document, _unpack(body[end:]))
        return found
    except MALFORMED:
        return {}


def write_cache(
    folder: Path,
    program: str,
    cached: Mapping[str, CachedRun],
    before: Mapping[str, CachedRun] | None = None,
) -> None:
    """Replace the cache in `folder`, or add a part to it.

    Args:
        before: what `read_cache` returned for the same folder and program; None to write all runs.
    """
    before = before or {}
    new = {
        run_id: item
        for run_id, item in cached.items()
        if run_id not in before or before[run_id].files != item.files
    }
    # where runs were written again or are gone, all are written
    if before and len(new) + len(before) == len(cached):
        written = (folder / NAME).read_bytes()
        part = _encode_part(program, new)
        first = len(_part_at(memoryview(written), len(_FORMAT))[1])
        if len(written) + len(part) - first <= _MOST_ADDED * first:
            write_atomically(folder / NAME, written + part)
            return
    write_atomically(folder / NAME, _FORMAT + _encode_part(program, cached))


def _part_at(data: memoryview, start: int) -> tuple[bytes, memoryview]:
    """Return the digest and the content of the part that begins at byte `start`."""
    middle, begin = start + _DIGEST_BYTES, start + _DIGEST_BYTES + _LENGTH_BYTES
    length = int.from_bytes(data[middle:begin], "little")
    return bytes(data[start:middle]), data[begin : begin + length]


def _encode_part(program: str, cached: Mapping[str, CachedRun]) -> bytes:
    grids = _Grids()
    runs = [_encode(item, grids) for _, item in sorted(cached.items())]
    document = {"program": program, "sizes": grids.sizes, "runs": runs}
    packed = zlib.compress(json.dumps(document, separators=(",", ":")).encode("ascii"), 1)
    body = len(packed).to_bytes(_LENGTH_BYTES, "little") + packed + _pack(grids.parts)
    return _seal(body) + len(body).to_bytes(_LENGTH_BYTES, "little") + body


def _decompress(packed: bytes | memoryview) -> bytes:
    """Decompress. Raises ValueError if the result is too large, which saves memory."""
    stream = zlib.decompressobj()
    text = stream.decompress(packed, _MAX_JSON)
    if not stream.eof:
        raise ValueError("longer than any build writes")
    return text


def _pack(parts: Sequence[bytes]) -> bytes:
    """Compress 32-bit numbers: the lowest bytes of all, the next ones, up to the highest.

    The highest ones are often the same, and compress well next to each other.
    """
    planes = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, 4).T
    return zlib.compress(planes.tobytes(), 1)


def _unpack(packed: bytes | memoryview) -> np.ndarray:
    planes = np.frombuffer(_decompress(packed), np.uint8).reshape(4, -1)
    return np.ascontiguousarray(planes.T).view("<f4").ravel()


def _seal(body: bytes | memoryview) -> bytes:
    return digest_of(body).encode("ascii")


class _Grids:
    """Grids of numbers, each stored once: profiles on several tasks have many in common."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.sizes: list[tuple[int, int]] = []
        self._indexes: dict[tuple[tuple[int, ...], bytes], int] = {}

    def add(self, grid: np.ndarray) -> int:
        data = grid.astype("<f4").tobytes()
        index = self._indexes.setdefault((grid.shape, data), len(self.parts))
        if index == len(self.parts):
            self.parts.append(data)
            self.sizes.append((grid.shape[0], grid.shape[1]))
        return index


def _encode(item: CachedRun, grids: _Grids) -> dict[str, Any]:
    run, profile = item.run, item.run.profile
    edge = _EDGE_IN_SPAN if run.shape is not None and run.shape.spans else _EDGE
    return {
        "files": item.files,
        "id": run.run_id,
        "spec": run.spec.plain(),
        "shape": None if run.shape is None else _plain_graph(run.shape),
        "edges": None if run.edges is None else list(map(edge, run.edges)),
        **{name: getattr(run, name) for name in _PLAIN},
        "scores": [
            (s.metric, grids.add(s.values), grids.add(s.low), grids.add(s.high), s.n, s.seed)
            for s in run.scores.values()
        ],
        "profile": None
        if profile is None
        else [
            profile.task,
            [_encode_role(role) for role in profile.roles],
            profile.nulls,
            [miss.plain() for miss in profile.near_misses],
            profile.warnings,
            _plain_facts(profile),
        ],
        **({} if run.consensus is None else {"consensus": run.consensus.as_dict()}),
    }


def _decode(document: Mapping[str, Any], numbers: np.ndarray) -> dict[str, CachedRun]:
    grids: list[np.ndarray] = []
    start = 0
    for layers, heads in document["sizes"]:
        end = start + layers * heads
        grids.append(numbers[start:end].reshape(layers, heads).astype(np.float64))
        start = end
    nodes: dict[str, Node] = {}
    found = (_decode_run(plain, grids, nodes) for plain in document["runs"])
    return {cached.run.run_id: cached for cached in found}


def _decode_run(
    plain: Mapping[str, Any], grids: Sequence[np.ndarray], nodes: dict[str, Node]
) -> CachedRun:
    shape, edges, profile = plain["shape"], plain["edges"], plain["profile"]
    run = Run(
        run_id=plain["id"],
        spec=RunSpec.from_plain(plain["spec"]),
        shape=None if shape is None else _graph(shape),
        edges=None if edges is None else tuple(KeptEdge(*edge) for edge in edges),
        **{name: plain[name] for name in _PLAIN},
        scores={
            metric: Score(metric, grids[values], grids[low], grids[high], n, seed)
            for metric, values, low, high, n, seed in plain["scores"]
        },
        profile=None if profile is None else _decode_profile(profile, nodes),
        consensus=Consensus.from_dict(plain["consensus"]) if "consensus" in plain else None,
    )
    return CachedRun(plain["files"], run)


def _plain_graph(graph: Topology) -> list[Any] | dict[str, Any]:
    if graph.spans:
        return graph.as_dict()
    values = list(graph.as_dict().values())
    if not graph.experts:
        return values
    return [*values[:4], list(graph.layers), list(graph.experts), list(graph.shared)]


def _graph(plain: Sequence[Any] | Mapping[str, Any]) -> Topology:
    if isinstance(plain, Mapping):
        return Topology.from_dict(plain)
    return Topology(*plain[:4], *map(tuple, plain[4:]))


def _decode_profile(plain: Sequence[Any], nodes: dict[str, Node]) -> Profile:
    task, roles, nulls, near, warnings, facts = plain
    # parsing is slow, and the same few heads occur again and again
    nodes |= {role[0]: Node.parse(role[0]) for role in roles if role[0] not in nodes}
    held = (
        HeadRole(nodes[head], role, on, tuple(evidence), *rest)
        for head, role, on, evidence, *rest in roles
    )
    misses = tuple(NearMiss.from_plain(miss) for miss in near)
    return Profile(
        task,
        tuple(held),
        nulls,
        misses,
        tuple(warnings),
        {},
        ExpertUse.of(facts["experts"]) if "experts" in facts else None,
        facts["ioi_like"],
        tuple(facts["heads_per_key"]),
        Sketches.from_plain(facts["sketches"]) if "sketches" in facts else None,
    )


def _plain_facts(profile: Profile) -> dict[str, Any]:
    """Return what else is kept of a profile: the use of experts, shared keys, sketches."""
    used, sketches = profile.experts, profile.sketches
    return {
        "ioi_like": profile.ioi_like,
        "heads_per_key": profile.heads_per_key,
        **({} if used is None else {"experts": used.plain()}),
        **({} if sketches is None else {"sketches": sketches.plain()}),
    }


def _encode_role(held: HeadRole) -> tuple[Any, ...]:
    rest = (held.metric, held.value, held.rank, held.of, held.below_line)
    return str(held.node), held.role, held.on, held.evidence, *rest
