"""Infer the config of a model from its tensors and a few settings, and complete its biases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.models.conversion.checkpoints.attention import (
    fold_scale,
    infer_positions,
    require_causal_masks,
)
from acdc_pipeline.models.conversion.checkpoints.forms import shape_of
from acdc_pipeline.models.conversion.checkpoints.layout import Layout
from acdc_pipeline.models.conversion.checkpoints.settings import (
    ACTIVATIONS,
    ASSUMED,
    FROM_TENSORS,
    NORMALIZATIONS,
    SIZES,
    Setting,
)
from acdc_pipeline.models.tl_format import check_tensors, expected_shapes

_LAYER = re.compile(r"blocks\.(\d+)\.")


@dataclass(frozen=True)
class Inferred:
    """A model in the TransformerLens format.

    Args:
        config: fields of `config.json`.
        tensors: exactly those that `config` requires.
        facts: every field that was decided, with its source.
        filled: biases that were absent and are zero.
        changed: what was done to tensors besides renaming and splitting, one sentence each.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    facts: dict[str, Setting]
    filled: tuple[str, ...]
    changed: tuple[str, ...]


def infer_model(
    layout: Layout,
    renamed: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    settings: Mapping[str, Setting],
) -> Inferred:
    """Return the model of `renamed` tensors, its config inferred and its biases completed.

    Args:
        layout: layout that they come from.
        renamed: parameters under TransformerLens's names.
        buffers: tensors without influence, by their own names; their shapes may tell a size.
        settings: settings by name.

    Raises:
        InvalidInput: tensors do not fit together or contradict a setting, or a setting is missing.
        UnsupportedModel: a feature that the format does not have.
    """
    tensors, changed = _complete_tied(layout, renamed), []
    if "unembed.W_U" not in renamed:
        changed.append("unembed.W_U is embed.W_E transposed: the checkpoint stores no unembedding")
    facts = _infer_sizes(tensors)
    infer_positions(facts, tensors, buffers, settings, changed)
    _infer_normalization(facts, tensors, layout, settings)
    _infer_activation(facts, layout, settings)
    for name, default in (
        ("attention_dir", "causal"),
        ("attn_scores_soft_cap", None),
        ("output_logits_soft_cap", None),
        ("final_rms", None),
    ):
        found = settings.get(name, Setting(default, ASSUMED))
        if found.value is not None:
            facts[name] = found
    _require_agreement(facts, settings)
    if layout.needs_n_heads:
        _name_sources_of_heads(facts, settings)
    if facts["attention_dir"].value == "causal":
        require_causal_masks(buffers)
    if facts["gated_mlp"].value:
        _drop_gated_biases(tensors, changed)
    fold_scale(facts, tensors, settings, changed)
    # the scale is in the queries now
    config = {name: fact.value for name, fact in facts.items() if name != "attn_scale"}
    if config["positional_embedding_type"] == "none":
        config["positional_embedding_type"] = "standard"
    if config["normalization_type"] == "none":
        config["normalization_type"] = None
    if config.pop("rotary_adjacent_pairs", None) is not None:  # they are adjacent now
        config["rotary_base"] = int(config["rotary_base"])
    filled = _fill_biases(config, tensors)
    check_tensors(config, tensors, layout.title)
    return Inferred(config, tensors, facts, filled, tuple(changed))


def require_shapes(layout: Layout, renamed: Mapping[str, Tensor]) -> None:
    """Raise InvalidInput if tensors lack or contradict one another, read as those of `layout`."""
    tensors = _complete_tied(layout, renamed)
    sizes = {name: size.value for name, size in _infer_sizes(tensors).items()}
    learned = "pos_embed.W_pos" in tensors
    config = {
        **sizes,
        "n_ctx": shape_of(tensors, "pos_embed.W_pos", 2)[0] if learned else 1,
        "normalization_type": "LN",  # with every tensor that a norm may have
        "positional_embedding_type": "standard" if learned else "rotary",
    }
    for name, shape in expected_shapes(config).items():
        if name in tensors and tuple(tensors[name].shape) != shape:
            exchanged = (*shape[:-2], *shape[:-3:-1])
            raise InvalidInput(
                f"has the shape {list(tensors[name].shape)}, read as the layout {layout.name}",
                field=name,
                allowed=f"{list(shape)}, which fits the other tensors",
                fix="its last two dimensions are exchanged: store tensor.transpose(-1, -2)"
                if tuple(tensors[name].shape) == exchanged
                else None,
            )


