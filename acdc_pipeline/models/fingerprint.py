"""Digests of the parts of a model, with which a change can be named."""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue

from acdc_pipeline.specs.base import Spec

DIGITS = 12
"""Length of a digest: hex digits of a sha256."""

CONFIG_WITHOUT_INFLUENCE = frozenset(
    {
        "_name_or_path",
        "transformers_version",
        "dtype",
        "torch_dtype",
        "use_cache",
        "initializer_range",
        "attn_pdrop",
        "embd_pdrop",
        "resid_pdrop",
        "attention_dropout",
        "hidden_dropout",
    }
)
"""Fields of config.json about the saving or training of a model, without influence on outputs."""


class Fingerprint(Spec):
    """The parts of a model that decide its outputs.

    Args:
        revision: changes whenever any part does; a commit for models of the hub, whose files are
            not hashed.
        config: `config.json` without fields that influence no output.
        tokenizer: digest of the tokenizer's files; None without such files, or on the hub.
        tokenizer_settings: further settings that decide the tokens of a text; None in baselines of
            earlier versions, or on the hub.
        tensors: digest of each tensor's shape, type and bytes; empty on the hub.
        heads: digest of each head's weights; empty unless added by `add_head_digests`.
    """

    revision: str
    config: dict[str, Any]
    tokenizer: str | None
    tensors: dict[str, str]
    tokenizer_settings: dict[str, JsonValue] | None = None
    heads: dict[str, str] = Field(default_factory=dict)
