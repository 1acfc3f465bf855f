"""The subgraphs of the original ACDC (`TLACDCExperiment.save_subgraph`, a `.pth` file).

A dictionary from (receiver, its index, sender, its index) to whether the edge is present. Names are
hooks of TransformerLens, indices tuples such as (None, None, 3) for head 3. Three kinds of edges:

- from an output (`hook_resid_pre`, `attn.hook_result`, `hook_mlp_out`) to an input
  (`hook_q_input`, `hook_mlp_in`, the last `hook_resid_post`): the edges of the graph;
- from an input of a head to its query, key or value (`hook_q_input` to `attn.hook_q`): without it
  the slot carries what it has when every source is ablated, so that it has no edges at all;
- from those to the head's result, and from `hook_mlp_in` to `hook_mlp_out`: never removed from a
  node with edges.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.edge import SLOTS, Edge, Receiver, Slot
from acdc_pipeline.graph.files.circuit_file import CircuitFile
from acdc_pipeline.graph.node import INPUT, LOGITS, Node, head, mlp
from acdc_pipeline.graph.topology import Topology

_HOOK = re.compile(r"blocks\.(\d+)\.(attn\.)?hook_([a-z_]+)\Z")
_SLOTS: Mapping[str, Slot] = {f"{slot}_input": slot for slot in SLOTS}
_ALLOWED = "(receiver hook, its index, sender hook, its index) -> whether it is present"

Place = tuple[str, tuple[int | None, ...]]


def is_subgraph(values: Mapping[Any, Any]) -> bool:
    """Whether `values` has the keys of a subgraph."""
    return any(isinstance(key, tuple) and len(key) == 4 for key in values)


def read_subgraph(values: Mapping[Any, Any], topology: Topology) -> CircuitFile:
    """Return the circuit of a subgraph; edges that it does not name are removed ones.

    Args:
        values: the dictionary. It does not describe its graph, so that it is read in `topology`,
            the model's.

    Raises:
        GraphError: layers of the model differ in their parts; a key is no edge of the graph, or a
            value neither true nor false; or the edges within a node contradict those into it.
    """
    topology.require_same_parts("a subgraph of the original ACDC")
    kept: set[Edge] = set()
    cut_off: dict[Receiver, str] = {}
    inside: list[tuple[Node, str]] = []
    for key, present in values.items():
        name = f"{key!r}"
        (receiver, at), (sender, source_at) = _places(key)
        if type(present) is not bool:
            raise GraphError(f"{present!r} is not true or false", field=name)
        parts = _inner_edge(receiver, at, sender, source_at, topology)
        if parts is not None:
            if not present and isinstance(parts, Receiver):
                cut_off[parts] = name
            elif not present and isinstance(parts, Node):
                inside.append((parts, name))
            continue
        edge = Edge.into(_source(sender, source_at, name), _receiver(receiver, at, topology, name))
        topology.check(edge)
        if present:
            kept.add(edge)
    kept = {edge for edge in kept if edge.receiver not in cut_off}
    entered = {edge.dst for edge in kept}
    for node, name in inside:
        if node in entered:
            raise GraphError(
                f"is removed, and edges into {node} are not: that has no counterpart", field=name
            )
    circuit = Circuit(topology, frozenset(kept))
    return CircuitFile("original ACDC subgraph", circuit, cut_off=tuple(cut_off))


def _head_at(at: tuple[int | None, ...]) -> int | None:
    """The head at an index, or None if it is not that of a head."""
    return at[2] if len(at) == 3 and at[:2] == (None, None) else None


def _places(key: object) -> tuple[Place, Place]:
    if isinstance(key, tuple) and len(key) == 4:
        (receiver, at, sender, source_at), kinds = key, (str, tuple, str, tuple)
        if all(isinstance(part, kind) for part, kind in zip(key, kinds, strict=True)):
            return (receiver, at), (sender, source_at)
    raise GraphError(f"{key!r} is not an edge", allowed=_ALLOWED)


def _inner_edge(
    receiver: str,
    at: tuple[int | None, ...],
    sender: str,
    source_at: tuple[int | None, ...],
    topology: Topology,
) -> Receiver | Node | None:
    """The slot or the node inside of which an edge lies, or None if it leads from node to node."""
    to, of = _HOOK.match(receiver), _HOOK.match(sender)
    if to is None or of is None or to[1] != of[1] or at != source_at:
        return None
    layer, pair = int(to[1]), (f"{to[2] or ''}{to[3]}", f"{of[2] or ''}{of[3]}")
    node: Node | None = None
    if pair == ("mlp_out", "mlp_in"):
        node = mlp(layer)
    elif (index := _head_at(at)) is not None:
        node = head(layer, index)
    if node is None:
        return None
    topology.check(node)
    for name, slot in _SLOTS.items():
        if pair == (f"attn.{slot}", name):
            return Receiver(node, slot)
    of_node = [("mlp_out", "mlp_in"), *(("attn.result", f"attn.{slot}") for slot in SLOTS)]
    return node if pair in of_node else None


def _source(hook: str, at: tuple[int | None, ...], name: str) -> Node:
    match = _HOOK.match(hook)
    if hook in ("hook_embed", "hook_pos_embed"):
        raise GraphError(
            "token and position embedding apart have no counterpart: here they are one node",
            field=name,
            fix="search with use_pos_embed=False",
        )
    if match and match[3] == "resid_pre" and match[1] == "0" and at == (None,):
        return INPUT
    if match and match[2] and match[3] == "result" and (index := _head_at(at)) is not None:
        return head(int(match[1]), index)
    if match and match[3] == "mlp_out" and at == (None,):
        return mlp(int(match[1]))
    raise GraphError(f"'{hook}' at {at} is not an output of a node", field=name)


def _receiver(hook: str, at: tuple[int | None, ...], topology: Topology, name: str) -> Receiver:
    match = _HOOK.match(hook)
    if match and match[3] == "resid_post" and at == (None,):
        if int(match[1]) == topology.n_layers - 1:
            return Receiver(LOGITS)
    elif match and match[3] == "mlp_in" and at == (None,):
        return Receiver(mlp(int(match[1])))
    elif match and match[3] in _SLOTS and (index := _head_at(at)) is not None:
        return Receiver(head(int(match[1]), index), _SLOTS[match[3]])
    raise GraphError(
        f"'{hook}' at {at} is not an input of a node of this graph",
        field=name,
        allowed=f"{topology.n_layers} layers x {topology.n_heads} heads",
    )
