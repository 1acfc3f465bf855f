"""Python functions whose docstring stops before an argument's name."""

from __future__ import annotations

import random
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.prompts.form import Context, Form, context_between
from acdc_pipeline.prompts.pair import Pair
from acdc_pipeline.prompts.split import Split
from acdc_pipeline.prompts.word_fit import WordUse
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
    """`n` pairs in the form of Heimersheim & Janiak 2023; the next argument's name is correct.

    No word of one list stands twice in a prompt but for the documented arguments. A space
    follows the opening quotes, unlike in the paper, so that a word is the same token everywhere.

    Raises:
        PromptError: a word list has too few words left under `tokenizer`.
    """
    form = docstring_form(spec)
    drawn = _drawn(spec, form)
    lists = {use.name: use.enough(tokenizer, split) for use in docstring_words(spec)}
    out = []
    for _ in range(n):
        words: dict[str, str] = {}
        for name, holes in drawn.items():
            words.update(zip(holes, rng.sample(lists[name], len(holes)), strict=True))
        clean = words | {
            f"documented{i}": words[f"argument{spec.before + i}"] for i in range(spec.documented)
        }
        changed = {hole: words[f"fresh {hole}"] for hole in _redrawn(spec)}
        arguments = [words[hole] for hole in _holes("argument", spec.arguments)]
        answer = arguments.pop(spec.before + spec.documented)
        out.append(
            Pair(
                clean=form.fill(clean),
                corrupted=form.fill(clean | changed),
                correct=(answer,),
                incorrect=tuple(arguments),
            )
        )
    return out


def docstring_words(spec: DocstringGenerator) -> list[WordUse]:
    """What the prompts do with each word list."""
    form = docstring_form(spec)
    return [
        WordUse(name, spec.words[name], _contexts(form, holes), len(holes))
        for name, holes in _drawn(spec, form).items()
    ]


def docstring_form(spec: DocstringGenerator) -> Form:
    """The prompt with holes: `function`, `argument0…`, `summary0…`, `documented0…`, …"""
    signature = ", ".join(f"{{{hole}}}" for hole in _holes("argument", spec.arguments))
    summary = _spaced(_holes("summary", spec.summary_words))
    lines = [
        f"{_PARAM} {{documented{i}}}:" + _spaced(_holes(f"description{i}_", spec.description_words))
        for i in range(spec.documented)
    ]
    return Form.parse(
        f'\ndef {{function}}(self, {signature}):\n    """{summary}\n{"".join(lines)}{_PARAM}'
    )


def _drawn(spec: DocstringGenerator, form: Form) -> dict[str, list[str]]:
    """For each word list, the holes that a prompt fills from it."""
    fresh = [f"fresh {hole}" for hole in _redrawn(spec)]
    holes_of = {
        "functions": ["function"],
        "names": [*_holes("argument", spec.arguments), *fresh],
        "nouns": [hole for hole in form.holes if hole.startswith(("summary", "description"))],
    }
    drawn: dict[str, list[str]] = {}
    for field, holes in holes_of.items():
        drawn.setdefault(getattr(spec, field), []).extend(holes)
    return drawn


def _redrawn(spec: DocstringGenerator) -> list[str]:
    """The holes that the counterfactual fills with fresh names."""
    asked = spec.before + spec.documented
    signature = [f"argument{i}" for i in range(spec.before, asked + 1)]
    documented = _holes("documented", spec.documented)
    return [
        *(signature if spec.corrupted.signature == "fresh" else ()),
        *(documented if spec.corrupted.docstring == "fresh" else ()),
    ]


def _contexts(form: Form, holes: Sequence[str]) -> tuple[Context, ...]:
    """What stands around the holes; names also stand where documented and as the answer."""
    places = {hole.removeprefix("fresh ") for hole in holes}
    if any(hole.startswith("argument") for hole in places):
        places |= {hole for hole in form.holes if hole.startswith("documented")}
    answer = context_between(f"{_PARAM} ", "")
    return (*(c for hole in sorted(places) for c in form.contexts(hole)), answer)


def _holes(kind: str, count: int) -> list[str]:
    return [f"{kind}{i}" for i in range(count)]


def _spaced(holes: Sequence[str]) -> str:
    return "".join(f" {{{hole}}}" for hole in holes)
