"""The current queries, keys, values and patterns of heads, with the queries of each span apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.attention import attention_pattern, visible_keys
from acdc_pipeline.engine.components import normalise, project
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.slots import finish_slot, normalise_mixed, project_slot, split_gate
from acdc_pipeline.engine.span_rows import SpanRows
from acdc_pipeline.engine.spill import Spill, tensor_dict
from acdc_pipeline.graph import Node, Slot
from acdc_pipeline.models.weights import TransformerWeights

Part = tuple[str, str | None]
"""`k` or `v` of every position, with None; `q`, `gate`, `pattern` or `z` of a span's queries."""

Parts = dict[Part, Float[Tensor, "..."]]

SpanInputs = dict[tuple[Slot, str], Float[Tensor, "n state rows d_model"]]
"""What n heads of a layer read in some of their slots and spans, the same for all of them."""


class PositionalAttention:
    """Per open head: keys and values of every position, and the rest in each span that is read.

    Shapes of a head's parts: `k` and `v` are [batch pos d_head]; `q`, `gate` and `z`
    [batch count d_head], `pattern` [batch count pos] for a span of `count` positions.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        layout: Layout,
        spans: Mapping[str, SpanRows],
        spill: Spill | None = None,
    ) -> None:
        self.weights = weights
        self.layout = layout
        self.spans = spans
        self.sees = weights.topology.visible
        self.parts: dict[Node, Parts] = {}
        self._spill = spill
        device = layout.answer_row.device
        self.positions = torch.arange(layout.pos, device=device)
        self.allowed = {
            layer: visible_keys(block.attn, layout.pos, device)
            for layer, block in enumerate(weights.shapes)
            if block.attn is not None
        }

    def fork(self) -> PositionalAttention:
        """Return an independent state with the same parts."""
        other = copy(self)
        other.parts = {node: parts.copy() for node, parts in self.parts.items()}
        return other

    def open(
        self,
        node: Node,
        read: Sequence[str],
        streams: Mapping[Slot, Float[Tensor, "rows d_model"]],
    ) -> int:
        """Start `node`, which is read in some spans, from what its slots read at all rows.

        Returns the bytes that it takes.
        """
        assert node.layer is not None
        every = (self.layout.batch, self.layout.pos)
        parts: Parts = {}
        for slot in ("k", "v"):
            x = streams[slot][None, None]
            parts[slot, None], _ = self._project(node.layer, [node], slot, x, every, self.positions)
        x = streams["q"][None, None]
        inputs: SpanInputs = {("q", span): self.spans[span].select(x) for span in read}
        parts |= self._run_queries(node.layer, [node], read, inputs, parts)
        self.update(node, {key: part[0, 0] for key, part in parts.items()})
        return sum(part.nbytes for part in self.parts[node].values())

    def update(self, node: Node, parts: Parts) -> None:
        """Replace those parts of `node`."""
        self.parts.setdefault(node, tensor_dict(self._spill)).update(parts)

    def run(self, layer: int, nodes: list[Node], read: Sequence[str], inputs: SpanInputs) -> Parts:
        """Compute heads, all read in the same spans, with new `inputs`.

        Returns the parts that change, [n state …] each. Those of queries change in the spans that
        are read and see a change.
        """
        out: Parts = {}
        every = (self.layout.batch, self.layout.pos)
        for (slot, name), x in inputs.items():
            if slot == "q":
                continue
            rows = self.spans[name]
            if (slot, None) not in out:
                now = self.current(nodes, (slot, None))
                out[slot, None] = now.repeat(1, x.shape[1], 1, 1, 1)
            new, _ = self._project(layer, nodes, slot, x, rows.shape, rows.positions)
            rows.scatter(out[slot, None].flatten(2, 3), new.flatten(2, 3))
            assert out[slot, None].shape[2:4] == every
        return out | self._run_queries(layer, nodes, read, inputs, out)

    def current(self, nodes: list[Node], key: Part) -> Float[Tensor, "n 1 ..."]:
        """One part of these heads in the current circuit."""
        return torch.stack([self.parts[node][key] for node in nodes])[:, None]

    def output(
        self, layer: int, nodes: list[Node], z: Float[Tensor, "n state batch count d_head"]
    ) -> Float[Tensor, "n state rows d_model"]:
        """What heads write, from `z`; of a change of `z`, the change of that."""
        rows = z.flatten(2, 3)
        w_o = self.weights.blocks[layer].attention.w_o[_heads(nodes)]
        return project(rows.flatten(1, 2), w_o, None).unflatten(1, rows.shape[1:3])

    def _run_queries(
        self,
        layer: int,
        nodes: list[Node],
        read: Sequence[str],
        inputs: SpanInputs,
        keyed: Parts,
    ) -> Parts:
        """The changed queries, gates, patterns and `z`, given changed keys and values."""
        attn, heads = self.weights.blocks[layer].attention, _heads(nodes)
        out: Parts = {}

        def have(key: Part) -> Float[Tensor, "n state ..."]:
            found = out.get(key, keyed.get(key))
            return self.current(nodes, key) if found is None else found

        changed = {slot: {span for s, span in inputs if s == slot} for slot in ("q", "k", "v")}
        for name in read:
            queries, new_k = name in changed["q"], not changed["k"].isdisjoint(self.sees[name])
            if not (queries or new_k or not changed["v"].isdisjoint(self.sees[name])):
                continue
            rows = self.spans[name]
            if queries:
                x = inputs["q", name]
                out["q", name], gate = self._project(
                    layer, nodes, "q", x, rows.shape, rows.positions
                )
                if gate is not None:
                    out["gate", name] = gate
            if queries or new_k:
                allowed = self.allowed[layer][rows.positions]
                out["pattern", name] = attention_pattern(
                    have(("q", name)), have(("k", None)), attn, heads, rows.positions, allowed
                )
            z = torch.matmul(have(("pattern", name)), have(("v", None)))
            z = z if attn.gate is None else z * have(("gate", name))
            out["z", name] = normalise_mixed(attn, z)
        return out

    def _project(
        self,
        layer: int,
        nodes: list[Node],
        slot: Slot,
        x: Float[Tensor, "n_in state rows d_model"],
        shape: tuple[int, int],
        positions: Int[Tensor, "*at"],
    ) -> tuple[Float[Tensor, "n state _ _ _"], Float[Tensor, "n state _ _ _"] | None]:
        """One slot of heads at rows of that shape, and the gate that comes with queries."""
        block = self.weights.blocks[layer]
        heads = _heads(nodes)
        flat = normalise(x, block.norm_attn).flatten(1, 2)
        projected = project_slot(block.attention, slot, heads, flat).unflatten(1, x.shape[1:3])
        shaped, gate = projected.unflatten(2, shape), None
        if slot == "q":
            shaped, gate = split_gate(block.attention, shaped)
        return finish_slot(shaped, block.attention, slot, heads, positions), gate


def _heads(nodes: list[Node]) -> list[int]:
    return [node.head for node in nodes if node.head is not None]
