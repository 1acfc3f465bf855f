"""Constants that some models multiply embeddings, outputs and logits by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.models.weights import Block


@dataclass(frozen=True)
class Multipliers:
    """What to scale weights by, so that the same function needs no multiplication.

    Args:
        embedding: of the token embedding.
        outputs: of what attention and MLP write into the stream.
        logits: of the logits.
    """

    embedding: float
    outputs: float
    logits: float

    def of_outputs(self, block: Block) -> Block:
        """`block` writing `outputs` times as much."""
        if self.outputs == 1.0:
            return block
        attn, mlp = block.attn, block.mlp
        return replace(
            block,
            attn=replace(attn, w_o=self.outputs * attn.w_o, b_o=self._scaled(attn.b_o)),
            mlp=None
            if mlp is None
            else replace(mlp, w_out=self.outputs * mlp.w_out, b_out=self._scaled(mlp.b_out)),
        )

    def _scaled(self, bias: Float[Tensor, " d_model"] | None) -> Float[Tensor, " d_model"] | None:
        return None if bias is None else self.outputs * bias


def extract_multipliers(config: Any) -> Multipliers:
    """Cohere multiplies logits by `logit_scale`; Granite divides them, and scales the rest too."""
    return Multipliers(
        embedding=_number(config, "embedding_multiplier"),
        outputs=_number(config, "residual_multiplier"),
        logits=_number(config, "logit_scale") / _number(config, "logits_scaling"),
    )


def _number(config: Any, name: str) -> float:
    value = getattr(config, name, None)
    return 1.0 if value is None else float(value)
