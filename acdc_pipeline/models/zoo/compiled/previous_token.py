"""A head that looks one position back, and the positions it compares."""

from __future__ import annotations

from acdc_pipeline.models.zoo.compiled.builder import SHARP, Builder, into_head
from acdc_pipeline.models.zoo.compiled.codes import signs


def neighbour_widths(n_ctx: int) -> dict[str, int]:
    """The subspaces that `embed_neighbours` writes."""
    width = signs(n_ctx).shape[1]
    return {"position": width, "position_before": width}


def embed_neighbours(builder: Builder) -> None:
    """Write each position's number, and the number of the one before; before the first is none."""
    codes = signs(builder.shape.n_ctx)
    before = codes.roll(1, dims=0)
    before[0] = 0
    builder.embed_positions("position", codes)
    builder.embed_positions("position_before", before)


def add_previous_token_head(
    builder: Builder, layer: int, head: int, *, reads: str, writes: str
) -> None:
    """The head looks one position back and carries what `reads` holds there into `writes`."""
    width = builder.shape.residual.widths["position"]
    builder.read(layer, head, "q", "position_before", into_head(width, SHARP))
    builder.read(layer, head, "k", "position", into_head(width, SHARP))
    builder.carry(layer, head, reads, writes)
