"""The untrained models of the zoo, and access to their parts for training."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

from benchmarks.zoo.attention_only import AttentionOnly, AttentionOnlyConfig
from benchmarks.zoo.recipe import Recipe

ZooModel = PreTrainedModel | AttentionOnly


@dataclass(frozen=True)
class Parts:
    """Parts of a model that training uses separately, as few positions need logits."""

    embedding: Tensor
    unembedding: nn.Linear
    matrices: list[nn.Parameter]
    others: list[nn.Parameter]


def build(recipe: Recipe, *, vocab: int, bos: int) -> ZooModel:
    """Return the model of `recipe` with fresh weights, drawn from torch's global generator.

    Three choices save most of the training time. The outputs of blocks start at zero, so that
    blocks first read the embedding alone. Untied input and output embeddings start equal, so that
    copying a token, the last step of every task of the zoo, needs no search for a common code.
    Learned positions start as sinusoids, so that "one position back" is the same linear map
    everywhere.
    """
    model = _build(recipe, vocab=vocab, bos=bos)
    parts = cut(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(_WRITERS[recipe.architecture]):
                parameter.zero_()
        parts.unembedding.weight.copy_(parts.embedding)
        if isinstance(model, GPT2LMHeadModel):
            positions = model.transformer.wpe.weight
            positions.copy_(sinusoids(recipe.n_ctx, recipe.d_model))
        if isinstance(model, OPTForCausalLM):
            places = model.model.decoder.embed_positions
            # The first rows of its table belong to no position.
            table = sinusoids(recipe.n_ctx, recipe.d_model)
            places.weight[places.offset :].copy_(table)
        if recipe.architecture in ("gpt_neox", "llama"):
            parts.embedding.add_(normalize(torch.randn(recipe.d_model), dim=0))
    return model


_WRITERS: dict[str, tuple[str, ...]] = {
    "gpt2": ("c_proj.weight",),
    "gpt_neox": ("attention.dense.weight", "mlp.dense_4h_to_h.weight"),
    "llama": ("o_proj.weight", "down_proj.weight"),
    "opt": ("self_attn.out_proj.weight", "fc2.weight"),
    "attention_only": ("out.weight",),
    "no_positions": ("out.weight",),
}


_POSITION_TABLES = ("wpe", "pos_embed", "embed_positions")
"""Names of tables of learned positions."""


def sinusoids(positions: int, width: int) -> Tensor:
    """Return a nearly orthogonal row of norm 1 per position, with frequencies evenly up to pi."""
    rates = (torch.arange(width // 2) + 0.5) * math.pi / (width // 2)
    angles = torch.arange(positions)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1) * (2 / width) ** 0.5


def cut(model: ZooModel) -> Parts:
    """Return the embedding tables, and the parameters grouped by optimiser."""
    if isinstance(model, AttentionOnly):
        embedding, unembedding = model.embed.weight, model.unembed
    else:
        embedding = model.get_input_embeddings().weight
        unembedding = model.get_output_embeddings()
    assert isinstance(embedding, Tensor)
    assert isinstance(unembedding, nn.Linear)
    tables = {id(embedding), id(unembedding.weight)}
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        inside_block = parameter.ndim == 2 and id(parameter) not in tables
        is_matrix = inside_block and not any(table in name for table in _POSITION_TABLES)
        (matrices if is_matrix else others).append(parameter)
    return Parts(embedding, unembedding, matrices, others)


def hidden(model: ZooModel, tokens: Tensor) -> Tensor:
    """Return the input of the unembedding at every position."""
    if isinstance(model, AttentionOnly):
        return model.hidden(tokens)
    return _final(model.base_model, tokens)


def hidden_after_first_block(model: ZooModel, tokens: Tensor) -> Tensor:
    """Return the input of the unembedding if the model had only its first block."""
    if isinstance(model, AttentionOnly):
        return model.hidden(tokens, n_blocks=1)
    base: Any = model.base_model
    # A second view of the same parameters: shallow copies share everything but the block list.
    shallow = copy.copy(base)
    shallow.config = copy.copy(base.config)
    shallow.config.num_hidden_layers = 1
    blocks = "h" if model.config.model_type == "gpt2" else "layers"
    shallow._modules = {**base._modules, blocks: base.get_submodule(blocks)[:1]}
    return _final(shallow, tokens)


def _final(base: nn.Module, tokens: Tensor) -> Tensor:
    return base(input_ids=tokens, use_cache=False).last_hidden_state


def _build(recipe: Recipe, *, vocab: int, bos: int) -> ZooModel:
    # 1/sqrt(d_model): rows of the embedding have norm 1, so that tied logits start near unit size.
    deviation = recipe.d_model**-0.5
    match recipe.architecture:
        case "gpt2":
            return GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=vocab,
                    n_positions=recipe.n_ctx,
                    n_embd=recipe.d_model,
                    n_layer=recipe.n_layers,
                    n_head=recipe.n_heads,
                    resid_pdrop=0.0,
                    embd_pdrop=0.0,
                    attn_pdrop=0.0,
                    initializer_range=deviation,
                    bos_token_id=bos,
                    eos_token_id=bos,
                )
            )
        case "gpt_neox":
            return GPTNeoXForCausalLM(
                GPTNeoXConfig(
                    vocab_size=vocab,
                    max_position_embeddings=recipe.n_ctx,
                    hidden_size=recipe.d_model,
                    num_hidden_layers=recipe.n_layers,
                    num_attention_heads=recipe.n_heads,
                    intermediate_size=4 * recipe.d_model,
                    rope_parameters={
                        "rope_type": "default",
                        "rope_theta": recipe.rotary_base,
                        "partial_rotary_factor": 0.25,
                    },
                    use_parallel_residual=True,
                    tie_word_embeddings=False,
                    initializer_range=deviation,
                    bos_token_id=bos,
                    eos_token_id=bos,
                )
            )
        case "llama":
            return LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=vocab,
                    max_position_embeddings=recipe.n_ctx,
                    hidden_size=recipe.d_model,
                    num_hidden_layers=recipe.n_layers,
                    num_attention_heads=recipe.n_heads,
                    rope_parameters={"rope_type": "default", "rope_theta": recipe.rotary_base},
                    num_key_value_heads=recipe.n_heads // 2,
                    intermediate_size=3 * recipe.d_model,
                    tie_word_embeddings=False,
                    initializer_range=deviation,
                    bos_token_id=bos,
                    eos_token_id=bos,
                )
            )
        case "opt":
            return OPTForCausalLM(
                OPTConfig(
                    vocab_size=vocab,
                    max_position_embeddings=recipe.n_ctx,
                    hidden_size=recipe.d_model,
                    word_embed_proj_dim=recipe.d_model,
                    num_hidden_layers=recipe.n_layers,
                    num_attention_heads=recipe.n_heads,
                    ffn_dim=4 * recipe.d_model,
                    dropout=0.0,
                    attention_dropout=0.0,
                    layerdrop=0.0,
                    init_std=deviation,
                    pad_token_id=None,
                    bos_token_id=bos,
                    eos_token_id=bos,
                )
            )
        case "attention_only" | "no_positions":
            positions = "rotary" if recipe.architecture == "attention_only" else "none"
            return AttentionOnly(
                AttentionOnlyConfig(
                    n_layers=recipe.n_layers,
                    n_heads=recipe.n_heads,
                    d_model=recipe.d_model,
                    d_head=recipe.d_head,
                    n_ctx=recipe.n_ctx,
                    vocab=vocab,
                    positions=positions,
                )
            )
