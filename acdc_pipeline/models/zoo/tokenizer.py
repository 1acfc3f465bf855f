"""Word-level tokenizers for models of the zoo that are made by hand or by Tracr."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

BOS, UNK, PAD = "<bos>", "<unk>", "<pad>"
SPECIAL = (BOS, UNK, PAD)


def word_level(tokens: Iterable[str]) -> Tokenizer:
    """Return a tokenizer with one id per word, in this order."""
    ids = {token: number for number, token in enumerate(tokens)}
    return Tokenizer(WordLevel(ids, unk_token=UNK))


def fast(tokenizer: Tokenizer, model_max_length: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer that `save_pretrained` writes and `AutoTokenizer` reads."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        unk_token=UNK,
        pad_token=PAD,
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
    )
