"""Falcon 7B, 40B, 11B and 1B, and models in their layouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from acdc_pipeline.models.architectures.base import Architecture
from acdc_pipeline.models.architectures.layout import ModuleArchitecture


class Falcon(Architecture):
    """Parallel blocks; one key/value head, several, or one for each query head; ALiBi in some."""

    class_name = "FalconForCausalLM"
    title = "Falcon"

    def variant(self, config: Mapping[str, Any]) -> Architecture:
        new, alibi = config.get("new_decoder_architecture"), config.get("alibi")
        if not new and not alibi:
            return self
        # TransformerLens splits neither groups of heads, nor does it add ALiBi.
        if new and config.get("num_ln_in_parallel_attn") in (None, 2):
            return _FalconTwoNorms()
        return _FalconModules() if self.is_parallel(config) else _FalconSequential()

    def is_parallel(self, config: Mapping[str, Any]) -> bool:
        return bool(config.get("new_decoder_architecture") or config.get("parallel_attn", True))

    def count_kv_heads(self, config: Mapping[str, Any], n_heads: int) -> int:
        if config.get("new_decoder_architecture"):
            return int(config.get("num_kv_heads") or n_heads)
        return 1 if config.get("multi_query", True) else n_heads

    def activation_name(self, config: Any, bridge_config: Any) -> str:
        # TransformerLens does not know the field in which Falcon names its activation.
        return str(config.activation)

    def score_scale(self, attention: Any) -> float:
        return float(attention.inv_norm_factor)


class _FalconModules(ModuleArchitecture, Falcon):
    # Eager attention adds ALiBi twice: in its mask, and to the scores.
    attn_implementation = "sdpa"
    layers = "transformer.h"
    embedding = "transformer.word_embeddings"
    rotary = "transformer.rotary_emb"
    final_norm = "transformer.ln_f"
    activation_fields = ("activation",)
    attention = "self_attention"
    mlp_norm = ""
    qkv = "query_key_value"
    qkv_split = "groups"
    o = "dense"
    up = "dense_h_to_4h"
    down = "dense_4h_to_h"

    def rotates(self, attention: Any) -> bool:
        return not attention.config.alibi

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        if not config.alibi:
            return attn
        import torch
        from transformers.models.falcon.modeling_falcon import build_alibi_tensor

        every = torch.ones(1, config.max_position_embeddings, dtype=torch.long)
        biases = build_alibi_tensor(every, attention.num_heads, attn.w_q.dtype)[:, 0]
        return replace(attn, alibi=biases / attention.head_dim**0.5)


class _FalconTwoNorms(_FalconModules):
    attn_norm = "ln_attn"
    mlp_norm = "ln_mlp"


class _FalconSequential(_FalconModules):
    mlp_norm = "post_attention_layernorm"


ARCHITECTURES = (Falcon,)
