"""What a build read of the runs, kept in the folder of the site so that the next reads only new
ones.

One file: a line that names its form, the digest of all that follows, the length of a compressed
JSON document, the document, and the grids of scores that it points to as 32-bit numbers. What is
cut, altered, of another form or of another version of the program counts as nothing, and the runs
are read again. It holds no code, and its texts are escaped on pages like those of any run.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acdc_pipeline.graph import Node, Topology
from acdc_pipeline.heads.near_misses import NearMiss
from acdc_pipeline.heads.roles import HeadRole
from acdc_pipeline.json_text import read_json
from acdc_pipeline.specs import RunSpec
from acdc_pipeline.wiki.output import digest_of
from acdc_pipeline.wiki.profile import Profile
from acdc_pipeline.wiki.runs import MALFORMED, KeptEdge, Known, Run
from acdc_pipeline.wiki.scores import Score

NAME = ".acdc-wiki.cache"

_FORM = b"acdc-pipeline/wiki-cache 2\n"
_DIGEST = 32
_LENGTH = 8
_LARGEST = 1 << 30
"""Bytes of JSON: 100,000 runs."""


def read_cache(folder: Path, program: str) -> dict[str, Known]:
    """The runs that an earlier build of `folder` read, by id; none where that is not certain.

    Args:
        folder: of the site.
        program: digest of the program: another one may read runs in another way.
    """
    try:
        data = (folder / NAME).read_bytes()
        start = len(_FORM) + _DIGEST
        if data[: len(_FORM)] != _FORM or data[len(_FORM) : start] != _seal(data[start:]):
            return {}
        end = start + _LENGTH + int.from_bytes(data[start : start + _LENGTH], "little")
        document = read_json(_unpacked(data[start + _LENGTH : end]))
        if document["program"] != program:
            return {}
        return _decoded(document, np.frombuffer(data, "<f4", offset=end))
    except MALFORMED:
        return {}


def write_cache(folder: Path, program: str, known: Mapping[str, Known]) -> None:
    """Keeps `known` for the next build; readers see the old file or the new one."""
    grids = _Grids()
    runs = [_plain(item, grids) for _, item in sorted(known.items())]
    document = {"program": program, "sizes": grids.sizes, "runs": runs}
    packed = zlib.compress(json.dumps(document, separators=(",", ":")).encode("ascii"), 1)
    body = len(packed).to_bytes(_LENGTH, "little") + packed + b"".join(grids.parts)
    beside = folder / f"{NAME}.new"
    beside.write_bytes(_FORM + _seal(body) + body)
    os.replace(beside, folder / NAME)  # noqa: PTH105  (as in `files`)


def _unpacked(packed: bytes) -> bytes:
    """Raises ValueError for what would not fit into memory, however small it is packed."""
    stream = zlib.decompressobj()
    text = stream.decompress(packed, _LARGEST)
    if not stream.eof:
        raise ValueError("longer than any build writes")
    return text


def _seal(body: bytes) -> bytes:
    return digest_of(body).encode("ascii")


class _Grids:
    """Grids of numbers behind one another, each once: profiles on several tasks share many."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.sizes: list[tuple[int, int]] = []
        self._places: dict[tuple[tuple[int, ...], bytes], int] = {}

    def place(self, grid: np.ndarray) -> int:
        """Where `grid` stands among all."""
        data = grid.astype("<f4").tobytes()
        found = self._places.setdefault((grid.shape, data), len(self.parts))
        if found == len(self.parts):
            self.parts.append(data)
            self.sizes.append((grid.shape[0], grid.shape[1]))
        return found


def _plain(item: Known, grids: _Grids) -> dict[str, Any]:
    run, profile = item.run, item.run.profile
    return {
        "files": item.files,
        "id": run.run_id,
        "digest": run.digest,
        "measured": run.measured,
        "spec": run.spec.plain(),
        "shape": None if run.shape is None else _shape(run.shape),
        "edges": None
        if run.edges is None
        else [(edge.src, edge.dst, edge.slot, edge.score) for edge in run.edges],
        "edges_total": run.edges_total,
        "metrics": run.metrics,
        "details": run.details,
        "code_version": run.code_version,
        "scores": [
            (s.metric, grids.place(s.values), grids.place(s.low), grids.place(s.high), s.n, s.seed)
            for s in run.scores.values()
        ],
        "profile": None
        if profile is None
        else [
            profile.task,
            [_role(role) for role in profile.roles],
            profile.nulls,
            [miss.plain() for miss in profile.near_misses],
            profile.warnings,
        ],
    }


def _decoded(document: Mapping[str, Any], numbers: np.ndarray) -> dict[str, Known]:
    grids: list[np.ndarray] = []
    start = 0
    for layers, heads in document["sizes"]:
        end = start + layers * heads
        grids.append(numbers[start:end].reshape(layers, heads).astype(np.float64))
        start = end
    nodes: dict[str, Node] = {}
    found = (_known(plain, grids, nodes) for plain in document["runs"])
    return {known.run.run_id: known for known in found}


def _known(plain: Mapping[str, Any], grids: Sequence[np.ndarray], nodes: dict[str, Node]) -> Known:
    run = Run(
        run_id=plain["id"],
        digest=plain["digest"],
        measured=plain["measured"],
        spec=RunSpec.from_plain(plain["spec"]),
        shape=None if plain["shape"] is None else Topology(*plain["shape"]),
        edges=None if plain["edges"] is None else tuple(_edge(*edge) for edge in plain["edges"]),
        edges_total=plain["edges_total"],
        metrics=plain["metrics"],
        details=plain["details"],
        code_version=plain["code_version"],
        scores={
            metric: Score(metric, grids[values], grids[low], grids[high], n, seed)
            for metric, values, low, high, n, seed in plain["scores"]
        },
        profile=None if plain["profile"] is None else _profile(plain["profile"], nodes),
    )
    return Known(plain["files"], run)


def _edge(src: str, dst: str, slot: str, score: float | None) -> KeptEdge:
    return KeptEdge(src, dst, slot, score)


def _profile(plain: Sequence[Any], nodes: dict[str, Node]) -> Profile:
    task, roles, nulls, near, warnings = plain
    # the same few heads again and again
    nodes |= {role[0]: Node.parse(role[0]) for role in roles if role[0] not in nodes}
    held = (
        HeadRole(nodes[head], role, on, tuple(evidence), *rest)
        for head, role, on, evidence, *rest in roles
    )
    misses = tuple(NearMiss.from_plain(miss) for miss in near)
    return Profile(task, tuple(held), nulls, misses, tuple(warnings), {})


def _role(held: HeadRole) -> tuple[Any, ...]:
    rest = (held.metric, held.value, held.rank, held.of, held.below_line)
    return str(held.node), held.role, held.on, held.evidence, *rest


def _shape(shape: Topology) -> tuple[Any, ...]:
    return shape.n_layers, shape.n_heads, shape.has_mlp, shape.parallel
