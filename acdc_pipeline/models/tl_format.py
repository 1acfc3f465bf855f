"""Model directories in the TransformerLens format: for attention-only and other toy models.

    config.json         the fields of a `TransformerBridgeConfig`, as its `to_dict()` names them
    model.safetensors   embed.W_E [vocab d_model], pos_embed.W_pos [pos d_model],
                        blocks.L.ln1.w/b, blocks.L.attn.W_Q/W_K/W_V [head d_model d_head],
                        b_Q/b_K/b_V [head d_head], W_O [head d_head d_model], b_O [d_model],
                        and without `attn_only`: blocks.L.ln2.w/b, blocks.L.mlp.W_in
                        [d_model d_mlp], b_in, W_out [d_mlp d_model], b_out;
                        ln_final.w/b, unembed.W_U [d_model vocab_out], unembed.b_U [vocab_out]
    tokenizer.json, tokenizer_config.json    optional: prompts are then token ids

`vocab_out` is the field `d_vocab_out`, or `d_vocab` where that is absent.

The directory loads with `TransformerBridge.boot_native(TransformerBridgeConfig.from_dict(config))`
and `convert_tl_checkpoint`; this module itself does not import TransformerLens.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import InvalidInput, UnsupportedModel, suggestion
from acdc_pipeline.models.directory import NATIVE, WEIGHTS_MISMATCH

REQUIRED_FIELDS = (
    "n_layers",
    "d_model",
    "d_head",
    "n_heads",
    "n_ctx",
    "d_vocab",
    "attn_only",
    "normalization_type",
    "positional_embedding_type",
)
# LN carries a scale and a shift, RMS a scale only; the Pre variants and no norm carry nothing.
_NORM_PARTS: dict[str | None, tuple[str, ...]] = {
    "LN": ("w", "b"),
    "RMS": ("w",),
    "LNPre": (),
    "RMSPre": (),
    None: (),
}

# Fields that other programs add, without influence on the outputs.
_IGNORED = frozenset({"architectures", "split_attention_weights", "transformers_version"})


def check_native_config(config: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Refuse a `config.json` with fields that TransformerLens would ignore.

    Args:
        config: fields of the file.
        known: fields that TransformerLens reads.
        where: path of the file.

    Raises:
        UnsupportedModel: a required field is missing, or a value is not part of the format.
        InvalidInput: an unknown field.
    """
    _check_values(config, where)
    for field in config:
        if field not in known and field not in _IGNORED:
            raise InvalidInput(
                f"unknown key{suggestion(field, known)}",
                where=where,
                field=field,
                fix="use a field of TransformerBridgeConfig, or remove it",
            )


def _check_values(config: Mapping[str, Any], where: str) -> None:
    missing = [field for field in REQUIRED_FIELDS if field not in config]
    if missing:
        raise UnsupportedModel(
            f"missing {', '.join(missing)}",
            where=where,
            allowed=f"a TransformerBridgeConfig with {', '.join(REQUIRED_FIELDS)}",
        )
    norm = config["normalization_type"]
    if norm not in _NORM_PARTS:
        raise UnsupportedModel(
            f"{norm!r} is not a normalization of this format",
            where=where,
            field="normalization_type",
            allowed=", ".join(name or "null" for name in _NORM_PARTS),
        )
    if config["positional_embedding_type"] not in ("standard", "rotary"):
        raise UnsupportedModel(
            f"{config['positional_embedding_type']!r} positions have no tensors in this format",
            where=where,
            field="positional_embedding_type",
            allowed="rotary, standard (for a model without positions: W_pos of zeros)",
        )


def expected_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor in a model of this config.

    Raises:
        UnsupportedModel: a required field is missing, or a value is not part of the format.
    """
    _check_values(config, "config.json")
    norm = config["normalization_type"]
    d_model, d_head = config["d_model"], config["d_head"]
    heads, vocab = config["n_heads"], config["d_vocab"]
    vocab_out = vocab if config.get("d_vocab_out") in (None, -1) else config["d_vocab_out"]
    kv_heads = config.get("n_key_value_heads") or heads
    d_mlp = config.get("d_mlp") or 4 * d_model
    shapes: dict[str, tuple[int, ...]] = {"embed.W_E": (vocab, d_model)}
    if config["positional_embedding_type"] == "standard":
        shapes["pos_embed.W_pos"] = (config["n_ctx"], d_model)
    for layer in range(config["n_layers"]):
        block = f"blocks.{layer}"
        shapes |= {f"{block}.ln1.{part}": (d_model,) for part in _NORM_PARTS[norm]}
        for slot, n in zip("QKV", (heads, kv_heads, kv_heads), strict=True):
            shapes[f"{block}.attn.W_{slot}"] = (n, d_model, d_head)
            shapes[f"{block}.attn.b_{slot}"] = (n, d_head)
        shapes[f"{block}.attn.W_O"] = (heads, d_head, d_model)
        shapes[f"{block}.attn.b_O"] = (d_model,)
        if not config["attn_only"]:
            shapes |= {f"{block}.ln2.{part}": (d_model,) for part in _NORM_PARTS[norm]}
            shapes[f"{block}.mlp.W_in"] = (d_model, d_mlp)
            shapes[f"{block}.mlp.W_out"] = (d_mlp, d_model)
            if config.get("gated_mlp"):
                shapes[f"{block}.mlp.W_gate"] = (d_model, d_mlp)
            else:
                shapes[f"{block}.mlp.b_in"] = (d_mlp,)
                shapes[f"{block}.mlp.b_out"] = (d_model,)
    shapes |= {f"ln_final.{part}": (d_model,) for part in _NORM_PARTS[norm]}
    shapes["unembed.W_U"] = (d_model, vocab_out)
    shapes["unembed.b_U"] = (vocab_out,)
    return shapes


def check_tensors(config: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str) -> None:
    """Refuse tensors that are not exactly those of `config`.

    Raises:
        InvalidInput: a tensor is missing, superfluous, or of another shape.
    """
    shapes = expected_shapes(config)
    missing = sorted(shapes.keys() - tensors.keys())
    extra = sorted(tensors.keys() - shapes.keys())
    if missing or extra:
        parts = [f"missing {', '.join(missing)}"] if missing else []
        parts += [f"not part of this config: {', '.join(extra)}"] if extra else []
        raise InvalidInput("; ".join(parts), where=where, allowed="the names in models/tl_format")
    check_shapes(config, tensors, where)


def check_shapes(config: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise InvalidInput for a tensor whose shape differs from that in `config`."""
    for name, shape in expected_shapes(config).items():
        if name in tensors and tuple(tensors[name].shape) != shape:
            raise InvalidInput(
                f"has the shape {list(tensors[name].shape)} in the weights",
                where=where,
                field=name,
                allowed=f"{list(shape)}, as config.json requires",
                fix=WEIGHTS_MISMATCH,
            )


def save_tl_directory(
    path: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    tokenizer: PreTrainedTokenizerBase | None,
) -> None:
    """Write a TransformerLens-format directory; tensors keep their dtype.

    Without a tokenizer the prompts of the model are token ids.

    Raises:
        InvalidInput: the tensors do not fit `config`.
    """
    check_tensors(config, tensors, where=str(path))
    path.mkdir(parents=True, exist_ok=True)
    fields = {"architecture": NATIVE, **config}
    contiguous = {name: tensors[name].detach().contiguous() for name in expected_shapes(config)}
    save_file(contiguous, path / "model.safetensors", metadata={"format": "pt"})
    if tokenizer is not None:
        tokenizer.save_pretrained(path)
    (path / "config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