def _complete_tied(layout: Layout, renamed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with the unembedding of a layout that may store it only once."""
    if layout.tied and "unembed.W_U" not in renamed and "embed.W_E" in renamed:
        return {**renamed, "unembed.W_U": renamed["embed.W_E"].T}
    return dict(renamed)


def _infer_sizes(tensors: Mapping[str, Tensor]) -> dict[str, Setting]:
    layers = {int(match[1]) for name in tensors if (match := _LAYER.match(name))}
    d_vocab, d_model = shape_of(tensors, "embed.W_E", 2)
    n_heads = shape_of(tensors, "blocks.0.attn.W_Q", 3)[0]
    kv_heads = shape_of(tensors, "blocks.0.attn.W_K", 3)[0]
    d_vocab_out = shape_of(tensors, "unembed.W_U", 2)[1]
    attn_only = not any(".mlp." in name for name in tensors)
    sizes: dict[str, Any] = {
        "n_layers": max(layers) + 1,
        "n_heads": n_heads,
        "d_model": d_model,
        "d_head": _head_width(tensors, d_model),
        "d_vocab": d_vocab,
    }
    if kv_heads != n_heads:
        sizes["n_key_value_heads"] = kv_heads
    if d_vocab_out != d_vocab:
        sizes["d_vocab_out"] = d_vocab_out
    sizes["attn_only"] = attn_only
    sizes["gated_mlp"] = "blocks.0.mlp.W_gate" in tensors
    if not attn_only:
        sizes["d_mlp"] = shape_of(tensors, "blocks.0.mlp.W_in", 2)[1]
    return {name: Setting(value, FROM_TENSORS) for name, value in sizes.items()}


def _head_width(tensors: Mapping[str, Tensor], d_model: int) -> int:
    """Return the width of heads that most matrices have, so that a single wrong one is named."""
    widths = Counter(
        tensor.shape[2]
        for name, tensor in tensors.items()
        if re.search(r"attn\.W_[QKV]$", name) and tensor.dim() == 3 and tensor.shape[1] == d_model
    )
    if not widths:
        return shape_of(tensors, "blocks.0.attn.W_Q", 3)[2]
    return widths.most_common(1)[0][0]


def _name_sources_of_heads(facts: dict[str, Setting], settings: Mapping[str, Setting]) -> None:
    """Name what decided the heads of a layout that stores them side by side."""
    given, other = ("n_heads", "d_head") if "n_heads" in settings else ("d_head", "n_heads")
    facts[given] = Setting(facts[given].value, settings[given].source)
    source = settings[other].source if other in settings else f"{given} and the tensors"
    facts[other] = Setting(facts[other].value, source)


def _infer_normalization(
    facts: dict[str, Setting],
    tensors: Mapping[str, Tensor],
    layout: Layout,
    settings: Mapping[str, Setting],
) -> None:
    name = "normalization_type"
    scaled, shifted = "blocks.0.ln1.w" in tensors, "blocks.0.ln1.b" in tensors
    given = settings.get(name)
    usual = layout.assumed.get(name, ...)
    if scaled:
        # A scale alone is an RMS norm, unless the layout has LayerNorms, whose bias may be off.
        kind = "LN" if shifted or usual == "LN" else "RMS"
        found = Setting(kind, FROM_TENSORS)
        if given is not None and given.value == "LN":
            found = given
    elif given is not None:
        found = given
    elif usual is None:
        found = Setting("none", ASSUMED)
    else:
        raise InvalidInput(
            "the checkpoint holds no weights of norms, so it has none, or norms without weights",
            field=name,
            allowed=", ".join(NORMALIZATIONS),
            fix="give --normalization none, or LNPre, which TransformerLens's models have "
            "unless they were made otherwise",
        )
    facts[name] = found
    if found.value != "none":
        facts["eps"] = settings.get("eps", Setting(1e-5, ASSUMED))


def _infer_activation(
    facts: dict[str, Setting], layout: Layout, settings: Mapping[str, Setting]
) -> None:
    if facts["attn_only"].value:
        given = settings.get("act_fn")
        unused = "" if given is None else f" (no MLPs: {given.value} of {given.source} is unused)"
        facts["act_fn"] = Setting(None, FROM_TENSORS + unused)
        return
    if "act_fn" not in settings:
        usual = f" ({layout.activation})" if layout.activation else ""
        raise InvalidInput(
            "tensors do not tell the activation of the MLPs",
            field="act_fn",
            allowed=", ".join(ACTIVATIONS),
            fix=f"give it with --act-fn{usual}; gelu is exact, gelu_new its tanh approximation",
        )
    facts["act_fn"] = settings["act_fn"]


def _require_agreement(facts: Mapping[str, Setting], settings: Mapping[str, Setting]) -> None:
    """Refuse settings that contradict what the tensors tell."""
    # Configs hold a width of MLPs also for models without them, and of the output's vocabulary
    # also where both are the same.
    absent = {"d_vocab_out": facts["d_vocab"], "n_key_value_heads": facts["n_heads"]}
    checked = (*SIZES, "attn_only", "gated_mlp", "normalization_type", "positional_embedding_type")
    for name in checked:
        fact = facts.get(name, absent.get(name))
        given = settings.get(name)
        if fact is None or given is None or given.value == fact.value:
            continue
        raise InvalidInput(
            f"{given.value} ({given.source}) contradicts the tensors, which have {fact.value}",
            field=name,
            fix=f"correct {name}, in --config if the checkpoint itself says so, or check that "
            "these are the weights of this model",
        )


def _drop_gated_biases(tensors: dict[str, Tensor], changed: list[str]) -> None:
    """Remove biases of gated MLPs, which the format does not have, if they are zero."""
    for name in [n for n in tensors if re.search(r"mlp\.b_(?:in|out)$", n)]:
        if bool(tensors[name].any()):
            raise UnsupportedModel(
                "biases of gated MLPs are not part of the TransformerLens format", field=name
            )
        del tensors[name]
        changed.append(f"{name} is left out: it is zero")


def _fill_biases(config: Mapping[str, Any], tensors: dict[str, Tensor]) -> tuple[str, ...]:
    """Add zeros for every kind of bias that no layer has, and return their names."""
    kinds = {_LAYER.sub("", name) for name in tensors}
    like, filled = tensors["embed.W_E"], []
    for name, shape in expected_shapes(config).items():
        kind = _LAYER.sub("", name)
        if kind not in kinds and re.search(r"\.b(?:_[A-Za-z]+)?$", name):
            tensors[name] = like.new_zeros(shape)
            filled.append(name)
    return tuple(filled)
