"""Token ids of texts, special tokens, and words that are single tokens in their context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.form import Context
from acdc_pipeline.prompts.split import Split, words_in_split

Ids = tuple[int, ...]


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Ids]:
    """Return the token ids of each text without special tokens around it.

    Raises:
        PromptError: the tokenizer refuses one of the texts.
    """
    different = list(dict.fromkeys(texts))
    if not different:
        return []
    try:
        rows = tokenizer(
            different,
            add_special_tokens=False,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
    except Exception as error:  # the tokenizers library raises bare Exception
        raise PromptError(
            f"the model's tokenizer refuses a prompt ({error})",
            fix="give the tokenizer an unknown token, or use words of its vocabulary",
        ) from error
    ids = {text: tuple(row) for text, row in zip(different, rows, strict=True)}
    return [ids[text] for text in texts]


def bos_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token in front of every prompt of tasks with `bos`.

    That is the beginning-of-text token, or else the end-of-text token, which precedes each document
    in training.

    Raises:
        PromptError: the tokenizer has neither.
    """
    for token_id in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token_id, int):
            return token_id
    raise PromptError(
        "the task puts a beginning-of-text token first, but this model's tokenizer has none",
        field="generator.bos",
        fix="set generator.bos: false, or give the tokenizer a bos_token",
    )


def own_prefix(tokenizer: PreTrainedTokenizerBase, encoded: Mapping[str, Ids]) -> Ids:
    """Return the special tokens that the tokenizer itself puts in front of a text.

    Args:
        encoded: at least one text that the tokenizer knows, with its token ids by `encode`. One
            with an ordinary token shows where the special tokens end.
    """
    special = frozenset(tokenizer.all_special_ids)
    ordinary = (text for text, ids in encoded.items() if not special.issuperset(ids))
    text = next(ordinary, next(iter(encoded)))
    ids, whole = encoded[text], tuple(tokenizer(text, add_special_tokens=True)["input_ids"])
    if not ids:  # nothing separates the tokens in front from those behind
        return whole[: int(whole[:1] == (tokenizer.bos_token_id,))]
    starts = range(len(whole) - len(ids) + 1)
    found = (start for start in starts if whole[start : start + len(ids)] == ids)
    return whole[: next(found, 0)]


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return any valid id for padding, which causal attention hides from every answer."""
    for token_id in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if isinstance(token_id, int):
            return token_id
    return 0


def unknown_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the id of text outside the vocabulary, or None if there is no such id.

    GPT-2 declares its end-of-text token as unknown, but encodes any text in bytes.
    """
    unknown = tokenizer.unk_token_id
    if unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        return None
    return unknown if isinstance(unknown, int) else None


def regular_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids of ordinary text, ascending."""
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    return sorted(set(tokenizer.get_vocab().values()) - special)


def quote_end(text: str) -> str:
    """Return the last 120 characters of a prompt in quotes, for error messages."""
    return repr(text if len(text) <= 120 else f"…{text[-120:]}")


def unknown_words(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    """Return the words of `text` that contain the unknown token."""
    unknown = unknown_id(tokenizer)
    words = list(dict.fromkeys(text.split()))
    in_place = [word if text.startswith(word) else f" {word}" for word in words]
    ids = encode(tokenizer, in_place)
    return [word for word, own in zip(words, ids, strict=True) if unknown in own]


def quote_tokens(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Return the texts of tokens in quotes: `' Mar' 'ty'`."""
    return " ".join(repr(tokenizer.decode([token])) for token in ids)


def continuations(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, str]]
) -> list[Ids | None]:
    """Return the ids that each `(text, following)` adds to `text`; None where they merge."""
    before = encode(tokenizer, [text for text, _ in texts])
    whole = encode(tokenizer, [text + following for text, following in texts])
    return [
        full[len(start) :] if full[: len(start)] == start else None
        for start, full in zip(before, whole, strict=True)
    ]


