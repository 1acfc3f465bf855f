"""Meta's OPT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.models.architectures.base import Architecture, RefusedValue
from acdc_pipeline.models.architectures.layout import ModuleArchitecture


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

    def variant(self, config: Mapping[str, Any]) -> Architecture:
        projected = config.get("word_embed_proj_dim") not in (None, config.get("hidden_size"))
        return _ProjectedOpt() if projected else self


class _ProjectedOpt(ModuleArchitecture, Opt):
    """Embeddings of another width, which linear maps take to the residual stream and back."""

    layers = "model.decoder.layers"
    embedding = "model.decoder.embed_tokens"
    positions = "model.decoder.embed_positions"
    position_offset = 2
    rotary = ""
    final_norm = "model.decoder.final_layer_norm"
    attn_norm = "self_attn_layer_norm"
    mlp_norm = "final_layer_norm"
    o = "out_proj"
    mlp = "."
    up = "fc1"
    down = "fc2"

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return weight @ bridge.model.decoder.project_in.weight.T

    def unembed(self, weight: Any, model: Any) -> Any:
        return model.model.decoder.project_out.weight.T @ weight


ARCHITECTURES = (Opt,)
