"""Texts with named holes, such as `"{A} and {B} went to the {place}"`, and their contexts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

_PUNCTUATION = tuple(",;:.!?)")
_NEXT_WORD = re.compile(r"\s*\S*")

Slot = tuple[str, int, int]
"""Name of a part of a text, its first character, and the one behind its end."""


@dataclass(frozen=True, slots=True)
class Context:
    """The literal text around a hole.

    Args:
        before: text in front of the hole, at most two words.
        lead: single space between `before` and the hole, or an empty string. Most tokenizers make
            it part of the following token.
        after: next word behind the hole.
    """

    before: str
    lead: str
    after: str


@dataclass(frozen=True, slots=True)
class Form:
    """A text split at its holes: `literals[0] holes[0] literals[1] … holes[-1] literals[-1]`."""

    literals: tuple[str, ...]
    holes: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Form:
        """Parse `text`, with `{{` and `}}` for braces. Raises ValueError if they are unbalanced."""
        literals, holes = [""], []
        for literal, hole, _, _ in Formatter().parse(text):
            literals[-1] += literal
            if hole is not None:
                holes.append(hole)
                literals.append("")
        return cls(tuple(literals), tuple(holes))

    def fill(self, words: Mapping[str, str]) -> str:
        """Return the text with every hole filled."""
        parts = [self.literals[0]]
        for hole, literal in zip(self.holes, self.literals[1:], strict=True):
            parts += (words[hole], literal)
        return "".join(parts)

    def slots(self, words: Mapping[str, str], names: Sequence[str]) -> tuple[Slot, ...]:
        """Return the place of each hole's word in the filled text, with the hole's name in `names`.

        A hole with an empty name is left out.
        """
        out: list[Slot] = []
        end = 0
        for hole, name, literal in zip(self.holes, names, self.literals, strict=False):
            start = end + len(literal)
            end = start + len(words[hole])
            if name:
                out.append((name, start, end))
        return tuple(out)

    def contexts(self, hole: str) -> list[Context]:
        """Return the context of each occurrence of `hole`."""
        return [
            context_between(self.literals[i], self.literals[i + 1])
            for i, name in enumerate(self.holes)
            if name == hole
        ]


def number_names(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the names of the holes of several texts, numbered from 1 where they are repeated.

    A name that one text has twice is numbered in all of them: `S1`, `S2`. There is a dot in front
    of the number if the name ends in a digit or another one would be the same.
    """
    taken = {name for row in rows for name in row}
    repeated = {name for row in rows for name, count in Counter(row).items() if count > 1}
    dots = {
        name
        for name in repeated
        if name[-1:].isdigit() or any(f"{name}{i}" in taken for i in range(1, len(taken) + 9))
    }
    out = []
    for row in rows:
        seen: Counter[str] = Counter()
        names = []
        for name in row:
            seen[name] += 1
            number = f"{'.' if name in dots else ''}{seen[name]}" if name in repeated else ""
            names.append(name + number)
        out.append(tuple(names))
    return out


def context_between(before: str, after: str) -> Context:
    """Return the context of a word between two literal texts."""
    tail = last_words(before)
    lead = " " if tail.endswith(" ") else ""
    behind = _NEXT_WORD.match(after)
    return Context(tail[: len(tail) - len(lead)], lead, behind[0] if behind else "")


def answer_contexts(
    ends: Iterable[str], answers: Sequence[Form], holes: Sequence[str]
) -> list[Context]:
    """Return the contexts of one of `holes` in the answers, after each of the prompts' ends.

    Only the text directly in front of a word can merge with it. In an answer of several words that
    is the literal text before the hole.
    """
    return [
        context_between(end + separator(end, literal or "A") + literal, "")
        for end in dict.fromkeys(ends)
        for answer in answers
        for literal, hole in zip(answer.literals, answer.holes, strict=False)
        if hole in holes
    ]


def last_words(text: str) -> str:
    """Return the last two words of `text`: only they can merge with the text that follows."""
    parts = text.rsplit(maxsplit=2)
    return text[len(parts[0]) :].lstrip() if len(parts) == 3 else text


def join_answer(prompt: str, answer: str) -> str:
    """Return `answer` with a space in front if it is a separate word after `prompt`.

    "gave a drink to" + "Mary" gets a space. "from 1732 to 17" + "58" and answers that begin with a
    space do not.
    """
    return separator(prompt, answer) + answer


def separator(prompt: str, answer: str) -> str:
    """Return the space between `prompt` and `answer` if both are words, or an empty string."""
    end, start = prompt[-1:], answer[:1]
    return " " if (end.isalpha() or end in _PUNCTUATION) and start.isalnum() else ""
