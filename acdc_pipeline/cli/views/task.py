"""A task: its facts, its word lists under a tokenizer, the result of a check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.output import print_line, print_note
from acdc_pipeline.text import format_percent, list_first, pluralize

if TYPE_CHECKING:
    from acdc_pipeline.specs import TaskSpec

_ANSWER_FORMS = {
    "two_digits": "years: century and two digits with this tokenizer; answers are the two digits",
    "decade_digit": "years: digit by digit with this tokenizer; answers are the decade's digit",
}

MAX_WORDS_NAMED = 8
"""Of the words that a tokenizer splits; `--json` names them all."""


def task_facts(spec: TaskSpec, has_reference: bool) -> dict[str, str]:
    """Describe a task."""
    source = spec.source
    link = f"arXiv {source.arxiv}" if source.arxiv else source.url
    facts = {
        "task": spec.name,
        "title": spec.title,
        "behaviour": spec.behaviour,
        "source": f"{source.paper} ({link})" if link else source.paper,
        "generator": spec.generator.kind,
    }
    plain = spec.generator.plain()
    if templates := plain.get("templates"):
        facts["templates"] = f"{len(templates)}, as in {templates[0]!r}"
    if words := plain.get("words"):
        facts["words"] = ", ".join(f"{len(entries)} {name}" for name, entries in words.items())
    if rows := plain.get("rows"):
        facts["rows"] = f"{len(rows)}, of {', '.join(rows[0])}"
    for field in ("roles", "corrupted"):
        if isinstance(plain.get(field), dict):
            facts[field] = ", ".join(
                f"{name}: {' or '.join(value) if isinstance(value, list) else value}"
                for name, value in plain[field].items()
            )
    if spec.answers is not None:
        facts["answers"] = (
            f"{' or '.join(spec.answers.correct)}, not {' or '.join(spec.answers.incorrect)}"
        )
    facts["metrics"] = f"{spec.metrics.discovery}; reported: {', '.join(spec.metrics.report)}"
    facts["reference circuit"] = "yes" if has_reference else "no"
    return facts


def print_tokenization(word_lists: list[dict[str, Any]], answer_form: str | None) -> None:
    """Print how a tokenizer treats a task's word lists and answers.

    `names: 6 of 7 usable with this tokenizer (dropped: Zyxgor)`
    """
    for row in word_lists:
        text = f"{row['list']}: {row['usable']} of {row['words']} usable with this tokenizer"
        if row["dropped"]:
            text += f" (dropped: {list_first(row['dropped'], MAX_WORDS_NAMED)})"
        print_line(f"  {text}")
    if answer_form:
        print_line(f"  {_ANSWER_FORMS[answer_form]}")


def print_check(report: dict[str, Any]) -> None:
    """Print the report of `acdc tasks check --json`: on a task's files, and on its prompts."""
    model = report.get("model")
    hint = "" if model else " (add --model to try its prompts)"
    print_line(f"{report['task']}: the files are valid{hint}")
    if model is None:
        return
    longest = pluralize(report["longest"], "token")
    shortest = report["shortest"]
    lengths = longest if shortest == report["longest"] else f"{shortest} to {longest}"
    sides = report.get("sides", "sides equally long")
    answers = report.get("answers", "every answer one token")
    print_line(
        f"{model}: {pluralize(report['prompts'], 'prompt')} of {lengths}, {sides}, {answers}"
    )
    print_tokenization(report["word_lists"], report["answer_form"])
    print_line(
        f"  the model's first token is right in {format_percent(report['model_accuracy'])}, its "
        f"forced choice in {format_percent(report['model_forced_choice'])} of them"
    )
    if report["not_measured"]:
        print_note(f"note: the model was not run: {report['not_measured']}")
    if equal := report["equal_sides"]:
        print_note(
            f"note: clean and corrupted side are equal in {equal} of {report['prompts']} pairs"
        )
