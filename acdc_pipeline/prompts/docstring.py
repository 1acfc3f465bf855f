"""Prompts of Python functions whose docstring stops before the name of an argument."""

from __future__ import annotations

import random
from collections.abc import Sequence
from string import ascii_uppercase

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.prompts.form import Context, Form, context_between
from acdc_pipeline.prompts.pairs import Pair
from acdc_pipeline.prompts.split import Split
from acdc_pipeline.prompts.tokenization import WordUse
from acdc_pipeline.specs.generators import DocstringGenerator

_PARAM = "\n    :param"


def docstring_pairs(
    spec: DocstringGenerator,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int,
    split: Split,
    rng: random.Random,
) -> list[Pair]:
    """Return `n` pairs in the form of Heimersheim & Janiak 2023, answered by the next argument.

    Only the documented arguments are repeated in a prompt. Unlike in the paper, a space follows
    the opening quotes, so that a word is the same token everywhere.

    Raises:
        PromptError: a word list has too few usable words under `tokenizer`.
    """
    form = docstring_form(spec)
    drawn = _list_drawn_holes(spec, form)
    lists = {use.name: use.require_usable(tokenizer, split) for use in docstring_words(spec)}
    span_names = [_name_hole(spec, hole) for hole in form.holes]
    out = []
    for _ in range(n):
        words: dict[str, str] = {}
        for name, holes in drawn.items():
            words.update(zip(holes, rng.sample(lists[name], len(holes)), strict=True))
        clean = words | {
            f"documented{i}": words[f"argument{spec.before + i}"] for i in range(spec.documented)
        }
        changed = {hole: words[f"fresh {hole}"] for hole in _list_fresh_holes(spec)}
        arguments = [words[hole] for hole in _number_holes("argument", spec.arguments)]
        answer = arguments.pop(spec.before + spec.documented)
        out.append(
            Pair(
                clean=form.fill(clean),
                corrupted=form.fill(clean | changed),
                correct=(answer,),
                incorrect=tuple(arguments),
                slots=form.slots(clean, span_names),
            )
        )
    return out


def _name_hole(spec: DocstringGenerator, hole: str) -> str:
    """Return the span of a hole, or an empty name for words that do not matter.

    The arguments from the first documented one to the answer are `A_def`, `B_def`, `C_def`, and the
    documented ones in the docstring `A_doc`, `B_doc` (Heimersheim & Janiak 2023, Token notation).
    """
    for i in range(spec.documented + 1):
        letter = f"{ascii_uppercase[i % 26]}{i // 26 or ''}"
        if hole == f"argument{spec.before + i}":
            return f"{letter}_def"
        if hole == f"documented{i}":
            return f"{letter}_doc"
    return "function" if hole == "function" else ""


def docstring_words(spec: DocstringGenerator) -> list[WordUse]:
    """Return the use of each word list."""
    form = docstring_form(spec)
    return [
        WordUse(name, spec.words[name], _contexts(form, holes), len(holes))
        for name, holes in _list_drawn_holes(spec, form).items()
    ]


def docstring_form(spec: DocstringGenerator) -> Form:
    """Return the prompt with holes: `function`, `argument0…`, `summary0…`, `documented0…`, …"""
    signature = ", ".join(f"{{{hole}}}" for hole in _number_holes("argument", spec.arguments))
    summary = _join_holes(_number_holes("summary", spec.summary_words))
    lines = [
        f"{_PARAM} {{documented{i}}}:"
        + _join_holes(_number_holes(f"description{i}_", spec.description_words))
        for i in range(spec.documented)
    ]
    return Form.parse(
        f'\ndef {{function}}(self, {signature}):\n    """{summary}\n{"".join(lines)}{_PARAM}'
    )


def _list_drawn_holes(spec: DocstringGenerator, form: Form) -> dict[str, list[str]]:
    """Return the holes of a prompt that are filled from each word list."""
    fresh = [f"fresh {hole}" for hole in _list_fresh_holes(spec)]
    holes_of = {
        "functions": ["function"],
        "names": [*_number_holes("argument", spec.arguments), *fresh],
        "nouns": [hole for hole in form.holes if hole.startswith(("summary", "description"))],
    }
    drawn: dict[str, list[str]] = {}
    for field, holes in holes_of.items():
        drawn.setdefault(getattr(spec, field), []).extend(holes)
    return drawn


def _list_fresh_holes(spec: DocstringGenerator) -> list[str]:
    """Return the holes that the counterfactual fills with fresh names."""
    answer = spec.before + spec.documented
    signature = [f"argument{i}" for i in range(spec.before, answer + 1)]
    documented = _number_holes("documented", spec.documented)
    return [
        *(signature if spec.corrupted.signature == "fresh" else ()),
        *(documented if spec.corrupted.docstring == "fresh" else ()),
    ]


def _contexts(form: Form, holes: Sequence[str]) -> tuple[Context, ...]:
    """Return the contexts of the holes; names also occur as documented ones and as the answer."""
    places = {hole.removeprefix("fresh ") for hole in holes}
    if any(hole.startswith("argument") for hole in places):
        places |= {hole for hole in form.holes if hole.startswith("documented")}
    answer = context_between(f"{_PARAM} ", "")
    return (*(c for hole in sorted(places) for c in form.contexts(hole)), answer)


def _number_holes(kind: str, count: int) -> list[str]:
    return [f"{kind}{i}" for i in range(count)]


def _join_holes(holes: Sequence[str]) -> str:
    return "".join(f" {{{hole}}}" for hole in holes)
