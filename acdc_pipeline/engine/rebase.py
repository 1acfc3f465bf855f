"""What a search holds, computed from the kept edges alone.

A search adds up changes, and how they round depends on the batches they came in. From time to
time it computes everything it holds anew, from the clean run and the edges kept: roundings cannot
pile up, and what comes after depends on the decisions so far and on nothing else. That is what
lets an interrupted search go on to the same bits.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.circuit_state import CircuitState
from acdc_pipeline.engine.forward import mlp_written
from acdc_pipeline.engine.layout import Needed
from acdc_pipeline.engine.trial import Scratch, Spread
from acdc_pipeline.graph import LOGITS, SLOTS, Node, Receiver, Slot, mlp


def rebase(circuit: CircuitState, scratch: dict[Needed, Scratch]) -> None:
    """Give every open node what it reads, holds and writes in the circuit as it is.

    One pass over the layers. Nodes that are not open yet lie before every visited receiver and
    stay clean.
    """
    spread = Spread(len(circuit.needed), 1, circuit.layout, scratch, circuit.difference.shape[2])
    for layer in range(circuit.topology.n_layers):
        _heads(circuit, spread, layer)
        node = mlp(layer)
        if circuit.topology.has_mlp and node in circuit.needed:
            _mlp(circuit, spread, layer, node)
    _read(circuit, spread, Receiver(LOGITS))


def _read(circuit: CircuitState, spread: Spread, receiver: Receiver) -> None:
    """What a visited receiver reads: clean, plus removed edges, plus what its sources changed."""
    total = circuit.clean_input(receiver)
    removed = circuit.removed_difference(receiver)
    if removed is not None:
        total = total + removed
    changes = spread.at[circuit.needed_by(receiver)]
    changed = changes.among(circuit.kept[receiver])
    if changed:
        total = total + changes.of_state(changed, 0)
    circuit.inputs[receiver] = total


def _mlp(circuit: CircuitState, spread: Spread, layer: int, node: Node) -> None:
    receiver = Receiver(node)
    _read(circuit, spread, receiver)
    written = mlp_written(circuit.weights.blocks[layer], circuit.inputs[receiver])
    circuit.written[node] = written
    spread.write(node, circuit.needed[node], (written - circuit.clean_written(node))[None])


def _heads(circuit: CircuitState, spread: Spread, layer: int) -> None:
    groups: dict[tuple[Needed, tuple[Slot, ...]], list[Node]] = {}
    for node in circuit.topology.heads(layer):
        if node in circuit.needed:
            visited: tuple[Slot, ...] = tuple(
                slot for slot in SLOTS if Receiver(node, slot) in circuit.kept
            )
            groups.setdefault((circuit.needed[node], visited), []).append(node)
    for (needed, slots), nodes in groups.items():
        inputs: dict[Slot, Float[Tensor, "n state _ d_model"]] = {}
        for slot in slots:
            for node in nodes:
                _read(circuit, spread, Receiver(node, slot))
            read = [circuit.inputs[Receiver(node, slot)] for node in nodes]
            inputs[slot] = torch.stack(read)[:, None]
        parts, written = circuit.attention.afresh(layer, nodes, needed, inputs)
        for i, node in enumerate(nodes):
            circuit.attention.commit(
                node, {name: part[i, 0].clone() for name, part in parts.items()}
            )
            spread.write(node, needed, written[i] - circuit.clean_written(node))
