"""A text with named holes: `"{A} and {B} went to the {place}"`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

_PUNCTUATION = tuple(",;:.!?)")
_NEXT_WORD = re.compile(r"\s*\S*")


@dataclass(frozen=True, slots=True)
class Context:
    """The literal text around a hole.

    Args:
        before: what stands in front, at most two words.
        lead: the one space between `before` and the word, or nothing. It belongs to the word:
            most tokenizers make it part of the word's token.
        after: the next word behind.
    """

    before: str
    lead: str
    after: str


@dataclass(frozen=True, slots=True)
class Form:
    """A text cut at its holes: `literals[0] holes[0] literals[1] … holes[-1] literals[-1]`."""

    literals: tuple[str, ...]
    holes: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Form:
        """The form of `text`; `{{` and `}}` stand for braces. Raises ValueError if unbalanced."""
        literals, holes = [""], []
        for literal, hole, _, _ in Formatter().parse(text):
            literals[-1] += literal
            if hole is not None:
                holes.append(hole)
                literals.append("")
        return cls(tuple(literals), tuple(holes))

    def fill(self, words: Mapping[str, str]) -> str:
        """The text with every hole filled."""
        parts = [self.literals[0]]
        for hole, literal in zip(self.holes, self.literals[1:], strict=True):
            parts += (words[hole], literal)
        return "".join(parts)

    def contexts(self, hole: str) -> list[Context]:
        """What stands around each occurrence of `hole`."""
        return [
            context_between(self.literals[i], self.literals[i + 1])
            for i, name in enumerate(self.holes)
            if name == hole
        ]


def context_between(before: str, after: str) -> Context:
    """The context of a word between two literal texts."""
    tail = last_words(before)
    lead = " " if tail.endswith(" ") else ""
    behind = _NEXT_WORD.match(after)
    return Context(tail[: len(tail) - len(lead)], lead, behind[0] if behind else "")


def answer_contexts(
    ends: Iterable[str], answers: Sequence[Form], holes: Sequence[str]
) -> list[Context]:
    """What stands around a word that fills one of `holes` in an answer, behind each prompt's end.

    Only what stands directly in front of a word can merge with it: of an answer of several
    words, every hole is met behind the literal text before it.
    """
    return [
        context_between(end + joint(end, literal or "A") + literal, "")
        for end in dict.fromkeys(ends)
        for answer in answers
        for literal, hole in zip(answer.literals, answer.holes, strict=False)
        if hole in holes
    ]


def last_words(text: str) -> str:
    """The last two words of `text`: all that can merge with what follows, and few in kind."""
    parts = text.rsplit(maxsplit=2)
    return text[len(parts[0]) :].lstrip() if len(parts) == 3 else text


def following(prompt: str, answer: str) -> str:
    """`answer` as it stands behind `prompt`: with the space that parts two words.

    "gave a drink to" + "Mary" is the word Mary, never "toMary". "from 1732 to 17" + "58", and
    an answer that brings its own space, stay as written.
    """
    return joint(prompt, answer) + answer


def joint(prompt: str, answer: str) -> str:
    """The space between `prompt` and `answer` where they are words of a sentence, or nothing."""
    end, start = prompt[-1:], answer[:1]
    return " " if (end.isalpha() or end in _PUNCTUATION) and start.isalnum() else ""
