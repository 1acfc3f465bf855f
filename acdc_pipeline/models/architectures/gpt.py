"""GPT-2 and EleutherAI's models: GPT-Neo, GPT-J and GPT-NeoX (Pythia)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from acdc_pipeline.models.architectures.base import MAX_ROTARY_POSITIONS, Architecture, RefusedValue


class Gpt2(Architecture):
    """Learned positions and a fused QKV projection."""

    class_name = "GPT2LMHeadModel"
    title = "GPT-2"
    refused_values = (
        RefusedValue("add_cross_attention", True, "cross-attention has a second residual stream"),
    )


class GptNeo(Architecture):
    """Unscaled attention scores; alternating layers see a window of keys."""

    class_name = "GPTNeoForCausalLM"
    title = "GPT-Neo"

    def score_scale(self, attention: Any) -> float:
        return 1.0

    def window(self, attention: Any) -> int | None:
        return int(attention.config.window_size) if attention.attention_type == "local" else None


class GptJ(Architecture):
    """Parallel blocks; each layer holds its own table of sines and cosines."""

    class_name = "GPTJForCausalLM"
    title = "GPT-J"
    refused_values = (
        RefusedValue("rotary_dim", None, "rotary tables wider than a head are not reproduced"),
    )
    rotary_pairs = "adjacent"

    def is_parallel(self, config: Mapping[str, Any]) -> bool:
        return True

    def score_scale(self, attention: Any) -> float:
        return 1.0 / float(attention.scale_attn)

    def rotary_tables(self, bridge: Any) -> Iterable[tuple[Any, Any]]:
        # A row of a table holds all sines, then all cosines, one of each per pair of dimensions.
        for block in bridge.blocks:
            table = block.attn.original_component.embed_positions[:MAX_ROTARY_POSITIONS]
            sin, cos = table.repeat_interleave(2, dim=-1).chunk(2, dim=-1)
            yield cos, sin


class GptNeoX(Architecture):
    """Parallel blocks unless config.json says otherwise; rotary positions on part of a head."""

    class_name = "GPTNeoXForCausalLM"
    title = "GPT-NeoX (Pythia)"
    parallel_field = ("use_parallel_residual", True)


ARCHITECTURES = (Gpt2, GptNeoX, GptJ, GptNeo)
