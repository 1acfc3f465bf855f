"""Read the true edges of compiled models from their directories."""

from __future__ import annotations

import json
from typing import Any

from acdc_pipeline.errors import UnknownName
from acdc_pipeline.graph import Circuit, Edge, Node, Topology
from acdc_pipeline.models.zoo import WEIGHTS

TRUTH_FILE = "truth.json"
SPANS_FILE = "truth_spans.json"


def list_compiled() -> tuple[str, ...]:
    """Return the names of the shipped models with a circuit known by construction, sorted."""
    return tuple(sorted(path.parent.name for path in WEIGHTS.glob(f"*/{TRUTH_FILE}")))


def truth(name: str, ablation: str = "corrupted") -> frozenset[Edge]:
    """Return the edges that the answers of a compiled model need, on the prompts of its task.

    All redundant paths are included: see `alternatives` for a set per path, and `found_by_acdc`
    for the edges that ACDC can find.

    Args:
        name: name of a compiled model.
        ablation: value that a removed edge carries: corrupted, zero or mean. An edge that carries
            a position is needed under `zero` but not under `corrupted`, where its value is the
            same.

    Raises:
        UnknownName: no compiled model of that name, or no such ablation.
    """
    return frozenset(Edge.parse(entry["edge"]) for entry in _entries(name, ablation))


def truth_with_spans(name: str) -> frozenset[Edge]:
    """Return the edges that matter under `corrupted` ablation, each in one span of the task.

    They are `truth`, and edges of which the effects at different tokens cancel: removed at all
    tokens together they change nothing. On prompts where no other path stands in, each of them
    matters when it is removed in its span alone, and no other edge does in any span.

    Raises:
        UnknownName: no compiled model of that name.
    """
    return frozenset(map(Edge.parse, _read(name, SPANS_FILE)["edges"]))


def true_circuit(name: str, ablation: str = "corrupted") -> Circuit:
    """Return `truth` as a circuit in the graph of the model. Raises like `truth`."""
    return Circuit(topology(name), truth(name, ablation))


def found_by_acdc(
    name: str, ablation: str = "corrupted", order: str = "reverse-heads"
) -> frozenset[Edge]:
    """Return the edges that exact ACDC must find: the truth, with one of redundant paths only.

    The path tested first is removed without loss; the one tested last stays. The order of heads
    decides which.

    Raises:
        UnknownName: no compiled model of that name, or no such ablation or order.
    """
    orders = _read(name)["found_by_acdc"]
    if not orders:
        return truth(name, ablation)
    if order not in orders:
        raise UnknownName.among("order", order, orders)
    return truth(name, ablation) & {Edge.parse(edge) for edge in orders[order]}


def alternatives(name: str, ablation: str = "corrupted") -> tuple[frozenset[Edge], ...]:
    """Return every minimal sufficient set of edges: one per redundant path, or the truth alone.

    All edges outside such a set can be removed together without changing an answer; then none of
    its edges can. The truth is their union. Raises like `truth`.
    """
    entries = _entries(name, ablation)
    paths = list(dict.fromkeys(entry["path"] for entry in entries if "path" in entry))
    return tuple(
        frozenset(Edge.parse(e["edge"]) for e in entries if e.get("path", path) == path)
        for path in paths or [None]
    )


def head_kinds(name: str) -> dict[Node, frozenset[str]]:
    """Return the kinds of the heads with known behaviour on any tokens; see `program.HeadKind`.

    Raises:
        UnknownName: no compiled model of that name.
    """
    return {Node.parse(entry["head"]): frozenset(entry["kinds"]) for entry in _read(name)["heads"]}


def topology(name: str) -> Topology:
    """Return the full graph of a compiled model. Raises UnknownName."""
    return Topology.from_dict(_read(name)["graph"])


def task_of(name: str) -> str:
    """Return the task for whose prompts the truth holds. Raises UnknownName."""
    return _read(name)["task"]


def _entries(name: str, ablation: str) -> list[dict[str, str]]:
    edges = _read(name)["edges"]
    if ablation not in edges:
        raise UnknownName.among("ablation", ablation, edges)
    return edges[ablation]


def _read(name: str, file: str = TRUTH_FILE) -> dict[str, Any]:
    known = list_compiled()
    if name not in known:
        raise UnknownName.among("compiled model", name, known)
    return json.loads((WEIGHTS / name / file).read_text(encoding="utf-8"))
