"""The word-level tokenizer of the zoo: a word with its leading space is one token."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tokenizers import Regex, decoders, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from acdc_pipeline.models.zoo.tokenizer import SPECIAL, fast, word_level

VOCABULARY_FILE = Path(__file__).with_name("vocabulary.txt")

# As in GPT-2, a leading space belongs to the word. Numbers are split into pairs of digits, such as
# century and year; indentation and docstring markers are single tokens.
PIECES = r' ?:\p{L}+| ?"""| ?->| ?\p{L}+| ?\p{N}{1,2}|\n|\t|   (?=\s)| ?[^\s\p{L}\p{N}]| +'


def build_tokenizer(model_max_length: int) -> PreTrainedTokenizerFast:
    """Return the tokenizer of the zoo models trained on text.

    Decoding restores the text exactly, except for words outside the vocabulary.
    """
    tokenizer = word_level(vocabulary())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return fast(tokenizer, model_max_length)


@cache
def vocabulary() -> tuple[str, ...]:
    """Return all tokens in id order: special ones, then vocabulary.txt without repeats."""
    tokens = list(SPECIAL)
    forms: tuple[str, ...] = ()
    for line in VOCABULARY_FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and "] " in line and not line.startswith("[ "):
            forms = _FORMS[line[1 : line.index("]")]]
        elif not line.startswith("# "):
            words = (_ESCAPES.get(word, word) for word in line.split())
            tokens += [form + word for word in words for form in forms]
    return tuple(dict.fromkeys(tokens))


_FORMS = {"spaced": (" ",), "bare": ("",), "both": (" ", "")}
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\s": " ", "\\s\\s\\s": "   "}
