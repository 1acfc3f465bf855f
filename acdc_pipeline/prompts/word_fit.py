"""How a tokenizer takes the words of a list, where the list's task puts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import Context
from acdc_pipeline.prompts.split import Split, words_in_split
from acdc_pipeline.prompts.tokenization import (
    continuations,
    pieces,
    single_token_words,
    unknown_id,
)


@dataclass(frozen=True, slots=True)
class WordUse:
    """What a task does with one of its word lists.

    Args:
        name: the list's name.
        words: its words.
        contexts: everything that stands around them, in prompts and as answers.
        needed: how many different ones a prompt and its counterfactual take.
    """

    name: str
    words: tuple[str, ...]
    contexts: tuple[Context, ...]
    needed: int

    def fitting(self, tokenizer: PreTrainedTokenizerBase, split: Split = "all") -> list[str]:
        """The words that `split` allows and `tokenizer` keeps whole, possibly too few."""
        allowed = words_in_split(dict.fromkeys(self.words), split)
        return single_token_words(tokenizer, allowed, self.contexts)

    def enough(self, tokenizer: PreTrainedTokenizerBase, split: Split) -> list[str]:
        """The words of `fitting`.

        Raises:
            PromptError: fewer than `needed` are left; says of one what became of it.
        """
        kept = self.fitting(tokenizer, split)
        if len(kept) >= self.needed:
            return kept
        allowed = words_in_split(dict.fromkeys(self.words), split)
        part = f"{len(self.words)} words" + (
            "" if split == "all" else f", {len(allowed)} of them in split '{split}'"
        )
        dropped = [word for word in allowed if word not in kept]
        reason, fix = ("", None)
        if dropped:
            reason, fix = why_dropped(tokenizer, dropped[0], self.contexts)
        raise PromptError(
            f"too few words: {len(kept)} left of {part}, {self.needed} needed"
            + (f"; {reason}" if reason else ""),
            field=f"word list '{self.name}'",
            allowed="words that are one token wherever the task puts them",
            fix=fix or f"add words to '{self.name}' that this tokenizer keeps whole",
        )


def why_dropped(
    tokenizer: PreTrainedTokenizerBase, word: str, contexts: Sequence[Context]
) -> tuple[str, str | None]:
    """Why `single_token_words` leaves out `word`; and the fix, where the place is at fault."""
    unknown = unknown_id(tokenizer)
    for context in dict.fromkeys(contexts):
        (ids,) = continuations(tokenizer, [(context.before, context.lead + word)])
        if ids is None:
            return f"'{word}' merges with '{context.before}' in front of it", None
        if unknown in ids or len(ids) != 1:
            fix = _fix_of_place(tokenizer, word, context)
            whole = f"'{context.before}{context.lead}{word}{context.after}'"
            place = f"at the beginning of {whole}" if not context.before else f"in {whole}"
            cut = f"is {len(ids)} tokens: {pieces(tokenizer, ids)}"
            if unknown in ids:
                cut = "is not in the vocabulary of this model's tokenizer"
            return f"'{word}' {place} {cut}", fix
    for context in dict.fromkeys(contexts):
        (ids,) = continuations(tokenizer, [(context.lead + word, context.after)])
        if ids is None:
            return f"'{word}' merges with '{context.after}' behind it", None
    return f"'{word}' is the same token as another word of the list", None


def _fix_of_place(tokenizer: PreTrainedTokenizerBase, word: str, context: Context) -> str | None:
    """What to change if `word` is one token behind a space, and only its place has none."""
    if context.lead:
        return None
    (ids,) = continuations(tokenizer, [("a", f" {word}")])
    if ids is None or len(ids) != 1 or ids[0] == unknown_id(tokenizer):
        return None
    start = "begin the template with another word" if not context.before else "put a space there"
    return f"{start}: behind a space, '{word}' is one token"
