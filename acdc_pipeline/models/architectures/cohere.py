"""Cohere's Command R."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.models.architectures.base import Architecture


class Cohere(Architecture):
    """Parallel blocks with one norm, adjacent dimensions rotate together, logits are scaled."""

    class_name = "CohereForCausalLM"
    title = "Cohere (Command R)"
    rotary_pairs = "adjacent"
    layer_norm_modules = frozenset({"CohereLayerNorm"})

    def is_parallel(self, config: Mapping[str, Any]) -> bool:
        return True

    def logit_scale(self, config: Any) -> float:
        return float(config.logit_scale)


ARCHITECTURES = (Cohere,)
