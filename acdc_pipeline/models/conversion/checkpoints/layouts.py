"""The layouts that are known: what common training code writes.

Only facts of the published code stand here: names, shapes, and what the code fixes.
"""

from __future__ import annotations

from acdc_pipeline.models.conversion.checkpoints.forms import (
    heads_transposed,
    same,
    split_bias,
    split_fused_bias,
    split_fused_columns,
    split_fused_rows,
    split_output,
    split_output_columns,
    split_rows,
    transposed,
    without_batch,
)
from acdc_pipeline.models.conversion.checkpoints.layout import Layout, Rule

_TL_BUFFERS = (
    r"blocks\.\d+\.attn\.(?:mask|IGNORE|rotary_sin|rotary_cos|causal_mask)"
    r"|(?:.*\.)?hook_\w+(?:\..*)?"
)
_TL_SAME = (
    Rule(r"blocks\.%d\.(ln[12]\.[wb])", r"blocks.\1.\2", same),
    Rule(r"blocks\.%d\.attn\.(b_[QKVO])", r"blocks.\1.attn.\2", same),
    Rule(r"blocks\.%d\.attn\._(b_[KV])", r"blocks.\1.attn.\2", same),
    Rule(r"blocks\.%d\.mlp\.(b_in|b_out)", r"blocks.\1.mlp.\2", same),
    Rule(r"(ln_final\.[wb]|unembed\.b_U)", r"\1", same),
)

TRANSFORMER_LENS = Layout(
    name="transformer-lens",
    title="HookedTransformer of TransformerLens, and code with its names (ARENA)",
    rules=(
        *_TL_SAME,
        Rule(r"(embed\.W_E|pos_embed\.W_pos|unembed\.W_U)", r"\1", same),
        Rule(r"blocks\.%d\.attn\._?(W_[QKVO])", r"blocks.\1.attn.\2", same),
        Rule(r"blocks\.%d\.mlp\.(W_in|W_out|W_gate)", r"blocks.\1.mlp.\2", same),
    ),
    buffers=_TL_BUFFERS,
)

EASY_TRANSFORMER = Layout(
    name="easy-transformer",
    title="EasyTransformer, before TransformerLens: every matrix transposed",
    rules=(
        *_TL_SAME,
        Rule(r"(embed\.W_E|pos_embed\.W_pos|unembed\.W_U)", r"\1", transposed),
        Rule(r"blocks\.%d\.attn\.(W_[QKVO])", r"blocks.\1.attn.\2", heads_transposed),
        Rule(r"blocks\.%d\.mlp\.(W_in|W_out)", r"blocks.\1.mlp.\2", transposed),
    ),
    buffers=_TL_BUFFERS,
)

GROKKING = Layout(
    name="grokking",
    title="the grokking notebooks of Nanda et al. 2023 (progress measures)",
    rules=(
        Rule(r"embed\.W_E", "embed.W_E", transposed),
        Rule(r"(pos_embed\.W_pos|unembed\.W_U)", r"\1", same),
        Rule(r"blocks\.%d\.attn\.(W_[QKV])", r"blocks.\1.attn.\2", heads_transposed),
        Rule(r"blocks\.%d\.attn\.W_O", r"blocks.\1.attn.W_O", split_output),
        Rule(r"blocks\.%d\.mlp\.(W_in|W_out)", r"blocks.\1.mlp.\2", transposed),
        Rule(r"blocks\.%d\.mlp\.(b_in|b_out)", r"blocks.\1.mlp.\2", same),
    ),
    buffers=_TL_BUFFERS,
    assumed={"normalization_type": None},
    activation="relu in the published runs",
)

_GPT_NORMS = (
    Rule(r"(?:transformer\.)?h\.%d\.ln_([12])\.weight", r"blocks.\1.ln\2.w", same),
    Rule(r"(?:transformer\.)?h\.%d\.ln_([12])\.bias", r"blocks.\1.ln\2.b", same),
    Rule(r"(?:transformer\.)?ln_f\.weight", "ln_final.w", same),
    Rule(r"(?:transformer\.)?ln_f\.bias", "ln_final.b", same),
    Rule(r"(?:transformer\.)?wte\.weight", "embed.W_E", same),
    Rule(r"(?:transformer\.)?wpe\.weight", "pos_embed.W_pos", same),
    Rule(r"lm_head\.weight", "unembed.W_U", transposed),
    Rule(r"lm_head\.bias", "unembed.b_U", same),
    Rule(r"(?:transformer\.)?h\.%d\.attn\.c_attn\.bias", r"blocks.\1.attn.b_*", split_fused_bias),
    Rule(r"(?:transformer\.)?h\.%d\.attn\.c_proj\.bias", r"blocks.\1.attn.b_O", same),
    Rule(r"(?:transformer\.)?h\.%d\.mlp\.c_fc\.bias", r"blocks.\1.mlp.b_in", same),
    Rule(r"(?:transformer\.)?h\.%d\.mlp\.c_proj\.bias", r"blocks.\1.mlp.b_out", same),
)
_GPT_BUFFERS = r"(?:transformer\.)?h\.\d+\.attn\.(?:bias|masked_bias)"

NANO_GPT = Layout(
    name="nanogpt",
    title="nanoGPT, and minGPT since 2022",
    rules=(
        *_GPT_NORMS,
        Rule(
            r"(?:transformer\.)?h\.%d\.attn\.c_attn\.weight",
            r"blocks.\1.attn.W_*",
            split_fused_rows,
        ),
        Rule(r"(?:transformer\.)?h\.%d\.attn\.c_proj\.weight", r"blocks.\1.attn.W_O", split_output),
        Rule(r"(?:transformer\.)?h\.%d\.mlp\.c_fc\.weight", r"blocks.\1.mlp.W_in", transposed),
        Rule(r"(?:transformer\.)?h\.%d\.mlp\.c_proj\.weight", r"blocks.\1.mlp.W_out", transposed),
    ),
    buffers=_GPT_BUFFERS,
    needs_n_heads=True,
    assumed={"normalization_type": "LN"},
    activation="gelu in nanoGPT since 2023, gelu_new before and in minGPT",
    tied=True,
)

