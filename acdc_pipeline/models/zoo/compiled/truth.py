"""The true edges of a compiled model, as its directory states them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from acdc_pipeline.errors import UnknownName
from acdc_pipeline.graph import Circuit, Edge, Node, Topology
from acdc_pipeline.models.zoo import WEIGHTS

TRUTH_FILE = "truth.json"


def list_compiled() -> tuple[str, ...]:
    """The names of the shipped models whose circuit is known by construction, sorted."""
    return tuple(sorted(path.parent.name for path in WEIGHTS.glob(f"*/{TRUTH_FILE}")))


def truth(name: str, ablation: str = "corrupted") -> frozenset[Edge]:
    """The edges that the answers of compiled model `name` need, on the prompts of its task.

    Of redundant paths all belong to the truth: see `alternatives` for which, and `found_by_acdc`
    for what ACDC can find.

    Args:
        name: a zoo model.
        ablation: what a removed edge carries: corrupted, zero or mean. An edge that carries a
            position, say, is needed under `zero` and is not under `corrupted`, where the
            position that replaces it is the same.

    Raises:
        UnknownName: no compiled model of that name, or no such ablation.
    """
    return frozenset(Edge.parse(entry["edge"]) for entry in _entries(name, ablation))


def true_circuit(name: str, ablation: str = "corrupted") -> Circuit:
    """`truth` as a circuit in the graph of the model. Raises like `truth`."""
    return Circuit(topology(name), truth(name, ablation))


def found_by_acdc(
    name: str, ablation: str = "corrupted", order: str = "reverse-heads"
) -> frozenset[Edge]:
    """The edges that exact ACDC must return: the truth, but for redundant paths.

    Of paths that each suffice alone, the one whose edge is tested first is dropped, since
    dropping it costs nothing; the one tested last stays. The order of heads decides which.

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
    """Every smallest set of edges that suffices alone: one, the truth, unless paths are redundant.

    All edges outside one of these sets may go together without changing an answer; no edge of it
    may go then. The truth is their union. Raises like `truth`.
    """
    entries = _entries(name, ablation)
    paths = list(dict.fromkeys(entry["path"] for entry in entries if "path" in entry))
    return tuple(
        frozenset(Edge.parse(e["edge"]) for e in entries if e.get("path", path) == path)
        for path in paths or [None]
    )


def head_kinds(name: str) -> dict[Node, frozenset[str]]:
    """The heads of compiled model `name` that do something known on any tokens, and what.

    `HeadKind` in `program` says what each word means. Heads that are not here do something else.

    Raises:
        UnknownName: no compiled model of that name.
    """
    return {Node.parse(entry["head"]): frozenset(entry["kinds"]) for entry in _read(name)["heads"]}


def topology(name: str) -> Topology:
    """The full graph of compiled model `name`. Raises UnknownName if there is none."""
    return Topology(**_read(name)["graph"])


def task_of(name: str) -> str:
    """The task whose prompts the truth holds for. Raises UnknownName like `truth`."""
    return _read(name)["task"]


def truth_path(name: str) -> Path:
    """The file the truth of `name` stands in. Raises UnknownName if there is none."""
    known = list_compiled()
    if name not in known:
        raise UnknownName.among("compiled model", name, known)
    return WEIGHTS / name / TRUTH_FILE


def _entries(name: str, ablation: str) -> list[dict[str, str]]:
    edges = _read(name)["edges"]
    if ablation not in edges:
        raise UnknownName.among("ablation", ablation, edges)
    return edges[ablation]


def _read(name: str) -> dict[str, Any]:
    return json.loads(truth_path(name).read_text(encoding="utf-8"))
