"""What a model's files are, part by part, so that a change of them can be named."""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue

from acdc_pipeline.specs.base import Spec

DIGITS = 12
"""Hex digits of sha256 that are kept of a part."""


class Fingerprint(Spec):
    """The parts of a model that decide its outputs.

    Args:
        revision: changes whenever any part does.
        config: `config.json` without what reaches no output.
        tokenizer: a digest of the tokenizer's files; None where there are none, or where the
            revision is a commit of the hub.
        tokenizer_settings: what says beside those files how text becomes tokens; None where nobody
            looked: in baselines of earlier versions, and where the revision is a commit of the hub.
        tensors: a digest of each tensor's shape, type and bytes; empty where the revision is a
            commit of the hub, which names the weights by itself.
        heads: a digest of each head's own weights (`head_digests.with_heads`); empty where nobody
            asked for them.
    """

    revision: str
    config: dict[str, Any]
    tokenizer: str | None
    tensors: dict[str, str]
    tokenizer_settings: dict[str, JsonValue] | None = None
    heads: dict[str, str] = Field(default_factory=dict)
