"""Nodes, edges, the full graph of a model, and circuits cut from it."""

from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.edge import SLOTS, Edge, Receiver, Slot
from acdc_pipeline.graph.node import INPUT, LOGITS, Node, NodeKind, head, mlp
from acdc_pipeline.graph.search_order import Decision
from acdc_pipeline.graph.topology import Topology

__all__ = [
    "INPUT",
    "LOGITS",
    "SLOTS",
    "Circuit",
    "Decision",
    "Edge",
    "Node",
    "NodeKind",
    "Receiver",
    "Slot",
    "Topology",
    "head",
    "mlp",
]