def single_token_words(
    tokenizer: PreTrainedTokenizerBase, words: Sequence[str], contexts: Sequence[Context]
) -> list[str]:
    """Return the words that are one known token of their own in every context.

    The text before and the text after a word are tested separately; tokenizers for which only the
    combination matters fail later, when whole prompts are aligned. Of several words with the same
    token, as under a tokenizer that lowers case, the first is kept.
    """
    unknown = unknown_id(tokenizer)
    kept: dict[str, Ids] = dict.fromkeys(words, ())
    for before, lead in dict.fromkeys((context.before, context.lead) for context in contexts):
        added = continuations(tokenizer, [(before, lead + word) for word in kept])
        for word, ids in zip(list(kept), added, strict=True):
            if ids is None or len(ids) != 1 or ids[0] == unknown:
                del kept[word]
            else:
                kept[word] += ids
    for lead, after in dict.fromkeys((context.lead, context.after) for context in contexts):
        added = continuations(tokenizer, [(lead + word, after) for word in kept])
        for word, ids in zip(list(kept), added, strict=True):
            if ids is None:
                del kept[word]
    first: dict[Ids, str] = {}
    for word, ids in kept.items():
        first.setdefault(ids, word)
    return list(first.values())


@dataclass(frozen=True, slots=True)
class WordUse:
    """The use of a word list in a task.

    Args:
        name: name of the list.
        words: words of the list.
        contexts: contexts of the words in prompts and answers.
        needed: number of different words in a prompt and its counterfactual.
    """

    name: str
    words: tuple[str, ...]
    contexts: tuple[Context, ...]
    needed: int

    def list_usable(self, tokenizer: PreTrainedTokenizerBase, split: Split = "all") -> list[str]:
        """Return the words of `split` that `tokenizer` keeps whole, possibly too few."""
        allowed = words_in_split(dict.fromkeys(self.words), split)
        return single_token_words(tokenizer, allowed, self.contexts)

    def require_usable(self, tokenizer: PreTrainedTokenizerBase, split: Split) -> list[str]:
        """Return the words of `list_usable`.

        Raises:
            PromptError: there are fewer than `needed`; explains why one of the others is unusable.
        """
        kept = self.list_usable(tokenizer, split)
        if len(kept) >= self.needed:
            return kept
        allowed = words_in_split(dict.fromkeys(self.words), split)
        part = f"{len(self.words)} words" + (
            "" if split == "all" else f", {len(allowed)} of them in split '{split}'"
        )
        dropped = [word for word in allowed if word not in kept]
        reason, fix = ("", None)
        if dropped:
            reason, fix = explain_dropped(tokenizer, dropped[0], self.contexts)
        raise PromptError(
            f"too few words: {len(kept)} left of {part}, {self.needed} needed"
            + (f"; {reason}" if reason else ""),
            field=f"word list '{self.name}'",
            allowed="words that are one token wherever the task puts them",
            fix=fix or f"add words to '{self.name}' that this tokenizer keeps whole",
        )


def explain_dropped(
    tokenizer: PreTrainedTokenizerBase, word: str, contexts: Sequence[Context]
) -> tuple[str, str | None]:
    """Return why `single_token_words` drops `word`, and the fix if its place is the cause."""
    unknown = unknown_id(tokenizer)
    for context in dict.fromkeys(contexts):
        (ids,) = continuations(tokenizer, [(context.before, context.lead + word)])
        if ids is None:
            return f"'{word}' merges with '{context.before}' in front of it", None
        if unknown in ids or len(ids) != 1:
            fix = _suggest_place(tokenizer, word, context)
            whole = f"'{context.before}{context.lead}{word}{context.after}'"
            place = f"at the beginning of {whole}" if not context.before else f"in {whole}"
            cut = f"is {len(ids)} tokens: {quote_tokens(tokenizer, ids)}"
            if unknown in ids:
                cut = "is not in the vocabulary of this model's tokenizer"
            return f"'{word}' {place} {cut}", fix
    for context in dict.fromkeys(contexts):
        (ids,) = continuations(tokenizer, [(context.lead + word, context.after)])
        if ids is None:
            return f"'{word}' merges with '{context.after}' behind it", None
    return f"'{word}' is the same token as another word of the list", None


def _suggest_place(tokenizer: PreTrainedTokenizerBase, word: str, context: Context) -> str | None:
    """Return the fix if `word` would be one token after a space."""
    if context.lead:
        return None
    (ids,) = continuations(tokenizer, [("a", f" {word}")])
    if ids is None or len(ids) != 1 or ids[0] == unknown_id(tokenizer):
        return None
    start = "begin the template with another word" if not context.before else "put a space there"
    return f"{start}: behind a space, '{word}' is one token"
