"""One row of tokens, and what every source writes to its residual stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.forward import embed, run_mixer, run_mlp
from acdc_pipeline.graph import head
from acdc_pipeline.graph.node import mixer, mlp
from acdc_pipeline.heads.layer_run import LayerRun, attend
from acdc_pipeline.heads.source_names import BIAS, POSITION, TOKEN
from acdc_pipeline.models.weights import TransformerWeights


@dataclass(frozen=True)
class Written:
    """What some sources write.

    Args:
        layer: the first layer whose heads read it.
        sources: names of nodes, `TOKEN`, `POSITION` or `BIAS`.
    """

    layer: int
    sources: tuple[str, ...]
    outputs: Float[Tensor, "source pos d_model"]


class RowSources:
    """The run of one row of tokens, and what every source writes in it.

    Holds one vector of each position for each layer and kind of node, not for each head. A
    mixture of experts counts as one source.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        tokens: Int[Tensor, " pos"],
        visit: Callable[[LayerRun], None],
    ) -> None:
        """Run the row; `visit` gets each layer that has heads.

        The tensors of a visited layer belong to a batch of one row.
        """
        self._weights = weights
        self._tokens = tokens
        self._heads: dict[int, LayerRun] = {}
        self._others: dict[int, list[tuple[str, Float[Tensor, "pos d_model"]]]] = {}
        stream = embed(weights, tokens[None])
        for layer, block in enumerate(weights.blocks):
            others = self._others.setdefault(layer, [])
            attended = stream
            if block.mixer is not None:
                mixed = run_mixer(block, stream)
                others.append((str(mixer(layer)), mixed[0]))
                attended = attended + mixed
            if block.attn is not None:
                run = attend(weights, layer, stream)
                visit(run)
                attended = run.attended
                # without the matrices, which are read again where they are in files
                self._heads[layer] = replace(run, block=weights.shapes[layer])
                if block.attn.b_o is not None:
                    others.append((BIAS, block.attn.b_o.to(stream.dtype).expand_as(stream[0])))
            after = attended
            if block.mlp is not None:
                written = run_mlp(block, stream if weights.parallel else attended)
                others.append((str(mlp(layer)), written[0]))
                after = attended + written
            stream = after
        self.final: Float[Tensor, "pos d_model"] = stream[0]

    def each(self, stop: int) -> Iterator[Written]:
        """Yield what is written before layer `stop`, the embeddings first."""
        weights, tokens = self._weights, self._tokens
        embedded = weights.w_e[tokens].to(weights.dtype)
        yield Written(0, (TOKEN,), embedded[None])
        if weights.w_pos is not None:
            positions = weights.w_pos[: len(tokens)].to(weights.dtype)
            yield Written(0, (POSITION,), positions[None])
        every = torch.arange(len(tokens), device=tokens.device)
        for layer in range(stop):
            run = self._heads.get(layer)
            if run is not None:
                whole = replace(run, block=weights.blocks[layer])
                outputs = whole.into_stream(run.carried, every)[:, 0]
                names = tuple(str(head(layer, index)) for index in range(len(outputs)))
                yield Written(layer + 1, names, outputs)
            for name, output in self._others[layer]:
                yield Written(layer + 1, (name,), output[None])
