"""Tokenizers for tests: GPT-2's own, and small ones that know exactly the words they are given."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Literal

from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import GPT2Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tests.support import shared_path


@cache
def gpt2_tokenizer() -> PreTrainedTokenizerBase:
    """GPT-2's tokenizer from the optional shared folder; skips the test without it."""
    folder = shared_path("tokenizers", "gpt2")
    # transformers 5 ignores vocab_file and merges_file, and makes an empty tokenizer instead
    return GPT2Tokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))


def word_tokenizer(
    words: Iterable[str], *, bos: str | None = "<bos>", eos: str | None = None
) -> PreTrainedTokenizerBase:
    """One token for each of `words` and each punctuation mark; every other word is `<unk>`."""
    special = [token for token in ("<unk>", bos, eos) if token]
    tokens = dict.fromkeys([*special, *".,;:()\"'", *words])
    tokenizer = Tokenizer(WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token=bos, eos_token=eos
    )


def spaced_word_tokenizer(
    words: Iterable[str], *, at_the_start: Literal["always", "never"] = "always"
) -> PreTrainedTokenizerBase:
    """Like SentencePiece: a word carries its space as `▁`, also at the beginning of a text.

    With `at_the_start="never"` a word there has no space, and is unknown.
    """
    tokens = ["<unk>", "<s>", *(f"▁{word}" for word in words)]
    tokenizer = Tokenizer(WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=at_the_start)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>")


def token_ids(tokenizer: PreTrainedTokenizerBase, *tokens: str) -> list[int]:
    """The ids of tokens, as the vocabulary spells them."""
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[token] for token in tokens]


def decoded(tokenizer: PreTrainedTokenizerBase, token_id: int) -> str:
    """The text of one token."""
    return str(tokenizer.decode([token_id]))
