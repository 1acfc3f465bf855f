"""A reader of EAP-IG's graph JSON that shares nothing with the package.

Written from what the format is said to be and what EAP-IG's own reader does with it. A graph of L
layers with H heads is two matrices, scores and membership, of 1 + L (H + 1) sources by L (3 H + 1)
+ 1 inputs. Sources are the input and then, for each layer, its heads and its MLP; inputs are, for
each layer, the q, k and v of its heads and its MLP, and last the logits. The file names edges;
reading it is writing into the matrices. A source comes before an input, and so may have an edge to
it, if it belongs to an earlier layer, or is a head of the layer of an MLP whose block is not
parallel. A node that the file does not name as in the graph is out of it, with all its edges, as is
one without an edge in and an edge out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

_NODE = re.compile(r"input|logits|m(?P<mlp>\d+)|a(?P<layer>\d+)\.h(?P<head>\d+)")
_EDGE = re.compile(r"(?P<parent>[^<>-]+)->(?P<child>[^<>-]+)(?:<(?P<qkv>[qkv])>)?")


@dataclass(frozen=True)
class EapIgGraph:
    """What a file says, as matrices."""

    layers: int
    heads: int
    parallel: bool
    nodes: Bools
    edges: Bools
    scores: Floats

    def real(self) -> Bools:
        """Which pairs of source and input are edges of the full graph."""
        source, receiver = np.indices(self.edges.shape)
        by_layer, in_layer = divmod(receiver, 3 * self.heads + 1)
        seen = 1 + by_layer * (self.heads + 1)
        is_mlp = (in_layer == 3 * self.heads) & (by_layer < self.layers)
        if not self.parallel:
            seen = seen + self.heads * is_mlp
        return np.asarray(source < seen)

    def pruned(self) -> Bools:
        """The edges left when nodes without a way in or out are taken away until none is."""
        edges = self.edges.copy()
        while True:
            alive = edges.any(axis=1) & self._entered(edges) & self.nodes
            left = edges & alive[:, None] & self._of_nodes(alive)[None, :]
            if (left == edges).all():
                return edges
            edges = left

    def _entered(self, edges: Bools) -> Bools:
        """Which sources have an input with an edge into it; the input always counts."""
        into: Bools = np.asarray(edges.any(axis=0))
        out = [True]
        for layer in range(self.layers):
            first = layer * (3 * self.heads + 1)
            slots = into[first : first + 3 * self.heads].reshape(3, self.heads)
            out += [
                *map(bool, np.atleast_1d(slots.any(axis=0))),
                bool(into[first + 3 * self.heads]),
            ]
        return np.array(out)

    def _of_nodes(self, nodes: Bools) -> Bools:
        """`nodes` repeated for each of their inputs; the logits are always there."""
        out: list[np.bool_] = []
        for layer in range(self.layers):
            first = 1 + layer * (self.heads + 1)
            out += [*nodes[first : first + self.heads]] * 3
            out.append(nodes[first + self.heads])
        return np.array([*out, True])

    def source(self, name: str) -> int:
        """The row of a node."""
        found = _NODE.fullmatch(name)
        assert found is not None, name
        if found["mlp"] is not None:
            return (int(found["mlp"]) + 1) * (self.heads + 1)
        if found["layer"] is not None:
            return 1 + int(found["layer"]) * (self.heads + 1) + int(found["head"])
        assert name == "input"
        return 0

    def receiver(self, name: str, qkv: str | None) -> int:
        """The column of a node's input."""
        found = _NODE.fullmatch(name)
        assert found is not None, name
        assert (qkv is not None) == (found["layer"] is not None)
        if found["mlp"] is not None:
            return int(found["mlp"]) * (3 * self.heads + 1) + 3 * self.heads
        if found["layer"] is not None:
            start = int(found["layer"]) * (3 * self.heads + 1)
            return start + "qkv".index(str(qkv)) * self.heads + int(found["head"])
        assert name == "logits"
        return self.layers * (3 * self.heads + 1)

    def place(self, edge: str) -> tuple[int, int]:
        """Row and column of an edge by its name."""
        found = _EDGE.fullmatch(edge)
        assert found is not None, edge
        return self.source(found["parent"]), self.receiver(found["child"], found["qkv"])


def read_eap_ig(text: str) -> EapIgGraph:
    """The graph in a file's text."""
    document = json.loads(text)
    cfg = document["cfg"]
    assert isinstance(cfg["d_model"], int), "their loader builds on it"
    layers, heads = cfg["n_layers"], cfg["n_heads"]
    sources, receivers = 1 + layers * (heads + 1), layers * (3 * heads + 1) + 1
    graph = EapIgGraph(
        layers,
        heads,
        cfg["parallel_attn_mlp"],
        np.zeros(sources, dtype=bool),
        np.zeros((sources, receivers), dtype=bool),
        np.zeros((sources, receivers)),
    )
    for name, node in document["nodes"].items():
        if name != "logits":
            graph.nodes[graph.source(name)] = node["in_graph"]
    for name, edge in document["edges"].items():
        graph.edges[graph.place(name)] = edge["in_graph"]
        graph.scores[graph.place(name)] = edge["score"]
    return graph
