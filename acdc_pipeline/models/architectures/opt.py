"""Meta's OPT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.models.architectures.base import Architecture, RefusedValue


class Opt(Architecture):
    """Learned positions, ReLU; only with the norms before attention and MLP."""

    class_name = "OPTForCausalLM"
    title = "OPT"
    refused_values = (
        RefusedValue(
            "do_layer_norm_before",
            False,
            "its norms act on the residual stream, which is then no sum of outputs",
        ),
        RefusedValue("_remove_final_layer_norm", True, "it lacks the final norm"),
    )

    def find_refusal(self, config: Mapping[str, Any]) -> str | None:
        reason = super().find_refusal(config)
        width = config.get("hidden_size")
        if reason is None and config.get("word_embed_proj_dim") not in (None, width):
            return "its embeddings are projected to the width of the residual stream"
        return reason


ARCHITECTURES = (Opt,)
