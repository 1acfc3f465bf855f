"""How many tokens a task's prompts have, roughly, without a tokenizer."""

from __future__ import annotations

import re

from acdc_pipeline.specs import (
    DocstringGenerator,
    PairsGenerator,
    PromptPair,
    RepeatedTokensGenerator,
    TaskSpec,
    TemplateGenerator,
)
from acdc_pipeline.specs.generators import TableGenerator, YearsGenerator

UNKNOWN = 32
"""For prompts that a function makes."""

# A word is a token, and so is a mark; rare words fall into several.
_PIECE = re.compile(r"\w+|[^\w\s]")

_PAIRS_LOOKED_AT = 1000


def rough_tokens(task: TaskSpec) -> int:
    """Tokens of a long prompt of `task`: words and marks counted, one each."""
    bos = int(task.generator.bos)
    match task.generator:
        case RepeatedTokensGenerator() as spec:
            return bos + spec.length[1]
        case TemplateGenerator() | TableGenerator() | YearsGenerator() as spec:
            return bos + max(_pieces(text) for text in spec.templates)
        case DocstringGenerator() as spec:
            lines = (spec.description_words + 4) * spec.documented
            return bos + 10 + 2 * spec.arguments + spec.summary_words + lines
        case PairsGenerator() as spec:
            return bos + max(_length(pair) for pair in spec.pairs[:_PAIRS_LOOKED_AT])
        case _:
            return UNKNOWN


def _pieces(text: str) -> int:
    return len(_PIECE.findall(re.sub(r"\{\w+\}", "word", text)))


def _length(pair: PromptPair) -> int:
    return len(pair.clean) if isinstance(pair.clean, tuple) else _pieces(pair.clean)
