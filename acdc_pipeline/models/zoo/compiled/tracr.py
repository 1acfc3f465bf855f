"""Transformers that Tracr compiled from RASP programs, as model directories of this package.

Tracr (Lindner et al. 2023, arXiv 2301.05062) comes with the extra `tracr`. What it compiles has
no normalisation and, unless asked for, no causal mask; its weights are taken over as they are.
Only the unembedding is ours, since Tracr's gives values and not logits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from tokenizers import pre_tokenizers
from torch import Tensor

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.tl_format import save_tl_directory
from acdc_pipeline.models.zoo.tokenizer import SPECIAL, fast, word_level

TRACR_BOS, TRACR_PAD = "compiler_bos", "compiler_pad"
"""What Tracr calls its special tokens unless told otherwise."""

LOGIT = 32.0
"""Scale of the logits of a categorical output: 1 for the right value, 0 for the others."""

SHARPNESS = 2.0**15
"""Of a numerical output: a value v costs this times the square of its distance, in nats."""


@dataclass(frozen=True)
class TracrModel:
    """A compiled program in the TransformerLens format.

    Args:
        config: the fields of its `TransformerBridgeConfig`.
        tensors: float32, under TransformerLens names.
        vocabulary: every token in id order: the special ones, the program's inputs, and those
            of its outputs that are no inputs.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    vocabulary: tuple[str, ...]


def from_tracr(assembled: Any, output: str, values: tuple[Fraction, ...] = ()) -> TracrModel:
    """An `AssembledTransformerModel` of Tracr in the TransformerLens format.

    Args:
        assembled: what `compile_rasp_to_model` returns, with Tracr's own names of the special
            tokens.
        output: the name of the program's output, as in `sop.named(output)`.
        values: for a numerical output, those it can have: each becomes a token, and the nearest
            one is the most probable.

    Raises:
        InvalidInput: nothing in the residual stream is called `output`.
    """
    inputs = [v for v in assembled.input_encoder.encoding_map if v not in (TRACR_BOS, TRACR_PAD)]
    words = list(dict.fromkeys([*map(str, inputs), *map(str, values)]))
    directions = _directions(assembled.residual_labels, output)
    words += [value for value in directions if value is not None and value not in words]
    vocabulary = (*SPECIAL, *words)

    shape, params = assembled.model_config, assembled.params
    positions = _tensor(params["pos_embed"]["embeddings"])
    tensors = {
        "embed.W_E": _embedding(assembled, vocabulary),
        "pos_embed.W_pos": positions,
    }
    for layer in range(shape.num_layers):
        tensors |= _layer(params, layer, shape.num_heads, shape.key_size)
    tensors |= _unembedding(vocabulary, directions, values, positions.shape[1])
    config = {
        "n_layers": shape.num_layers,
        "d_model": positions.shape[1],
        "d_head": shape.key_size,
        "n_heads": shape.num_heads,
        "n_ctx": positions.shape[0],
        "d_vocab": len(vocabulary),
        "d_mlp": shape.mlp_hidden_size,
        "act_fn": "relu",
        "attn_only": False,
        "attention_dir": "causal" if shape.causal else "bidirectional",
        "normalization_type": None,
        "positional_embedding_type": "standard",
        "init_weights": False,
    }
    return TracrModel(config, tensors, vocabulary)


def write_tracr_model(model: TracrModel, directory: Path) -> None:
    """Write a TransformerLens-format directory with a tokenizer that splits at spaces."""
    tokenizer = word_level(model.vocabulary)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    length = model.config["n_ctx"]
    save_tl_directory(directory, model.config, model.tensors, fast(tokenizer, length))


def _directions(labels: list[str], output: str) -> dict[str | None, int]:
    """The coordinate of each value of `output`, or of None where it is a number.

    Tracr numbers names that it has met before: `output_7:a`.
    """
    pattern = re.compile(rf"{re.escape(output)}(?:_\d+)?(?::(?P<value>.*))?")
    matches = {at: pattern.fullmatch(label) for at, label in enumerate(labels)}
    found = {match["value"]: at for at, match in matches.items() if match}
    if not found:
        names = sorted({label.partition(":")[0] for label in labels})
        raise InvalidInput(
            f"nothing in the residual stream is called '{output}'",
            field="output",
            allowed=", ".join(names),
            fix="give the program a name: sop.named(...)",
        )
    return found


def _embedding(assembled: Any, vocabulary: tuple[str, ...]) -> Float[Tensor, "vocab d_model"]:
    """Tracr's embedding in the order of `vocabulary`; a token it does not know is nothing."""
    rows = _tensor(assembled.params["token_embed"]["embeddings"])
    ids = {str(value): at for value, at in assembled.input_encoder.encoding_map.items()}
    ids |= {SPECIAL[0]: ids[TRACR_BOS], SPECIAL[2]: ids[TRACR_PAD]}
    table = torch.zeros(len(vocabulary), rows.shape[1])
    for at, token in enumerate(vocabulary):
        if token in ids:
            table[at] = rows[ids[token]]
    return table


def _layer(params: Any, layer: int, heads: int, d_head: int) -> dict[str, Tensor]:
    """One block. Tracr lays the heads of a layer side by side in one matrix."""
    attn, mlp = (f"transformer/layer_{layer}/{part}" for part in ("attn", "mlp"))
    tensors: dict[str, Tensor] = {}
    for slot, name in zip("QKV", ("query", "key", "value"), strict=True):
        matrix, bias = (_tensor(params[f"{attn}/{name}"][part]) for part in ("w", "b"))
        by_head = matrix.reshape(-1, heads, d_head).transpose(0, 1)
        tensors[f"blocks.{layer}.attn.W_{slot}"] = by_head
        tensors[f"blocks.{layer}.attn.b_{slot}"] = bias.reshape(heads, d_head)
    out = _tensor(params[f"{attn}/linear"]["w"])
    tensors[f"blocks.{layer}.attn.W_O"] = out.reshape(heads, d_head, -1)
    tensors[f"blocks.{layer}.attn.b_O"] = _tensor(params[f"{attn}/linear"]["b"])
    for end, name in (("in", "linear_1"), ("out", "linear_2")):
        tensors[f"blocks.{layer}.mlp.W_{end}"] = _tensor(params[f"{mlp}/{name}"]["w"])
        tensors[f"blocks.{layer}.mlp.b_{end}"] = _tensor(params[f"{mlp}/{name}"]["b"])
    return tensors


def _unembedding(
    vocabulary: tuple[str, ...],
    directions: Mapping[str | None, int],
    values: tuple[Fraction, ...],
    d_model: int,
) -> dict[str, Tensor]:
    """Logits of a categorical output, or, up to a constant, -SHARPNESS (x - v)² of a number x.

    Tokens that are no output of the program stay below those that are.
    """
    matrix = torch.zeros(d_model, len(vocabulary), dtype=torch.float64)
    bias = torch.full((len(vocabulary),), -LOGIT, dtype=torch.float64)
    for value, direction in directions.items():
        if value is not None:
            token = vocabulary.index(value)
            matrix[direction, token], bias[token] = LOGIT, 0.0
    if None in directions:
        bias -= SHARPNESS
        for value in values:
            token = vocabulary.index(str(value))
            matrix[directions[None], token] = 2 * SHARPNESS * float(value)
            bias[token] = -SHARPNESS * float(value) ** 2
    return {"unembed.W_U": matrix.float(), "unembed.b_U": bias.float()}


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32))
