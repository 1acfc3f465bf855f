"""The rows that a removal can change and an answer can see, packed without the others.

Prompts are padded to the length of the longest, and begin alike in the clean and the ablated run.
Neither padding nor a common beginning can differ from the clean run at an answer, so whatever is
computed row by row needs the rows between alone; only attention and mixers need all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine.attention import mix_groups, project_groups, visible_keys, write_mixed
from acdc_pipeline.engine.bench import Bench
from acdc_pipeline.engine.components import normalise
from acdc_pipeline.engine.forward import Streams, run_mixer, run_mlp
from acdc_pipeline.engine.slots import Slots
from acdc_pipeline.models.weights import Block, TransformerWeights

PackedRows = Float[Tensor, "state row d_model"]
AtAnswers = Float[Tensor, "state answer d_model"]


@dataclass(frozen=True)
class LiveRows:
    """Some of the `batch * pos` rows of a bench, in their order.

    Args:
        index: the rows, as `prompt * pos + position`.
        answers: the place of each answer among them.
    """

    batch: int
    pos: int
    index: Int[Tensor, " row"]
    answers: Int[Tensor, " answer"]

    @property
    def answer_index(self) -> Int[Tensor, " answer"]:
        """The rows of the answers, among all."""
        return self.index[self.answers]

    def pack(
        self, stream: Float[Tensor, "*lead batch pos width"]
    ) -> Float[Tensor, "*lead row width"]:
        """The rows of a stream."""
        return stream.flatten(-3, -2).index_select(-2, self.index)

    def unpack(
        self,
        rows: Float[Tensor, "*lead state row width"],
        rest: Float[Tensor, "*lead batch pos width"],
    ) -> Float[Tensor, "*lead state batch pos width"]:
        """Streams with these rows, and those of `rest` everywhere else."""
        states = rows.shape[-3]
        every = rest.flatten(-3, -2).unsqueeze(-3).repeat(*[1] * (rest.dim() - 3), states, 1, 1)
        every.index_copy_(-2, self.index, rows)
        return every.unflatten(-2, (self.batch, self.pos))


def find_live_rows(bench: Bench) -> LiveRows:
    """The rows from the first difference of a prompt's two runs to its last answer.

    Under bidirectional attention, where a row sees the later ones, these are all rows. The rows of
    the answers are always among them.
    """
    layout, device = bench.layout, bench.ablated.device
    live = torch.zeros(layout.batch, layout.pos, dtype=torch.bool, device=device)
    if bench.weights.bidirectional:
        live[:] = True
    else:
        last = torch.full((layout.batch,), -1, device=device)
        last.scatter_reduce_(0, layout.answer_row, layout.answer_pos, "amax")
        position = torch.arange(layout.pos, device=device)
        live = (_differing(bench).cummax(1).values > 0) & (position <= last[:, None])
    live.view(-1)[layout.answer_index] = True
    index = live.view(-1).nonzero()[:, 0]
    return LiveRows(layout.batch, layout.pos, index, torch.searchsorted(index, layout.answer_index))


def _differing(bench: Bench) -> Int[Tensor, "batch pos"]:
    """1 where the ablated output of any source differs from the clean one, 0 elsewhere."""
    found: Bool[Tensor, "batch pos"] = bench.ablated.new_zeros(
        bench.layout.batch, bench.layout.pos, dtype=torch.bool
    )
    for ablated, clean in zip(bench.ablated, bench.clean.outputs, strict=True):
        found |= (ablated != clean).any(-1)
    return found.int()


class PackedSuffix:
    """The later layers of a model, run on the live rows of several changed streams together.

    Past the last layer that mixes positions, the rows of the answers are computed alone.

    Args:
        clean: the streams of the clean run, which the other rows keep.
    """

    def __init__(self, weights: TransformerWeights, clean: Streams, rows: LiveRows) -> None:
        self.weights = weights
        self.clean = clean
        self.rows = rows
        self._slots: dict[int, Slots] = {}
        mixing = (layer for layer, block in enumerate(weights.blocks) if _mixes(block))
        self._last_mixing = max(mixing, default=-1)

    def from_layer(self, first: int, x: PackedRows) -> AtAnswers:
        """The final streams at the answers if layer `first` reads `x`."""
        return self._layers(first, self._needed(first, x))

    def from_mlp(self, layer: int, attended: PackedRows) -> AtAnswers:
        """The same if the MLP of `layer` reads `attended`, in blocks that are not parallel."""
        attended = self._needed(layer + 1, attended)
        x = self._with_mlp(self.weights.blocks[layer], attended, attended)
        return self._layers(layer + 1, x)

    def _layers(self, first: int, x: PackedRows) -> AtAnswers:
        for layer in range(first, len(self.weights.blocks)):
            block = self.weights.blocks[layer]
            mixed = self._mixed(layer, block, x) if _mixes(block) else 0
            if layer == self._last_mixing:
                x = self._needed(layer + 1, x)
            x = self._with_mlp(block, x, x + mixed)
        return x

    def _needed(self, first: int, x: PackedRows) -> Float[Tensor, "state needed d_model"]:
        """The rows of `x` that layers from `first` on need."""
        return x if first <= self._last_mixing else x.index_select(1, self.rows.answers)

    def _with_mlp(self, block: Block, residual: PackedRows, attended: PackedRows) -> PackedRows:
        """What a block writes, from the stream before its parts and after its mixing ones."""
        if block.mlp is None:
            return attended
        return attended + run_mlp(block, residual if self.weights.parallel else attended)

    def _mixed(
        self, layer: int, block: Block, x: PackedRows
    ) -> Float[Tensor, "state needed d_model"]:
        """What heads and mixer write for `x`, at the rows that later layers need."""
        at = self.rows.answer_index if layer == self._last_mixing else self.rows.index
        written = []
        if block.attn is not None:
            z = self._mixed_values(layer, block, x)
            of_heads = write_mixed(block, z.flatten(2, 3).index_select(2, at).permute(1, 2, 0, 3))
            written.append(of_heads if block.attn.b_o is None else of_heads + block.attn.b_o)
        if block.mixer is not None:
            stream = run_mixer(block, self.rows.unpack(x, self.clean.mixers[layer]))
            written.append(stream.flatten(1, 2).index_select(1, at))
        return written[0] if len(written) == 1 else written[0] + written[1]

    def _mixed_values(
        self, layer: int, block: Block, x: PackedRows
    ) -> Float[Tensor, "head state batch pos d_v"]:
        attn, (n_states, n_rows) = block.attention, x.shape[:2]
        parts = project_groups(attn, normalise(x, block.norm_attn).flatten(0, 1)[None])
        slots: Slots = {}
        for slot, rest in self.clean_slots(layer).items():
            changed = parts[slot].unflatten(1, (n_states, n_rows))
            slots[slot] = self.rows.unpack(changed, rest).flatten(1, 2)
        z = mix_groups(attn, slots, visible_keys(attn, self.rows.pos, x.device))
        return z.unflatten(1, (n_states, -1))

    def clean_slots(self, layer: int) -> Slots:
        """The queries of every head and the keys and values of every key/value head, clean."""
        if layer not in self._slots:
            block = self.weights.blocks[layer]
            x = normalise(self.clean.heads[layer], block.norm_attn)
            parts = project_groups(block.attention, x.flatten(0, 1)[None])
            self._slots[layer] = {
                slot: part.unflatten(1, x.shape[:2]) for slot, part in parts.items()
            }
        return self._slots[layer]


def _mixes(block: Block) -> bool:
    """Whether some part of a block reads other positions than the one it writes at."""
    return block.attn is not None or block.mixer is not None