GPT2 = Layout(
    name="gpt2",
    title="GPT-2 of Hugging Face, saved without its config.json",
    rules=(
        *_GPT_NORMS,
        Rule(
            r"(?:transformer\.)?h\.%d\.attn\.c_attn\.weight",
            r"blocks.\1.attn.W_*",
            split_fused_columns,
        ),
        Rule(
            r"(?:transformer\.)?h\.%d\.attn\.c_proj\.weight",
            r"blocks.\1.attn.W_O",
            split_output_columns,
        ),
        Rule(r"(?:transformer\.)?h\.%d\.mlp\.c_fc\.weight", r"blocks.\1.mlp.W_in", same),
        Rule(r"(?:transformer\.)?h\.%d\.mlp\.c_proj\.weight", r"blocks.\1.mlp.W_out", same),
    ),
    buffers=_GPT_BUFFERS,
    needs_n_heads=True,
    assumed={"normalization_type": "LN"},
    activation="gelu_new unless its config.json says otherwise",
    tied=True,
)


def _linear_attention(block: str, names: tuple[str, str, str]) -> tuple[Rule, ...]:
    """Rules for queries, keys and values of one Linear each."""
    return tuple(
        Rule(rf"{block}{name}\.{part}", rf"blocks.\1.attn.{letter}_{slot}", form)
        for name, slot in zip(names, "QKV", strict=True)
        for part, letter, form in (("weight", "W", split_rows), ("bias", "b", split_bias))
    )


_BLOCK_NORMS = (
    Rule(r"blocks\.%d\.ln([12])\.weight", r"blocks.\1.ln\2.w", same),
    Rule(r"blocks\.%d\.ln([12])\.bias", r"blocks.\1.ln\2.b", same),
    Rule(r"ln_f\.weight", "ln_final.w", same),
    Rule(r"ln_f\.bias", "ln_final.b", same),
)

MIN_GPT_2020 = Layout(
    name="mingpt-2020",
    title="minGPT of 2020 and code derived from it (Othello-GPT)",
    rules=(
        *_BLOCK_NORMS,
        *_linear_attention(r"blocks\.%d\.attn\.", ("query", "key", "value")),
        Rule(r"tok_emb\.weight", "embed.W_E", same),
        Rule(r"pos_emb", "pos_embed.W_pos", without_batch),
        Rule(r"blocks\.%d\.attn\.proj\.weight", r"blocks.\1.attn.W_O", split_output),
        Rule(r"blocks\.%d\.attn\.proj\.bias", r"blocks.\1.attn.b_O", same),
        Rule(r"blocks\.%d\.mlp\.0\.weight", r"blocks.\1.mlp.W_in", transposed),
        Rule(r"blocks\.%d\.mlp\.0\.bias", r"blocks.\1.mlp.b_in", same),
        Rule(r"blocks\.%d\.mlp\.2\.weight", r"blocks.\1.mlp.W_out", transposed),
        Rule(r"blocks\.%d\.mlp\.2\.bias", r"blocks.\1.mlp.b_out", same),
        Rule(r"head\.weight", "unembed.W_U", transposed),
        Rule(r"head\.bias", "unembed.b_U", same),
    ),
    buffers=r"blocks\.\d+\.attn\.mask",
    needs_n_heads=True,
    assumed={"normalization_type": "LN"},
    activation="gelu",
)

GPT_LECTURE = Layout(
    name="gpt-lecture",
    title="gpt.py of the lecture 'Let's build GPT' (ng-video-lecture): one module per head",
    rules=(
        *_BLOCK_NORMS,
        Rule(r"token_embedding_table\.weight", "embed.W_E", same),
        Rule(r"position_embedding_table\.weight", "pos_embed.W_pos", same),
        *(
            Rule(
                rf"blocks\.%d\.sa\.heads\.%d\.{name}\.weight",
                rf"blocks.\1.attn.W_{s}#\2",
                transposed,
            )
            for name, s in (("query", "Q"), ("key", "K"), ("value", "V"))
        ),
        Rule(r"blocks\.%d\.sa\.proj\.weight", r"blocks.\1.attn.W_O", split_output),
        Rule(r"blocks\.%d\.sa\.proj\.bias", r"blocks.\1.attn.b_O", same),
        Rule(r"blocks\.%d\.ffwd\.net\.0\.weight", r"blocks.\1.mlp.W_in", transposed),
        Rule(r"blocks\.%d\.ffwd\.net\.0\.bias", r"blocks.\1.mlp.b_in", same),
        Rule(r"blocks\.%d\.ffwd\.net\.2\.weight", r"blocks.\1.mlp.W_out", transposed),
        Rule(r"blocks\.%d\.ffwd\.net\.2\.bias", r"blocks.\1.mlp.b_out", same),
        Rule(r"lm_head\.weight", "unembed.W_U", transposed),
        Rule(r"lm_head\.bias", "unembed.b_U", same),
    ),
    buffers=r"blocks\.\d+\.sa\.heads\.\d+\.tril",
    assumed={"normalization_type": "LN"},
    activation="relu",
)

LAYOUTS = (
    TRANSFORMER_LENS,
    EASY_TRANSFORMER,
    GROKKING,
    NANO_GPT,
    GPT2,
    MIN_GPT_2020,
    GPT_LECTURE,
)
