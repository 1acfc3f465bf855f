"""Circuits cut from a file of scores, as the tools that write such files cut them.

| selection | the circuit of n edges | |
|---|---|---|
| `top-n` | the n best of the whole graph, then only those on a path from input to logits | EAP-IG's `apply_topn`, MIB |
| `greedy` | the n best of those into nodes already reached, beginning at the logits, then as above | EAP-IG's `apply_greedy` |
| `threshold` | every edge at least as good as the n-th best | auto-circuit |
| `connected` | of the greedy circuits the largest of at most n edges on a path | `graph.cut` |

At the level of nodes or neurons (dimensions of a node's output), the n best of those with a score
and all without one are kept, with every edge between nodes that are left, as `apply_topn` does.
"""  # noqa: E501  (rows of a table)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from math import isnan
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import Circuit, Rank
from acdc_pipeline.graph.cut import cut, greedy_indices, score_array
from acdc_pipeline.graph.files.circuit_file import CircuitFile, listed
from acdc_pipeline.graph.node import LOGITS, Node

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

Level = Literal["edge", "node", "neuron"]
Selection = Literal["top-n", "greedy", "threshold", "connected"]

LEVELS: tuple[Level, ...] = get_args(Level)
SELECTIONS: tuple[Selection, ...] = get_args(Selection)


@dataclass(frozen=True)
class Cut:
    """How a circuit is cut from scores.

    Args:
        count: how many edges, nodes or neurons; None for a share.
        share: the share of the edges, or of the nodes or neurons with a score, rounded down as
            MIB does; None for a count.
        level: what is counted; None for edges, or for the only kind that has scores.
        selection: None for `threshold` with auto-circuit's scores, else `top-n`.
    """

    count: int | None
    share: float | None
    level: Level | None = None
    selection: Selection | None = None
    rank: Rank = "magnitude"


def cut_file(file: CircuitFile, how: Cut) -> CircuitFile:
    """Return `file` with the circuit that `how` cuts from its scores, in place of its own.

    Raises:
        GraphError: there are no such scores, or fewer of them than are to be kept; or the file has
            neuron masks, which a circuit of whole edges or nodes cannot keep.
    """
    level = how.level or _only_level(file)
    if level != "neuron":
        _check_whole_nodes(file, level)
    if level != "edge":
        if how.selection not in (None, "top-n"):
            raise GraphError(f"selection {how.selection} is for edges, not for {level}s")
        return _cut_nodes(file, how) if level == "node" else _cut_neurons(file, how)
    circuit, topology = file.circuit, file.topology
    if missing := [edge for edge in topology.edges if edge not in circuit.scores]:
        raise GraphError(
            f"no score for {listed(missing)}",
            field="edges",
            fix="score every edge: those without a score cannot be ranked",
        )
    count = _count(how, topology.n_edges, "edges")
    selection = how.selection
    if selection is None:
        selection = "threshold" if file.form == "auto-circuit scores" else "top-n"
    if selection == "connected" and count:
        found = cut(topology, circuit.scores, edges=count, rank=how.rank)
        notes = (
            (f"no connected circuit of {count} edges was found: {len(found)} remain",)
            if len(found) < count
            else ()
        )
        return replace(file, circuit=found, neurons=None, notes=notes)
    scores = score_array(topology, circuit.scores)
    worth = np.abs(scores) if how.rank == "magnitude" else scores
    notes: tuple[str, ...] = ()
    mask = np.zeros(topology.n_edges, dtype=bool)
    if selection == "greedy":
        mask[list(islice(greedy_indices(topology, scores, how.rank), count))] = True
    elif selection == "top-n":
        mask[best(worth, count)] = True
        if tied := _tied(worth, mask):
            notes = (
                f"{tied} edges that are left out have the score of the last one kept; the order of "
                "the graph decides",
            )
    elif count:  # threshold
        mask = worth >= np.sort(worth)[-count]
    found = Circuit(topology, frozenset(topology.edges_in(mask)), circuit.scores)
    if selection != "threshold":
        selected = len(found)
        found = replace(found, edges=found.live_edges)
        if pruned := selected - len(found):
            notes = (
                *notes,
                f"{pruned} of the {selected} edges selected are on no path from input to logits "
                f"and are removed, as EAP-IG does: {len(found)} remain",
            )
    return replace(file, circuit=found, neurons=None, notes=notes)


