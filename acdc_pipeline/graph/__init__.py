"""Nodes, edges, the full graph of a model, and circuits cut from it."""

from acdc_pipeline.graph.circuit import Circuit as Circuit
from acdc_pipeline.graph.edge import SLOTS as SLOTS
from acdc_pipeline.graph.edge import Edge as Edge
from acdc_pipeline.graph.edge import Receiver as Receiver
from acdc_pipeline.graph.edge import Slot as Slot
from acdc_pipeline.graph.node import INPUT as INPUT
from acdc_pipeline.graph.node import LOGITS as LOGITS
from acdc_pipeline.graph.node import Node as Node
from acdc_pipeline.graph.node import NodeKind as NodeKind
from acdc_pipeline.graph.node import head as head
from acdc_pipeline.graph.node import mixer as mixer
from acdc_pipeline.graph.node import mlp as mlp
from acdc_pipeline.graph.search_order import Decision as Decision
from acdc_pipeline.graph.topology import Topology as Topology
