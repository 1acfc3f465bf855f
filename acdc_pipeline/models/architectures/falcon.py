"""Falcon 7B and models in its layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.models.architectures.base import Architecture, RefusedValue


class Falcon(Architecture):
    """Parallel blocks with a single key/value head, unless config.json says otherwise."""

    class_name = "FalconForCausalLM"
    title = "Falcon"
    refused_values = (
        RefusedValue("alibi", True, "ALiBi position biases are not reproduced"),
        RefusedValue(
            "new_decoder_architecture", True, "TransformerLens cannot split its fused projections"
        ),
    )
    parallel_field = ("parallel_attn", True)

    def count_kv_heads(self, config: Mapping[str, Any], n_heads: int) -> int:
        return 1 if config.get("multi_query", True) else n_heads

    def activation_name(self, config: Any, bridge_config: Any) -> str:
        # TransformerLens does not know the field in which Falcon names its activation.
        return str(config.activation)

    def score_scale(self, attention: Any) -> float:
        return float(attention.inv_norm_factor)


ARCHITECTURES = (Falcon,)
