"""Prompts from sentence templates with slots, roles and corruption rules."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.prompts.form import Context, Form, answer_contexts, number_names
from acdc_pipeline.prompts.pairs import Pair
from acdc_pipeline.prompts.split import Split
from acdc_pipeline.prompts.tokenization import WordUse
from acdc_pipeline.specs.task import Answers
from acdc_pipeline.specs.template import TemplateGenerator

Choice = Mapping[str, str]
"""The slot of each role in one prompt."""


def template_pairs(
    spec: TemplateGenerator,
    answers: Answers,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int,
    split: Split,
    rng: random.Random,
    alike: int = 1,
) -> list[Pair]:
    """Return `n` pairs with templates and roles in equal parts.

    Slots and fresh words of the same word list are all different. Each `alike` consecutive pairs
    have the same template and roles and different words elsewhere; without roles `alike` has no
    effect.

    Raises:
        PromptError: a word list has too few usable words under `tokenizer`.
    """
    forms = [Form.parse(text) for text in spec.templates]
    correct = [Form.parse(text) for text in answers.correct]
    incorrect = [Form.parse(text) for text in answers.incorrect]
    drawn = _list_drawn_names(spec)
    lists = {
        use.name: use.require_usable(tokenizer, split) for use in template_words(spec, answers)
    }
    kept = set() if spec.choice is None else {spec.slots[slot] for slot in spec.choice}
    span_names = _name_holes(spec, forms)
    turns = (
        (first, form_and_choice)
        for form_and_choice in schedule(rng, len(forms), list_role_choices(spec))
        for first in [True] + [False] * (alike - 1 if kept else 0)
    )
    words: dict[str, str] = {}
    out = []
    for first, (index, choice) in itertools.islice(turns, n):
        for name, names in drawn.items():
            if first or name not in kept:
                words.update(zip(names, rng.sample(lists[name], len(names)), strict=True))
        clean = {slot: words[slot] for slot in spec.slots}
        clean |= {role: words[slot] for role, slot in choice.items()}
        corrupted = {name: _corrupt_word(spec, name, clean, words) for name in clean}
        out.append(
            Pair(
                clean=forms[index].fill(clean),
                corrupted=forms[index].fill(corrupted),
                correct=tuple(answer.fill(clean) for answer in correct),
                incorrect=tuple(answer.fill(clean) for answer in incorrect),
                template=index,
                roles=tuple(f"{role}={slot}={words[slot]}" for role, slot in choice.items()),
                slots=forms[index].slots(clean, span_names[index, *choice.values()]),
            )
        )
    return out


def template_words(spec: TemplateGenerator, answers: Answers) -> list[WordUse]:
    """Return the use of each word list in the templates and answers."""
    forms = [Form.parse(text) for text in spec.templates]
    as_answers = [Form.parse(text) for text in (*answers.correct, *answers.incorrect)]
    return [
        WordUse(name, spec.words[name], _contexts(spec, name, forms, as_answers), len(names))
        for name, names in _list_drawn_names(spec).items()
    ]


def schedule(
    rng: random.Random, n_templates: int, choices: Sequence[Choice]
) -> Iterator[tuple[int, Choice]]:
    """Yield (template, choice) without end, in a random order whose prefixes are nearly balanced.

    A round visits every template once while the choices take turns. Each round shifts the choices
    by one; after `len(choices)` rounds every combination occurred once, and a new order is drawn.
    """
    while True:
        templates = rng.sample(range(n_templates), n_templates)
        turns = rng.sample(list(choices), len(choices))
        for shift in range(len(turns)):
            for number, template in enumerate(templates):
                yield template, turns[(number + shift) % len(turns)]


def list_role_choices(spec: TemplateGenerator) -> list[Choice]:
    """Return every assignment of slots to roles: ABBA and BABA for IOI."""
    if spec.choice is None:
        return [{}]
    chosen, other = str(spec.chosen_role), str(spec.other_role)
    first, second = spec.choice
    return [{chosen: first, other: second}, {chosen: second, other: first}]


def _name_holes(
    spec: TemplateGenerator, forms: Sequence[Form]
) -> dict[tuple[int | str, ...], tuple[str, ...]]:
    """Return the span of each hole of a template, by the template and the slots of the roles.

    A slot that is a role in a prompt is called like the role: `S1` for the first mention of S.
    """
    rows: dict[tuple[int | str, ...], list[str]] = {}
    for index, form in enumerate(forms):
        for choice in list_role_choices(spec):
            role_of = {slot: role for role, slot in choice.items()}
            rows[index, *choice.values()] = [role_of.get(hole, hole) for hole in form.holes]
    return dict(zip(rows, number_names(list(rows.values())), strict=True))


def _list_drawn_names(spec: TemplateGenerator) -> dict[str, list[str]]:
    """Return the names that draw from each word list: slots, then fresh words as `fresh S`."""
    out: dict[str, list[str]] = {name: [] for name in dict.fromkeys(spec.slots.values())}
    for slot, name in spec.slots.items():
        out[name].append(slot)
    for placeholder, rule in spec.corrupted.items():
        if rule == "fresh":
            out[_find_list(spec, placeholder)].append(f"fresh {placeholder}")
    return out


def _find_list(spec: TemplateGenerator, placeholder: str) -> str:
    """Return the word list of a slot or role."""
    if placeholder in spec.slots:
        return spec.slots[placeholder]
    assert spec.choice is not None, "the spec has roles only with a choice of slots"
    return spec.slots[spec.choice[0]]


def _corrupt_word(
    spec: TemplateGenerator, placeholder: str, clean: Mapping[str, str], words: Mapping[str, str]
) -> str:
    """Return the word of a slot or role in the counterfactual; without a rule it is kept."""
    rule = spec.corrupted.get(placeholder, "keep")
    if rule == "fresh":
        return words[f"fresh {placeholder}"]
    if rule == "keep":
        return clean[placeholder]
    pair = tuple(spec.roles) if placeholder in spec.roles else spec.choice
    assert pair is not None, "the spec allows swap only where roles choose between two slots"
    (partner,) = (name for name in pair if name != placeholder)
    return clean[partner]


def _contexts(
    spec: TemplateGenerator, list_name: str, forms: Sequence[Form], answers: Sequence[Form]
) -> tuple[Context, ...]:
    """Return the contexts of a word of the list, in sentences and as an answer."""
    names = [name for name in spec.placeholders if _find_list(spec, name) == list_name]
    inside = [context for form in forms for name in names for context in form.contexts(name)]
    ends = [form.literals[-1] for form in forms if form.literals[-1]]
    return (*inside, *answer_contexts(ends, answers, names))
