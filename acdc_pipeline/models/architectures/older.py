"""Decoders of the years before Llama: BLOOM, MPT, GPT-BigCode, CodeGen, XGLM, BioGPT, CTRL, ..."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from acdc_pipeline.models.architectures.base import MAX_ROTARY_POSITIONS, RefusedValue
from acdc_pipeline.models.architectures.layout import ModuleArchitecture

_CROSS_ATTENTION = RefusedValue(
    "add_cross_attention", True, "cross-attention has a second residual stream"
)


class Bloom(ModuleArchitecture):
    """ALiBi in place of positions; a norm of the embedding."""

    class_name = "BloomForCausalLM"
    aliases = ("BloomModel",)
    title = "BLOOM"
    refused_values = (
        RefusedValue(
            "apply_residual_connection_post_layernorm",
            True,
            "its norms act on the residual stream, which is then no sum of outputs",
        ),
    )
    layers = "transformer.h"
    embedding = "transformer.word_embeddings"
    final_norm = "transformer.ln_f"
    rotary = ""
    context_fields = ()
    attention = "self_attention"
    qkv = "query_key_value"
    qkv_split = "heads"
    o = "dense"

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return bridge.transformer.word_embeddings_layernorm(weight)

    def score_scale(self, attention: Any) -> float:
        return float(attention.inv_norm_factor)

    def activation_name(self, config: Any, bridge_config: Any = None) -> str:
        return "bloom"  # a formula of its own, with a rounded constant

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        import torch
        from transformers.models.bloom.modeling_bloom import build_alibi_tensor

        every = torch.ones(1, MAX_ROTARY_POSITIONS, dtype=torch.long)
        biases = build_alibi_tensor(every, attention.num_heads, attn.w_q.dtype)
        return replace(attn, alibi=biases[:, 0])

    def finish_block(self, block: Any, layer: Any, config: Any) -> Any:
        from torch import nn

        from acdc_pipeline.models.architectures.reading.mlps import read_token_module

        # Its own MLP adds the residual stream to what it writes.
        mlp = layer.mlp
        whole = nn.Sequential(mlp.dense_h_to_4h, mlp.gelu_impl, mlp.dense_4h_to_h)
        feature = "gelu tanh MLPs"
        return replace(block, mlp=replace(read_token_module(whole, self, config), feature=feature))


class Mpt(ModuleArchitecture):
    """ALiBi in place of positions; LayerNorms without biases; queries may be clipped."""

    class_name = "MptForCausalLM"
    aliases = ("MPTForCausalLM",)
    title = "MPT"
    layers = "transformer.blocks"
    embedding = "transformer.wte"
    final_norm = "transformer.norm_f"
    rotary = ""
    context_fields = ("max_seq_len",)
    attention = "attn"
    attn_norm = "norm_1"
    mlp_norm = "norm_2"
    mlp = "ffn"
    qkv = "Wqkv"
    o = "out_proj"

    def score_scale(self, attention: Any) -> float:
        return float(attention.softmax_scale)

    def clip(self, config: Any) -> float | None:
        clip = config.attn_config.clip_qkv
        return float(clip) if clip else None

    def activation_name(self, config: Any, bridge_config: Any = None) -> str:
        return "gelu"

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

        positions = min(int(config.max_seq_len), MAX_ROTARY_POSITIONS)
        biases = build_mpt_alibi_tensor(attention.n_heads, positions)
        return replace(attn, alibi=biases[:, 0].to(attn.w_q.dtype))


class GptBigCode(ModuleArchitecture):
    """GPT-2 with one key and value for all heads (StarCoder)."""

    class_name = "GPTBigCodeForCausalLM"
    title = "GPT-BigCode (StarCoder)"
    refused_values = (_CROSS_ATTENTION,)
    layers = "transformer.h"
    embedding = "transformer.wte"
    positions = "transformer.wpe"
    rotary = ""
    final_norm = "transformer.ln_f"
    context_fields = ("n_positions",)
    attention = "attn"
    attn_norm = "ln_1"
    mlp_norm = "ln_2"
    qkv = "c_attn"
    o = "c_proj"
    up = "c_fc"
    down = "c_proj"

    def count_kv_heads(self, config: Mapping[str, Any], n_heads: int) -> int:
        return 1 if config.get("multi_query", True) else n_heads

    def slot_projections(self, attention: Any, config: Any) -> Any:
        from acdc_pipeline.models.architectures.reading.slots import split_fused

        if attention.multi_query:
            return None
        fused, heads = attention.c_attn, attention.num_heads
        weights = split_fused(fused.weight, "heads", heads, heads)
        biases = split_fused(fused.bias[:, None], "heads", heads, heads)
        return {
            slot: (weight, bias[:, 0])
            for slot, weight, bias in zip("qkv", weights, biases, strict=True)
        }


class CodeGen(ModuleArchitecture):
    """Parallel blocks with one norm; adjacent dimensions of a part of each head rotate."""

    class_name = "CodeGenForCausalLM"
    title = "CodeGen"
    refused_values = (
        RefusedValue("rotary_dim", None, "rotary tables wider than a head are not reproduced"),
    )
    rotary_pairs = "adjacent"
    layers = "transformer.h"
    embedding = "transformer.wte"
    final_norm = "transformer.ln_f"
    context_fields = ("n_positions",)
    attention = "attn"
    attn_norm = "ln_1"
    mlp_norm = ""
    o = "out_proj"
    up = "fc_in"
    down = "fc_out"

    def is_parallel(self, config: Mapping[str, Any]) -> bool:
        return True

    def score_scale(self, attention: Any) -> float:
        return 1.0 / float(attention.scale_attn)

    def slot_projections(self, attention: Any, config: Any) -> Any:
        # Four blocks of heads, each with its queries, values and keys in this order.
        weight = attention.qkv_proj.weight
        blocks = weight.reshape(4, 3, -1, weight.shape[1])
        parts = {"q": blocks[:, 0], "k": blocks[:, 2], "v": blocks[:, 1]}
        return {slot: (part.reshape(-1, weight.shape[1]), None) for slot, part in parts.items()}

    def rotary_tables(self, bridge: Any) -> Iterable[tuple[Any, Any]]:
        for layer in bridge.transformer.h:
            table = layer.attn.embed_positions[:MAX_ROTARY_POSITIONS]
            sin, cos = table.repeat_interleave(2, dim=-1).chunk(2, dim=-1)
            yield cos, sin


class _Fairseq(ModuleArchitecture):
    """The names of Fairseq's decoders, whose positions begin at row 2."""

    rotary = ""
    attn_norm = "self_attn_layer_norm"
    mlp_norm = "final_layer_norm"
    o = "out_proj"
    mlp = "."
    up = "fc1"
    down = "fc2"


