"""Classes of the years before Llama."""

from __future__ import annotations

from typing import Any

from tests.every_class.tiny import GROUPED, PARTIAL_ROTARY, ROTARY, SIZES, TOKENS, TinyModel
from tests.hugging_face_models import POSITIONS
from tests.oracles.hugging_face_parts import Family, Layer

_GPT2: dict[str, Any] = {
    **TOKENS,
    "n_layer": 2,
    "n_head": 4,
    "n_embd": 16,
    "n_positions": POSITIONS,
}
_FAIRSEQ = {"self_attn_layer_norm": "a", "final_layer_norm": "m"}
_FALCON: dict[str, Any] = {
    **TOKENS,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 16,
    "ffn_hidden_size": 24,
    "max_position_embeddings": POSITIONS,
    "bias": True,
    "rope_parameters": ROTARY,
}

OLDER: tuple[TinyModel, ...] = (
    TinyModel(
        "BloomForCausalLM",
        {**TOKENS, "n_layer": 2, "n_head": 3, "hidden_size": 18},
        Family(
            Layer(
                writes={"mlp.dense_4h_to_h": "m"},
                output="self_attention.dense",
                split="_reshape",
            ),
            "transformer.h",
            "transformer.ln_f",
        ),
    ),
    TinyModel(
        "MptForCausalLM",
        {
            **TOKENS,
            "n_layers": 2,
            "n_heads": 3,
            "d_model": 18,
            "max_seq_len": POSITIONS,
            "attn_config": {"clip_qkv": 0.8, "softmax_scale": 0.7},
        },
        Family(
            Layer(
                reads={"norm_1": "a", "norm_2": "m"},
                writes={"ffn.down_proj": "m"},
                output="attn.out_proj",
                projections=("Wqkv",),
            ),
            "transformer.blocks",
            "transformer.norm_f",
        ),
    ),
    TinyModel(
        "GPTBigCodeForCausalLM",
        {**_GPT2, "multi_query": True},
        Family(
            Layer(reads={"ln_1": "a", "ln_2": "m"}, output="attn.c_proj"),
            "transformer.h",
            "transformer.ln_f",
        ),
    ),
    TinyModel(
        "CodeGenForCausalLM",
        {**_GPT2, "rotary_dim": 2},
        Family(
            Layer(reads={"ln_1": "am"}, output="attn.out_proj", method="_attn"),
            "transformer.h",
            "transformer.ln_f",
        ),
    ),
    TinyModel(
        "XGLMForCausalLM",
        {
            **TOKENS,
            "num_layers": 2,
            "attention_heads": 4,
            "d_model": 16,
            "ffn_dim": 24,
            "max_position_embeddings": POSITIONS,
        },
        Family(
            Layer(
                reads=_FAIRSEQ,
                writes={"fc2": "m"},
                output="self_attn.out_proj",
                projections=("k_proj", "v_proj"),
            ),
            final="model.layer_norm",
        ),
        dtype="float32",  # its mask cannot be made in float64
    ),
    TinyModel(
        "BioGptForCausalLM",
        SIZES,
        Family(
            Layer(reads=_FAIRSEQ, writes={"fc2": "m"}, output="self_attn.out_proj"),
            "biogpt.layers",
            "biogpt.layer_norm",
        ),
    ),
    TinyModel(
        "GPTNeoXJapaneseForCausalLM",
        {**SIZES, "intermediate_multiple_size": 2, "rope_parameters": PARTIAL_ROTARY},
        Family(
            Layer(output="attention.dense", method="_attn"),
            "gpt_neox_japanese.layers",
            "gpt_neox_japanese.final_layer_norm",
        ),
    ),
    TinyModel(
        "CTRLLMHeadModel",
        {**_GPT2, "dff": 24},
        Family(
            Layer(
                reads={"layernorm1": "a", "layernorm2": "m"},
                writes={"ffn": "m"},
                output="multi_head_attention.dense",
            ),
            "transformer.h",
            "transformer.layernorm",
        ),
    ),
    TinyModel(
        "PersimmonForCausalLM",
        {**GROUPED, "qk_layernorm": True, "rope_parameters": PARTIAL_ROTARY},
        Family(Layer(output="self_attn.dense"), final="model.final_layernorm"),
    ),
    # The layouts of 40B, 11B and 1B; TransformerLens reads that of 7B.
    TinyModel(
        "FalconForCausalLM",
        {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2},
        Family(
            Layer(
                reads={"ln_attn": "a", "ln_mlp": "m"},
                output="self_attention.dense",
                split="_split_heads",
                parallel=True,
            ),
            "transformer.h",
            "transformer.ln_f",
        ),
        attention="sdpa",
    ),
    TinyModel(
        "FalconForCausalLM",
        {
            **_FALCON,
            "new_decoder_architecture": True,
            "num_kv_heads": 1,
            "num_ln_in_parallel_attn": 1,
        },
        Family(
            Layer(
                reads={"input_layernorm": "am"},
                output="self_attention.dense",
                split="_split_heads",
            ),
            "transformer.h",
            "transformer.ln_f",
        ),
        attention="sdpa",
    ),
    TinyModel(
        "FalconForCausalLM",
        {**_FALCON, "alibi": True, "multi_query": False, "parallel_attn": False},
        Family(
            Layer(output="self_attention.dense", split="_split_heads"),
            "transformer.h",
            "transformer.ln_f",
        ),
        attention="sdpa",
    ),
    TinyModel(
        "OPTForCausalLM",
        {**SIZES, "ffn_dim": 24, "word_embed_proj_dim": 6},
        Family(
            Layer(
                reads={"self_attn_layer_norm": "a", "final_layer_norm": "m"},
                writes={"fc2": "m"},
                output="self_attn.out_proj",
            ),
            "model.decoder.layers",
            "model.decoder.final_layer_norm",
        ),
        threshold=0.005,
    ),
)
