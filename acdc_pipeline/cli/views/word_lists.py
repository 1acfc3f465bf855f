"""A task's word lists and answers under a model's tokenizer, as commands show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.output import stdout_kept_clean

if TYPE_CHECKING:
    from acdc_pipeline.specs import TaskSpec

_ANSWER_FORMS = {
    "two_digits": "years: century and two digits with this tokenizer; answers are the two digits",
    "decade_digit": "years: digit by digit with this tokenizer; answers are the decade's digit",
}

# More are counted only; --json names them all.
_NAMED = 8


def word_lists_of(spec: TaskSpec, model: str) -> list[dict[str, Any]]:
    """For each word list, how many of its words the tokenizer of `model` keeps whole."""
    with stdout_kept_clean():
        from acdc_pipeline.models import locate
        from acdc_pipeline.models.bridge import load_tokenizer
        from acdc_pipeline.prompts import word_uses
        from acdc_pipeline.specs import ModelRef

        uses = word_uses(spec)
        tokenizer = load_tokenizer(locate(ModelRef.parse(model)).directory) if uses else None
    if tokenizer is None:
        return []
    out = []
    for use in uses:
        usable = set(use.fitting(tokenizer))
        out.append(
            {
                "list": use.name,
                "words": len(use.words),
                "usable": len(usable),
                "dropped": [word for word in use.words if word not in usable],
            }
        )
    return out


def answer_form_text(form: str) -> str:
    """One line that says what prompts about years are answered by."""
    return _ANSWER_FORMS[form]


def word_list_text(row: dict[str, Any]) -> str:
    """`names: 6 of 7 usable with this tokenizer (dropped: Zyxgor)`."""
    text = f"{row['list']}: {row['usable']} of {row['words']} usable with this tokenizer"
    dropped = row["dropped"]
    if not dropped:
        return text
    more = f" and {len(dropped) - _NAMED} more" if len(dropped) > _NAMED else ""
    return f"{text} (dropped: {', '.join(dropped[:_NAMED])}{more})"
