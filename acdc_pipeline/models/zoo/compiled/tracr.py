"""Convert transformers that Tracr compiled from RASP programs into model directories.

Tracr (Lindner et al. 2023, arXiv 2301.05062) comes with the extra `tracr`. Its models have no
normalisation and, by default, no causal mask; their weights are kept. Only the unembedding is
replaced, since Tracr's gives values instead of logits.
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
"""Default names of special tokens in Tracr."""

LOGIT = 32.0
"""Scale of the logits of a categorical output: 1 for the right value, 0 for the others."""

SHARPNESS = 2.0**15
"""Scale of a numerical output: nats per squared distance of a value."""


@dataclass(frozen=True)
class TracrModel:
    """A compiled program in the TransformerLens format.

    Args:
        config: fields of its `TransformerBridgeConfig`.
        tensors: float32 weights under TransformerLens names.
        vocabulary: tokens in id order: special ones, inputs of the program, further outputs.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    vocabulary: tuple[str, ...]


def from_tracr(assembled: Any, output: str, values: tuple[Fraction, ...] = ()) -> TracrModel:
    """Convert an `AssembledTransformerModel` of Tracr to the TransformerLens format.

    Args:
        assembled: result of `compile_rasp_to_model` with default names of the special tokens.
        output: name of the program's output, as in `sop.named(output)`.
        values: possible values of a numerical output: each becomes a token, and the nearest one
            is the most probable.

    Raises:
        InvalidInput: nothing in the residual stream is called `output`.
    """
    inputs = [v for v in assembled.input_encoder.encoding_map if v not in (TRACR_BOS, TRACR_PAD)]
    words = list(dict.fromkeys([*map(str, inputs), *map(str, values)]))
    directions = _find_directions(assembled.residual_labels, output)
    words += [value for value in directions if value is not None and value not in words]
    vocabulary = (*SPECIAL, *words)

    shape, params = assembled.model_config, assembled.params
    positions = _tensor(params["pos_embed"]["embeddings"])
    tensors = {
        "embed.W_E": _convert_embedding(assembled, vocabulary),
        "pos_embed.W_pos": positions,
    }
    for layer in range(shape.num_layers):
        tensors |= _convert_layer(params, layer, shape.num_heads, shape.key_size)
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


def _find_directions(labels: list[str], output: str) -> dict[str | None, int]:
    """Return the coordinate of each value of `output`; of None if it is a number.

    Tracr numbers repeated names: `output_7:a`.
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


def _convert_embedding(
    assembled: Any, vocabulary: tuple[str, ...]
) -> Float[Tensor, "vocab d_model"]:
    """Return Tracr's embedding in the order of `vocabulary`, zero for tokens it does not know."""
    rows = _tensor(assembled.params["token_embed"]["embeddings"])
    ids = {str(value): at for value, at in assembled.input_encoder.encoding_map.items()}
    ids |= {SPECIAL[0]: ids[TRACR_BOS], SPECIAL[2]: ids[TRACR_PAD]}
    table = torch.zeros(len(vocabulary), rows.shape[1])
    for at, token in enumerate(vocabulary):
        if token in ids:
            table[at] = rows[ids[token]]
    return table


def _convert_layer(params: Any, layer: int, heads: int, d_head: int) -> dict[str, Tensor]:
    """Return the tensors of one block. Tracr joins the heads of a layer in one matrix."""
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
    """Return an unembedding to logits: categorical, or -SHARPNESS (x - v)² for a number x.

    The quadratic form holds up to a constant. Tokens that are no output have lower logits.
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