class Xglm(_Fairseq):
    """Sinusoids as positions."""

    class_name = "XGLMForCausalLM"
    title = "XGLM"
    refused_values = (_CROSS_ATTENTION,)
    final_norm = "model.layer_norm"

    def position_table(self, model: Any) -> Any:
        return model.model.embed_positions.weights[2 : 2 + model.config.max_position_embeddings]


class BioGpt(_Fairseq):
    """Learned positions."""

    class_name = "BioGptForCausalLM"
    title = "BioGPT"
    layers = "biogpt.layers"
    embedding = "biogpt.embed_tokens"
    positions = "biogpt.embed_positions"
    position_offset = 2
    final_norm = "biogpt.layer_norm"
    unembedding = "output_projection"


class GptNeoXJapanese(ModuleArchitecture):
    """GPT-NeoX without biases but one, in the last layer's attention."""

    class_name = "GPTNeoXJapaneseForCausalLM"
    title = "GPT-NeoX Japanese"
    layers = "gpt_neox_japanese.layers"
    embedding = "gpt_neox_japanese.embed_in"
    rotary = "gpt_neox_japanese.rotary_emb"
    final_norm = "gpt_neox_japanese.final_layer_norm"
    unembedding = "embed_out"
    attention = "attention"
    qkv = "query_key_value"
    qkv_split = "heads"
    o = "dense"
    up = "dense_h_to_4h"
    down = "dense_4h_to_h"

    def score_scale(self, attention: Any) -> float:
        return 1.0 / float(attention.norm_factor)

    def finish_attention(self, attn: Any, attention: Any, config: Any) -> Any:
        return replace(attn, b_o=attention.dense_bias)


class Ctrl(ModuleArchitecture):
    """Sinusoids as positions; embeddings times the root of their width."""

    class_name = "CTRLLMHeadModel"
    title = "CTRL"
    layers = "transformer.h"
    embedding = "transformer.w"
    rotary = ""
    final_norm = "transformer.layernorm"
    context_fields = ("n_positions",)
    attention = "multi_head_attention"
    attn_norm = "layernorm1"
    mlp_norm = "layernorm2"
    mlp = "ffn"
    q = "Wq"
    k = "Wk"
    v = "Wv"
    o = "dense"
    up = "0"
    down = "2"

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        return weight * weight.shape[1] ** 0.5

    def position_table(self, model: Any) -> Any:
        return model.transformer.pos_encoding

    def activation_name(self, config: Any, bridge_config: Any = None) -> str:
        return "relu"


class Persimmon(ModuleArchitecture):
    """LayerNorms of queries and keys; squared ReLUs; rotation of a part of each head."""

    class_name = "PersimmonForCausalLM"
    title = "Persimmon"
    final_norm = "model.final_layernorm"
    qkv = "query_key_value"
    qkv_split = "heads"
    o = "dense"
    q_norm = "q_layernorm"
    k_norm = "k_layernorm"
    up = "dense_h_to_4h"
    down = "dense_4h_to_h"

    def count_kv_heads(self, config: Mapping[str, Any], n_heads: int) -> int:
        return n_heads


ARCHITECTURES = (
    Bloom,
    Mpt,
    GptBigCode,
    CodeGen,
    Xglm,
    BioGpt,
    GptNeoXJapanese,
    Ctrl,
    Persimmon,
)
