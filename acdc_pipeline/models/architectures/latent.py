"""Multi-head latent attention: DeepSeek V2 and V3, and the models that follow them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from acdc_pipeline.models.architectures.base import MAX_ROTARY_POSITIONS
from acdc_pipeline.models.architectures.dense import Ministral3
from acdc_pipeline.models.architectures.layout import ModuleArchitecture


class DeepseekV2(ModuleArchitecture):
    """Latent attention; mixtures and shared experts after the first layers."""

    class_name = "DeepseekV2ForCausalLM"
    title = "DeepSeek V2"

    def latent_interleaved(self, config: Any) -> bool:
        return True

    def rotary_tables(self, bridge: Any) -> Iterable[tuple[Any, Any]]:
        import torch

        positions = min(int(bridge.config.max_position_embeddings), MAX_ROTARY_POSITIONS)
        probe = torch.zeros(1, positions, 1)
        turns = bridge.model.rotary_emb(probe, torch.arange(positions)[None])[0]
        tables = [torch.cat([part, part], -1) for part in (turns.real, turns.imag)]
        return [(tables[0], tables[1])] * len(bridge.model.layers)


class DeepseekV3(ModuleArchitecture):
    """Latent attention; mixtures with groups of experts after the first layers."""

    class_name = "DeepseekV3ForCausalLM"
    title = "DeepSeek V3"


class _SparseLatent(ModuleArchitecture):
    """Latent attention; an indexer keeps the `index_topk` best keys of a query.

    A prompt of at most that many tokens keeps all of them, whatever the indexer reads; longer ones
    are refused, as beyond the positions of the model.
    """

    def count_positions(self, config: Any) -> int:
        return min(super().count_positions(config), int(config.index_topk))

    def latent_interleaved(self, config: Any) -> bool:
        return True


class DeepseekV32(_SparseLatent):
    """Latent attention with an indexer of keys; only prompts of at most `index_topk` tokens."""

    class_name = "DeepseekV32ForCausalLM"
    title = "DeepSeek V3.2"


class GlmMoeDsa(_SparseLatent):
    """Latent attention with an indexer of keys; only prompts of at most `index_topk` tokens."""

    class_name = "GlmMoeDsaForCausalLM"
    title = "GLM-5"


class Mistral4(DeepseekV3, Ministral3):
    """Latent attention whose queries grow with the logarithm of their position; mixtures."""

    class_name = "Mistral4ForCausalLM"
    title = "Mistral 4"
    window_from = "attention"


class Glm4MoeLite(ModuleArchitecture):
    """Latent attention; mixtures and a shared expert in some layers."""

    class_name = "Glm4MoeLiteForCausalLM"
    title = "GLM-4.7 Flash"


class AxK1(ModuleArchitecture):
    """Latent attention; mixtures, with a norm after them, in some layers."""

    class_name = "AXK1ForCausalLM"
    title = "A.X K1"


class Youtu(ModuleArchitecture):
    """Latent attention with dense MLPs."""

    class_name = "YoutuForCausalLM"
    title = "Youtu"


class MiniCpm3(ModuleArchitecture):
    """Latent attention with dense MLPs; constant factors on embeddings, outputs and logits."""

    class_name = "MiniCPM3ForCausalLM"
    title = "MiniCPM 3"

    def output_scale(self, config: Any) -> float:
        return float(config.scale_depth) / float(config.num_hidden_layers) ** 0.5

    def logit_scale(self, config: Any) -> float:
        return 1.0 / float(config.logits_scaling)


ARCHITECTURES = (
    DeepseekV2,
    DeepseekV3,
    DeepseekV32,
    GlmMoeDsa,
    Mistral4,
    Glm4MoeLite,
    AxK1,
    Youtu,
    MiniCpm3,
)
