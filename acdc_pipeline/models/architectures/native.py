"""Models in the TransformerLens format, which load as a native `TransformerBridge`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from acdc_pipeline.models.architectures.base import Architecture, positive_or_none
from acdc_pipeline.models.directory import NATIVE


class Native(Architecture):
    """Attention-only or with MLPs, with any norm, positions, direction and cap of the format."""

    class_name = NATIVE
    title = "TransformerLens native"
    rotary_pairs = "adjacent"
    layer_norm_modules = frozenset({"NativeLayerNormPre"})

    def find_refusal(self, config: Mapping[str, Any]) -> str | None:
        if config.get("parallel_attn_mlp"):
            return "TransformerLens native ignores parallel_attn_mlp, so its own output is wrong"
        if self.has_mlp(config) and str(config.get("act_fn")).startswith("solu"):
            return "SoLU activations are not reproduced"
        return super().find_refusal(config)

    def count_kv_heads(self, config: Mapping[str, Any], n_heads: int) -> int:
        return int(config.get("n_key_value_heads") or n_heads)

    def has_mlp(self, config: Mapping[str, Any]) -> bool:
        return not config.get("attn_only")

    def logit_cap(self, config: Any) -> float | None:
        return positive_or_none(config.output_logits_soft_cap)

    def score_scale(self, attention: Any) -> float:
        return 1.0 / float(attention.scale)

    def score_cap(self, attention: Any) -> float | None:
        return positive_or_none(attention.attn_scores_soft_cap)

    def rotary_tables(self, bridge: Any) -> Iterable[tuple[Any, Any]]:
        table = bridge.original_model.rotary
        return [(table.cos_cached, table.sin_cached)] * len(bridge.blocks)


ARCHITECTURES = (Native,)
