"""Prompt pairs before tokenisation, and those that come from a file or another package."""

from __future__ import annotations

import random
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from itertools import islice
from pathlib import Path
from typing import Literal

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError, UnknownName
from acdc_pipeline.prompts.form import Slot
from acdc_pipeline.prompts.split import Split, in_split
from acdc_pipeline.specs.generators import FunctionGenerator, PairsGenerator
from acdc_pipeline.specs.pair_lines import read_pairs
from acdc_pipeline.specs.prompt_pair import PromptPair

Answer = str | int | tuple[int, ...]
"""Text that follows a prompt, its token id, or the ids of its tokens."""

BosChoice = bool | Literal["auto"]
"""Whether a beginning-of-text token comes first; `auto`: as the tokenizer does by itself."""

SpanPositions = tuple[str, tuple[int, ...], tuple[int, ...]]
"""Name of a span, its positions in the clean prompt, and in the counterfactual."""

NamedTokens = tuple[str, tuple[int, ...]]
"""Name of a span, and its positions in the clean prompt."""

GROUP = "acdc_pipeline.generators"
"""Entry-point group of the generator functions in other packages."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A clean prompt, its counterfactual, and the answers at the end of the clean prompt.

    Args:
        clean: text, or token ids.
        corrupted: text, or token ids; as many tokens as `clean`, unless `align` or `spans` say how
            the sides correspond.
        correct: correct answers after `clean`, at least one. A text may omit the space after the
            last word of the prompt.
        incorrect: incorrect answers after `clean`, possibly none.
        template: index of the task's template; 0 if there is only one.
        roles: entries `role=slot=word` such as `S=A=John`. Prompts of one template with the same
            roles ask the same question. Empty if the task declares no roles.
        where: file and line of the pair, for error messages.
        align: `right` if sides of different length correspond from their ends; see
            `counterparts.find_counterparts`.
        spans: parts of the sides that correspond though they differ in length.
        bos: whether a beginning-of-text token comes first; `auto` as the tokenizer does by itself,
            None as the task has it.
        whole: whether answers may have several tokens, and count by all of them.
        slots: parts of the text `clean` that become spans of a positional graph. They do not
            overlap, and each consists of whole tokens.
        named: token positions of `clean` that become spans, a beginning-of-text token included.
            They do not overlap.
    """

    clean: str | tuple[int, ...]
    corrupted: str | tuple[int, ...]
    correct: tuple[Answer, ...]
    incorrect: tuple[Answer, ...]
    template: int = 0
    roles: tuple[str, ...] = ()
    where: str | None = None
    align: Literal["right"] | None = None
    spans: tuple[SpanPositions, ...] = ()
    bos: BosChoice | None = None
    whole: bool = False
    slots: tuple[Slot, ...] = ()
    named: tuple[NamedTokens, ...] = ()


def load_pairs(path: Path | str) -> list[Pair]:
    """Read the pairs of a `.jsonl` file, in its order.

    Raises:
        SpecError: an invalid line, with file and line.
    """
    return [_convert_pair(row, f"{path}:{line}") for line, row in read_pairs(Path(path)).items()]


def list_pairs(spec: PairsGenerator, *, name: str, n: int, split: Split) -> list[Pair]:
    """Return the first `n` pairs of `spec` in `split`, or all if there are fewer.

    The clean side decides the split of a pair. Errors refer to lines of the file, or to the number
    of the pair in `name`.
    """
    lines = spec.lines or range(1, len(spec.pairs) + 1)
    label = ":" if spec.lines else ": pair "
    placed = zip(spec.pairs, lines, strict=True)
    kept = (
        _convert_pair(row, f"{spec.file or name}{label}{line}", spec.align, spec.answers)
        for row, line in placed
        if in_split(str(row.clean), split)
    )
    return list(islice(kept, n))


def _convert_pair(
    row: PromptPair,
    where: str,
    align: Literal["right"] | None = None,
    answers: Literal["whole"] | None = None,
) -> Pair:
    return Pair(
        clean=row.clean,
        corrupted=row.corrupted,
        correct=row.correct,
        incorrect=row.incorrect,
        roles=tuple(f"{role}={word}" for role, word in sorted(row.roles.items())),
        where=where,
        align=row.align or align,
        spans=tuple((k, s.clean, s.corrupted) for k, s in row.corresponding.items()),
        bos=row.bos,
        whole=(row.answers or answers) == "whole",
        named=tuple(row.named.items()),
    )


def function_pairs(
    spec: FunctionGenerator,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int,
    split: Split,
    rng: random.Random,
) -> list[Pair]:
    """Return the first `n` pairs from a Python function that another package installs.

    That is `f(*, n, rng, split, tokenizer, **options) -> pairs`: at least `n` of them, all drawn
    from `rng`.

    Raises:
        UnknownName: no installed package provides the function.
        PromptError: the function returned fewer pairs, or other objects.
    """
    function = _find_entry_point(spec.name).load()
    made = function(n=n, rng=rng, split=split, tokenizer=tokenizer, **spec.options)
    pairs = list(made)[:n]
    if len(pairs) < n or not all(isinstance(pair, Pair) for pair in pairs):
        raise PromptError(
            f"'{spec.name}' gave {len(pairs)} pairs"
            if len(pairs) < n
            else f"'{spec.name}' gave something else than pairs",
            field="generator.name",
            allowed=f"{n} acdc_pipeline.prompts.Pair",
        )
    return pairs


def _find_entry_point(name: str) -> EntryPoint:
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        raise UnknownName.among(
            "generator function",
            name,
            found,
            fix=f"install a package with '{name}' in its entry-point group {GROUP}",
        )
    return found[name]
