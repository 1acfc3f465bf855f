"""A prompt pair before tokenisation: what every generator produces."""

from __future__ import annotations

from dataclasses import dataclass

Answer = str | int
"""The text that follows a prompt, or its token id."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One clean prompt, its counterfactual, and the answers at the end of the clean prompt.

    Args:
        clean: text, or token ids.
        corrupted: text, or token ids; as many tokens as `clean`.
        correct: what counts as correct after `clean` (at least one). A text may leave out the
            space that parts it from the prompt's last word.
        incorrect: what counts as incorrect after `clean` (may be empty).
        template: which template of the task it came from (0 where there is only one).
        roles: what makes two prompts of one template the same question, as `S=A=John`: role, slot,
            word. Empty where nothing is declared.
        where: file and line the pair was read from, for error messages.
    """

    clean: str | tuple[int, ...]
    corrupted: str | tuple[int, ...]
    correct: tuple[Answer, ...]
    incorrect: tuple[Answer, ...]
    template: int = 0
    roles: tuple[str, ...] = ()
    where: str | None = None
