"""Values of a `config.json` that libraries would take for others, or fail over without a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acdc_pipeline.errors import InvalidInput, with_suggestion

LAYERS = ("n_layers", "num_hidden_layers", "n_layer", "num_layers")
HEADS = ("n_heads", "num_attention_heads", "n_head", "num_heads")
WIDTH = ("d_model", "hidden_size", "n_embd")
VOCABULARY = ("d_vocab", "vocab_size")
HEAD_WIDTH = ("d_head", "head_dim")
HIDDEN = ("d_mlp", "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")

_OTHER_SIZES = (
    "d_head",
    "head_dim",
    "n_ctx",
    "n_positions",
    "max_position_embeddings",
    "intermediate_size",
    "num_key_value_heads",
    "n_key_value_heads",
)
# Far above any model's: a slip of the hand here would be planned for until memory ends.
_MOST_LAYERS = 10_000
_MOST = 2**31 - 1

_SIZES = (*LAYERS, *HEADS, *WIDTH, *VOCABULARY, *_OTHER_SIZES)

# Hugging Face families each have a name of their own for it.
_ACTIVATIONS = ("activation_function", "hidden_act", "hidden_activation", "activation")


def size_of(config: Mapping[str, Any], where: str, names: tuple[str, ...]) -> int:
    """The size that `config` gives under one of `names`.

    Raises:
        InvalidInput: it gives none, or something that is no size.
    """
    for name in names:
        if config.get(name) is not None:
            return _size(config, where, name)
    raise InvalidInput(f"has none of {', '.join(names)}", where=where)


def size_if_given(config: Mapping[str, Any], where: str, names: tuple[str, ...]) -> int | None:
    """`size_of`, but None where `config` gives none. Raises InvalidInput."""
    given = tuple(name for name in names if config.get(name) is not None)
    return size_of(config, where, given) if given else None


def check_sizes(config: Mapping[str, Any], where: str) -> None:
    """Raises InvalidInput for the first size in `config` that is no whole number from 1."""
    for name in _SIZES:
        if config.get(name) is not None:
            _size(config, where, name)


def check_hugging_face(config: Mapping[str, Any], architecture: str, where: str) -> None:
    """Refuse a `config.json` that transformers would read as another model, or cannot read.

    Raises:
        InvalidInput: `model_type` is that of another architecture; no such activation.
    """
    _check_model_type(config, architecture, where)
    _check_activation(config, where)


def _size(config: Mapping[str, Any], where: str, name: str) -> int:
    value = config[name]
    most = _MOST_LAYERS if name in LAYERS else _MOST
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidInput(
            f"{value!r} is not a size",
            where=where,
            field=name,
            allowed=f"a whole number from 1 to {most:,}",
        )
    return value


def _check_model_type(config: Mapping[str, Any], architecture: str, where: str) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    # transformers goes by the model_type, whatever the architecture says.
    classes: Mapping[str, Any] = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    kind = config.get("model_type")
    built = classes.get(kind) if isinstance(kind, str) else None
    if architecture not in (built if isinstance(built, tuple | list) else (built,)):
        fitting = sorted(name for name, made in classes.items() if made == architecture)
        raise InvalidInput(
            f"{kind!r} is not the model_type of {architecture}, which 'architectures' names",
            where=where,
            field="model_type",
            allowed=", ".join(fitting) or None,
            fix="use the config.json that was saved together with the weights",
        )


def _check_activation(config: Mapping[str, Any], where: str) -> None:
    from transformers.activations import ACT2FN

    for field in _ACTIVATIONS:
        value = config.get(field)
        if value is not None and value not in ACT2FN:
            raise InvalidInput(
                f"{value!r} is not an activation",
                where=where,
                field=field,
                allowed=with_suggestion(", ".join(sorted(ACT2FN)), str(value), ACT2FN),
            )
