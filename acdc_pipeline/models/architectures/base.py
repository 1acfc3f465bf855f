"""The plain decoder from which every supported architecture is derived."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

# Rotary tables are cut here; the engine refuses longer prompts rather than approximate them.
MAX_ROTARY_POSITIONS = 8192


class RefusedValue(NamedTuple):
    """A value of a field in config.json that is not supported."""

    field: str
    value: Any
    reason: str


class Architecture:
    """A decoder in the layout of Hugging Face's Llama; subclasses override what differs.

    The first group of members reads a `config.json`, the second the modules of a loaded model.
    Neither imports torch, so a model can be described without it.

    Class attributes:
        source: what the weights are read from, a TransformerLens bridge or the modules of the
            Hugging Face model (`ModuleArchitecture`).
        attn_implementation: how transformers computes attention, where the weights are read and
            where logits are compared.
        class_name: entry of `architectures` in config.json.
        aliases: other entries under which models of the class are published.
        title: name in common use.
        refused_values: values in config.json that are not supported.
        parallel_field: field of config.json that puts attention and MLP side by side, and its
            default.
        rotary_pairs: pairing of the dimensions that rotate together, a value of `RotaryPairs`.
        rotary_once: whether the rotary module returns one column per pair of dimensions.
        norm_offset: constant that norms add to their weight.
        norm_eps: epsilon of norms whose module does not hold one.
        layer_norm_modules: class names of LayerNorms other than torch's own.
        rms_norm_modules: class names of RMS norms whose name does not say so.
        head_norm_span: whether a norm of queries or keys spans one head or all heads of a layer.
        norm_after_rotation: whether queries and keys are rotated before their norms.
    """

    source: ClassVar[Literal["bridge", "module"]] = "bridge"
    attn_implementation: ClassVar[str] = "eager"
    class_name: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = ""
    refused_values: ClassVar[tuple[RefusedValue, ...]] = ()
    parallel_field: ClassVar[tuple[str, bool] | None] = None
    rotary_pairs: ClassVar[Literal["halves", "adjacent"]] = "halves"
    rotary_once: ClassVar[bool] = False
    norm_offset: ClassVar[int] = 0
    norm_eps: ClassVar[float | None] = None
    layer_norm_modules: ClassVar[frozenset[str]] = frozenset()
    rms_norm_modules: ClassVar[frozenset[str]] = frozenset()
    norm_after_rotation: ClassVar[bool] = False
    head_norm_span: ClassVar[Literal["head", "layer"]] = "head"

    # Members that read config.json.

    def text_fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the fields of `config.json` that describe the text model."""
        return config

    def variant(self, config: Mapping[str, Any]) -> Architecture:
        """Return the architecture of a model with this `config.json`."""
        return self

    def find_refusal(self, config: Mapping[str, Any]) -> str | None:
        """Return why this `config.json` is refused, or None."""
        for field, value, reason in self.refused_values:
            if field in config and config[field] == value:
                return f"{reason} ({field}: {json.dumps(value)})"
        # Parity would not show it where no value of the prompts is clipped.
        if self.source == "bridge" and config.get("clip_qkv") is not None:
            return "queries, keys and values that are clipped are not reproduced (clip_qkv)"
        return None

    def is_parallel(self, config: Mapping[str, Any]) -> bool:
        """Return whether attention and MLP of a block read the same residual stream."""
        if self.parallel_field is None:
            return False
        field, default = self.parallel_field
        return bool(config.get(field, default))

    def count_kv_heads(self, config: Mapping[str, Any], n_heads: int) -> int:
        """Return the number of key/value heads per layer."""
        return int(config.get("num_key_value_heads") or n_heads)

    def layer_parts(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the letters of each layer's parts, see `Topology`; empty if all are alike.

        With them, `has_mlp` is whether any layer has an MLP.
        """
        return ()

    def has_mlp(self, config: Mapping[str, Any]) -> bool:
        """Return whether blocks have an MLP."""
        return True

    def count_experts(self, config: Mapping[str, Any]) -> tuple[int, int] | None:
        """Return the number of experts in a layer, and of those that process a token."""
        return None

    def text_architecture(self, config: Mapping[str, Any]) -> Architecture:
        """Return the architecture of the text model with these fields."""
        return self

    # Members that load a model, or take one.

    def loaded_class(self, model_class: Any) -> Any:
        """Return the class to load in place of that of transformers."""
        return model_class

    def text_only(self, model: Any) -> Any:
        """Return a transformers model with the same modules, but none that text does not pass."""
        return model

    # Members that read a loaded model: a bridge, its config, or a module of the original model.

    def activation_name(self, config: Any, bridge_config: Any) -> str:
        """Return the library's name of the activation in MLPs."""
        return str(bridge_config.act_fn)

    def scale_embedding(self, weight: Any, bridge: Any) -> Any:
        """Return the token embedding as it enters the residual stream."""
        return weight

    def output_scale(self, config: Any) -> float:
        """Return the factor on what attention and MLP write into the residual stream."""
        return 1.0

    def logit_scale(self, config: Any) -> float:
        """Return the factor on the logits."""
        return 1.0

    def logit_cap(self, config: Any) -> float | None:
        """Return the bound of a soft cap on the logits."""
        return None

    def score_scale(self, attention: Any) -> float:
        """Return the factor on the products of queries and keys."""
        return float(attention.scaling)

    def score_cap(self, attention: Any) -> float | None:
        """Return the bound of a soft cap on attention scores."""
        return None

    def window(self, attention: Any) -> int | None:
        """Return the number of keys that a query sees, itself included; None for all."""
        window = getattr(attention, "sliding_window", None)
        return None if window is None else int(window)

    def rotates(self, attention: Any) -> bool:
        """Return whether the layer applies rotary positions."""
        return True

    def rotary_tables(self, bridge: Any) -> Iterable[tuple[Any, Any] | None] | None:
        """Return cosines and sines per layer; None to obtain them from the rotary module."""
        return None

    def norm_offset_of(self, norm: Any) -> int:
        """Return the constant that a norm adds to its weight."""
        return self.norm_offset

    def head_norm_modules(self, norm: Any) -> Iterable[Any] | None:
        """Return the separate norms of each head; None for one norm shared by all heads."""
        return None


def positive_or_none(value: float | None) -> float | None:
    """Return a cap as a float; None where it is absent or switched off by a value below 0."""
    return float(value) if value is not None and value > 0 else None
