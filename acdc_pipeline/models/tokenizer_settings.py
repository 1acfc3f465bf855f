"""What a model directory says about its tokenizer beside the vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.json_text import read_json

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model")
"""The vocabulary, in any of its forms."""

# None of it changes the tokens of a text: how ids become text again, chats, padding, where others
# cut, and tokens around a text, which tasks ask for by themselves.
_INERT = frozenset(
    {
        "add_bos_token",
        "add_eos_token",
        "backend",
        "chat_template",
        "clean_up_tokenization_spaces",
        "errors",
        "is_local",
        "local_files_only",
        "model_max_length",
        "name_or_path",
        "padding_side",
        "processor_class",
        "response_schema",
        "special_tokens_map_file",
        "tokenizer_file",
        "truncation_side",
    }
)
_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def tokenizer_settings(directory: Path) -> dict[str, Any]:
    """The settings that decide which tokens a text becomes and which of them are special, by name.

    Empty where the directory has none. What stands in a file of older versions has the file's name
    before its own: `added_tokens.json: <sep>`.

    Raises:
        InvalidInput: a file of them cannot be read.
    """
    found: dict[str, Any] = {}
    for name in _FILES:
        try:
            settings = read_json((directory / name).read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"cannot be read: {error}",
                where=str(directory / name),
                fix="save it again with tokenizer.save_pretrained",
            ) from error
        if not isinstance(settings, dict):
            raise InvalidInput("is not a JSON object", where=str(directory / name))
        begin = "" if name == _FILES[0] else f"{name}: "
        found |= {f"{begin}{key}": v for key, v in settings.items() if key not in _INERT}
    return found
