"""The text of a file of patterns, with examples, and the line of a pair with its spans."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from acdc_pipeline.prompts.span_schema import Texts, part_texts
from acdc_pipeline.specs.prompt_pair import PromptPair
from acdc_pipeline.specs.span_schema import SpanSchema
from acdc_pipeline.text import pluralize

_EXAMPLES = 4

_HEAD = """\
# Spans of the prompts of {name}: the parts of each pattern, in their order.
# Change the names as needed. Parts of one name are one span, also those of several patterns; `rest`
# is the name of tokens that need none.
"""

_ANSWERS = """\
# Tokens that vary and equal an answer have these names instead, numbered where there are several;
# without these two lines they have the name of their part.
"""


def schema_text(schema: SpanSchema, prompts: Sequence[Texts], name: str) -> str:
    """Return the YAML of a schema, with comments.

    Args:
        prompts: text of each token of prompts, of which the comments give examples.
        name: name of the task.
    """
    lines = [_HEAD.format(name=name)]
    rules = {"correct": schema.correct, "incorrect": schema.incorrect}
    given = {rule: span for rule, span in rules.items() if span is not None}
    if given:
        lines += [_ANSWERS, *(f"{rule}: {_scalar(span)}\n" for rule, span in given.items())]
    lines.append("patterns:\n")
    matched = [part_texts(schema, texts) for texts in prompts]
    for number, parts in enumerate(schema.patterns):
        own = [found[1] for found in matched if found is not None and found[0] == number]
        example = f", such as {_quote(own[0])}" if own else ""
        lines.append(f"  -  # {pluralize(len(own), 'prompt')}{example}\n")
        for at, part in enumerate(parts):
            fields = [f"span: {_scalar(part.span)}"]
            if part.text is not None:
                fields.append(f"text: {_scalar(part.text, quotes=chr(34))}")
            elif part.tokens != (1, 1):
                fields.append(f"tokens: {list(part.tokens)}")
            line = f"    - {{{', '.join(fields)}}}"
            if part.text is None:
                different = list(dict.fromkeys(_quote(texts[at]) for texts in own))
                more = ", …" if len(different) > _EXAMPLES else ""
                line += f"  # {', '.join(different[:_EXAMPLES])}{more}"
            lines.append(line + "\n")
    return "".join(lines)


def pair_line(pair: PromptPair, spans: Mapping[str, Sequence[int]]) -> str:
    """Return the line of a `.jsonl` for a pair with these spans instead of those it names.

    Spans that say how sides of different length correspond stay, with their tokens.
    """
    plain = {name: value for name, value in pair.plain().items() if value not in ([], {})}
    kept = {name: span.plain() for name, span in pair.corresponding.items()}
    taken = {position for span in pair.corresponding.values() for position in span.clean}
    free = {
        name: left
        for name, positions in spans.items()
        if name not in kept and (left := [at for at in positions if at not in taken])
    }
    return json.dumps(plain | {"spans": kept | free}, ensure_ascii=False) + "\n"


def _scalar(text: str, quotes: str | None = None) -> str:
    """Return a text as YAML on one line; in double quotes it may hold line feeds."""
    written = yaml.safe_dump(text, default_style=quotes, allow_unicode=True, width=10**6)
    return written.removesuffix("...\n").rstrip("\n")


def _quote(texts: Any) -> str:
    text = texts if isinstance(texts, str) else "".join(texts)
    quoted = json.dumps(text if len(text) <= 80 else text[:79] + "…", ensure_ascii=False)
    # some characters that are not printed, such as U+2028, would end the comment
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in quoted)
