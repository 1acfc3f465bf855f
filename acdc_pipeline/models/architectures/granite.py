"""Granite's mixtures of experts, and Granite with windows; its dense model is in `llama`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from acdc_pipeline.models.architectures.base import MAX_ROTARY_POSITIONS
from acdc_pipeline.models.architectures.layout import ModuleArchitecture


class GraniteMoe(ModuleArchitecture):
    """Granite with a mixture in place of each MLP."""

    class_name = "GraniteMoeForCausalLM"
    title = "Granite MoE"
    mlp = "block_sparse_moe"

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return float(bridge.config.embedding_multiplier) * weight

    def output_scale(self, config: Any) -> float:
        return float(config.residual_multiplier)

    def logit_scale(self, config: Any) -> float:
        return 1.0 / float(config.logits_scaling)


class GraniteMoeShared(GraniteMoe):
    """Granite with a mixture, and an MLP that all tokens pass."""

    class_name = "GraniteMoeSharedForCausalLM"
    title = "Granite MoE with a shared expert"
    shared_mlp = "shared_mlp"


class GraniteMoeSwa(GraniteMoeShared):
    """Sinks, windows in most layers, and a rotary base of each layer, or none."""

    class_name = "GraniteMoeSWAForCausalLM"
    title = "Granite MoE with windows"

    def rotary_tables(self, bridge: Any) -> Iterable[tuple[Any, Any] | None]:
        import torch

        positions = min(int(bridge.config.max_position_embeddings), MAX_ROTARY_POSITIONS)
        probe, at = torch.zeros(1, positions, 1), torch.arange(positions)[None]
        tables = {}
        for module in bridge.model.rotary_embs:
            cos, sin = module(probe, at)
            tables[module.config.rope_parameters["rope_theta"]] = (cos[0], sin[0])
        return [tables[theta] if theta else None for theta in bridge.config.layer_rope_theta]


class GraniteSwa(GraniteMoeSwa):
    """Sinks, windows in most layers, and a rotary base of each layer, or none."""

    class_name = "GraniteSWAForCausalLM"
    title = "Granite with windows"
    mlp = "mlp"
    shared_mlp = ""


ARCHITECTURES = (GraniteMoe, GraniteMoeShared, GraniteSwa, GraniteMoeSwa)
