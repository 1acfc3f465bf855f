"""Prompts from sentence templates with slots."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from acdc_pipeline.specs.base import rejection, unknown_reference
from acdc_pipeline.specs.names import Bos, Rule
from acdc_pipeline.specs.words import WordsGenerator

Role = tuple[str, str] | Literal["other"]


class TemplateGenerator(WordsGenerator):
    """Sentences with `{slot}` placeholders, filled from word lists, cut before the answer.

    Args:
        templates: the sentences, used in equal shares.
        slots: the word list of each slot. Slots of the same list get different words.
        words: the lists: inline, or the name of a `.txt` beside the file with one word per line;
            a list that is not here is read from `<list>.txt`.
        roles: names for slots that are chosen per prompt: `S: [A, B]` is A in one half of the
            prompts and B in the other, in every template; `IO: other` is the other slot.
        corrupted: the rule that makes the counterfactual word of a slot or role. A slot that is
            not listed keeps its word; if a slot of a role changes, the roles have to be listed too.
            `fresh`: a new word of the same list, different from all words of the prompt and all
            other new ones; `keep`: the clean word; `swap`: the word of the other role (or, for
            a slot, of the other slot that the roles choose from).
        bos: whether a beginning-of-sequence token comes first.
    """

    kind: Literal["template"]
    bos: Bos
    templates: tuple[str, ...] = Field(min_length=1)
    slots: Mapping[str, str] = Field(min_length=1)
    roles: Mapping[str, Role] = Field(
        default_factory=dict, description="two slots, as in [A, B], or the word other"
    )
    corrupted: Mapping[str, Rule] = Field(min_length=1, description="slot: fresh, keep or swap")

    @classmethod
    def word_list_names(cls, data: Any) -> list[str]:
        slots = data.get("slots", {})
        return [v for v in slots.values() if isinstance(v, str)] if isinstance(slots, dict) else []

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names that a template or an answer may use: slots, then roles."""
        return (*self.slots, *self.roles)

    @property
    def choice(self) -> tuple[str, str] | None:
        """The two slots that the roles choose between, or None without roles."""
        return next((role for role in self.roles.values() if role != "other"), None)

    @property
    def chosen_role(self) -> str | None:
        """The role that is the chosen slot (`S`), or None without roles."""
        return next((name for name, role in self.roles.items() if role != "other"), None)

    @property
    def other_role(self) -> str | None:
        """The role that is the slot not chosen (`IO`), or None without roles."""
        return next((name for name, role in self.roles.items() if role == "other"), None)

    @model_validator(mode="after")
    def _coherent(self) -> TemplateGenerator:
        for slot, name in self.slots.items():
            if name not in self.words:
                raise unknown_reference(
                    f"slots.{slot}",
                    "word list",
                    name,
                    self.words,
                    fix=f"write the list under 'words' or in {name}.txt beside this file",
                )
        self._check_roles()
        used = set(self.choice or ())
        for index, template in enumerate(self.templates):
            names = placeholders_of(template, f"templates.{index}")
            for name in names:
                if name not in self.placeholders:
                    raise unknown_reference(
                        f"templates.{index}", "slot or role", name, self.placeholders
                    )
            used.update(names)
        if unused := [name for name in self.slots if name not in used]:
            raise rejection(f"slots.{unused[0]}", "no template uses it", fix="remove it")
        self._check_corrupted()
        return self

    def _check_roles(self) -> None:
        if not self.roles:
            return
        if len(self.roles) != 2 or self.choice is None or self.other_role is None:
            raise rejection(
                "roles", "has to name one choice and its other", allowed="S: [A, B] with IO: other"
            )
        field = f"roles.{self.chosen_role}"
        for slot in self.choice:
            if slot not in self.slots:
                raise unknown_reference(field, "slot", slot, self.slots)
        first, second = self.choice
        if first == second or self.slots[first] != self.slots[second]:
            raise rejection(field, "needs two slots of one word list")
        if both := [name for name in self.roles if name in self.slots]:
            raise rejection(f"roles.{both[0]}", "is a slot as well", fix="rename one of them")

    def _check_corrupted(self) -> None:
        swappable = (*(self.choice or ()), *self.roles)
        for name, rule in self.corrupted.items():
            if name not in self.placeholders:
                raise unknown_reference(
                    f"corrupted.{name}", "slot or role", name, self.placeholders
                )
            if rule == "swap" and name not in swappable:
                raise rejection(
                    f"corrupted.{name}",
                    "has nothing to swap with",
                    allowed=f"swap for {', '.join(swappable) or 'roles, and there are none'}",
                )
        if all(rule == "keep" for rule in self.corrupted.values()):
            raise rejection("corrupted", "nothing differs from the clean prompt", fix="use fresh")
        changed = [s for s in self.choice or () if self.corrupted.get(s, "keep") != "keep"]
        in_text = {name for t in self.templates for name in placeholders_of(t, "templates")}
        for role in self.roles:
            if changed and role in in_text and role not in self.corrupted:
                raise rejection(
                    f"corrupted.{role}",
                    f"is missing, and it may be {changed[0]}, which changes",
                    allowed="fresh, keep, swap",
                )


def placeholders_of(text: str, field: str) -> list[str]:
    """The `{names}` in `text`, in order; `{{` and `}}` are escaped braces."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise rejection(field, f"{text!r}: {error}", fix="write {{ and }} for braces") from error
    names = []
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if not name.isidentifier() or form or conversion:
            more = (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise rejection(
                field,
                f"'{{{name}{more}}}' is not a placeholder",
                allowed="{slot} or {role}, as a name alone",
            )
        names.append(name)
    return names
