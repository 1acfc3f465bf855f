"""Where heads look on a few prompts, and on their counterfactuals as a control."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.graph import Node
from acdc_pipeline.heads.layer_run import LayerRun, run_tokens
from acdc_pipeline.heads.token_texts import token_texts
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.prompts import PromptSet

Side = Literal["clean", "corrupted"]

PROMPTS = 2
"""Prompts that are shown, from different templates where there are several."""

MOST_HEADS = 48
"""Heads whose patterns are kept: those with a role first, then those of the largest effects."""

LONGEST = 32
"""Positions of a pattern: of longer prompts, the last ones."""


@dataclass(frozen=True)
class PatternExamples:
    """Attention of some heads on the same few texts.

    Args:
        texts: the tokens of each text from `start` on, and what it is.
        patterns: for each head, its attention on each text.
    """

    texts: tuple[PatternText, ...]
    patterns: dict[Node, tuple[Float[Tensor, "_ _"], ...]]

    def plain(self) -> dict[str, Any]:
        """As JSON data; a pattern is one byte an entry, 255 for 1, row by row, in base64."""
        return {
            "texts": [text.plain() for text in self.texts],
            "patterns": {
                str(node): [_bytes(pattern) for pattern in patterns]
                for node, patterns in self.patterns.items()
            },
        }


@dataclass(frozen=True)
class PatternText:
    """One text: `start` counts the tokens in front that are not shown."""

    side: Side
    prompt: int
    start: int
    tokens: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "side": self.side,
            "prompt": self.prompt,
            "start": self.start,
            "tokens": list(self.tokens),
        }


def pattern_examples(
    weights: TransformerWeights,
    prompts: PromptSet,
    nodes: Sequence[Node],
    tokenizer: PreTrainedTokenizerBase | None,
) -> PatternExamples:
    """The attention of `nodes` on a few of `prompts`, clean and corrupted."""
    chosen = _chosen(prompts)
    texts: list[PatternText] = []
    patterns: dict[Node, list[Tensor]] = {node: [] for node in nodes}
    for index in chosen:
        length = int(prompts.lengths[index])
        start = max(0, length - LONGEST)
        sides: dict[Side, Tensor] = {"clean": prompts.clean, "corrupted": prompts.corrupted}
        for side, tokens in sides.items():
            ids = tokens[index, :length]
            shown = token_texts(tokenizer, ids[start:].tolist())
            texts.append(PatternText(side, index, start, tuple(shown)))

            def read(run: LayerRun, start: int = start) -> None:
                for node, kept in patterns.items():
                    if node.layer == run.layer and node.head is not None:
                        kept.append(run.pattern[node.head, 0, start:, start:].cpu())

            with torch.no_grad():
                run_tokens(weights, ids[None], visit=read)
    return PatternExamples(tuple(texts), {node: tuple(kept) for node, kept in patterns.items()})


def _chosen(prompts: PromptSet) -> list[int]:
    """The first prompts of different templates, then any."""
    first = list(
        {template: i for i, template in reversed(list(enumerate(prompts.template)))}.values()
    )
    rest = [index for index in range(len(prompts)) if index not in first]
    return (sorted(first) + rest)[:PROMPTS]


def _bytes(pattern: Float[Tensor, "pos pos"]) -> str:
    rounded = (255 * pattern).round().clamp(0, 255).to(torch.uint8)
    return base64.b64encode(rounded.numpy().tobytes()).decode("ascii")