def best(worth: Float[np.ndarray, " item"], count: int) -> np.ndarray:
    """Return the indices of the `count` largest values; of equal ones the first is the better."""
    return np.argsort(-worth, kind="stable")[:count]


def _check_whole_nodes(file: CircuitFile, level: Level) -> None:
    """Raise GraphError if neuron masks would be dropped, also those of nodes without edges."""
    if file.neurons is None or not file.neurons.any() or file.neurons.all():
        return
    pairs = zip(file.topology.sources, file.neurons, strict=True)
    masked = [node for node, kept in pairs if not kept.all()]
    raise GraphError(
        f"{level}s are cut without neuron masks, and {listed(masked)} "
        f"{'is' if len(masked) == 1 else 'are'} masked",
        field="neurons",
        fix="cut at the level of neurons, or remove the masks from the file",
    )


def _only_level(file: CircuitFile) -> Level:
    """The level that has scores: EAP-IG writes 0 for every edge when it scored nodes."""
    if any(file.circuit.scores.values()):
        return "edge"
    if not all(isnan(score) for score in file.node_scores.values()):
        return "node"
    return "edge" if file.neuron_scores is None else "neuron"


def _count(how: Cut, total: int, what: str) -> int:
    count = how.count if how.share is None else int(how.share * total)
    assert count is not None
    if not 0 <= count <= total:
        raise GraphError(f"{count} {what} are not there", allowed=f"up to {total}")
    return count


def _tied(worth: Float[np.ndarray, " item"], mask: Bool[np.ndarray, " item"]) -> int:
    return int((worth[~mask] == worth[mask].min()).sum()) if mask.any() else 0


def _cut_nodes(file: CircuitFile, how: Cut) -> CircuitFile:
    sources = file.topology.sources
    scores = np.array([file.node_scores.get(node, np.nan) for node in sources])
    kept = _best_scored(scores, how, "nodes with a score")
    return replace(
        file,
        circuit=_between(file, dict(zip(sources, kept.tolist(), strict=True))),
        neurons=None,
        notes=(),
    )


def _cut_neurons(file: CircuitFile, how: Cut) -> CircuitFile:
    if file.neuron_scores is None:
        raise GraphError("no neuron has a score", field="neurons_scores")
    scores = file.neuron_scores
    kept = _best_scored(scores.ravel(), how, "neurons with a score").reshape(scores.shape)
    written = {node: bool(row.any()) for node, row in zip(file.topology.sources, kept, strict=True)}
    return replace(file, circuit=_between(file, written), neurons=kept, notes=())


def _best_scored(
    scores: Float[np.ndarray, " item"], how: Cut, what: str
) -> Bool[np.ndarray, " item"]:
    """The best of those with a score, and all without one."""
    scored = ~np.isnan(scores)
    if not scored.any():
        raise GraphError(f"there are no {what}")
    worth = np.abs(scores) if how.rank == "magnitude" else scores
    kept = ~scored
    at = scored.nonzero()[0]
    kept[at[best(worth[at], _count(how, len(at), what))]] = True
    return kept


def _between(file: CircuitFile, kept: Mapping[Node, bool]) -> Circuit:
    """The circuit of every edge between nodes that are kept."""
    edges = (
        edge
        for edge in file.topology.edges
        if kept[edge.src] and (edge.dst == LOGITS or kept[edge.dst])
    )
    return Circuit(file.topology, frozenset(edges), file.circuit.scores)
