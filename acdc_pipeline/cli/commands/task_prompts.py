"""The prompts of a task under a model's tokenizer, for `acdc tasks`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.commands import tasks_files
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.streams import reserve_stdout
from acdc_pipeline.errors import PromptError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from acdc_pipeline.prompts import PromptSet
    from acdc_pipeline.specs import TaskSpec
    from acdc_pipeline.specs.names import Positions


@dataclass(frozen=True)
class TaskPrompts:
    """Prompts of a task.

    Args:
        prompts: the prompts as tensors.
        rows: the first row of each prompt; several answers of a prompt have a row each.
        pairs: each prompt as JSON data.
        answer_form: the form of answers, if the task has several.
        tokenizer: tokenizer of the model, if it has one.
    """

    prompts: PromptSet
    rows: list[int]
    pairs: list[dict[str, Any]]
    answer_form: str | None
    tokenizer: PreTrainedTokenizerBase | None

    def marked(self, number: int) -> tuple[list[str], list[str]]:
        """Return the text of each token of a prompt with spans, and its span."""
        assert self.prompts.spans is not None
        row = self.rows[number]
        return self.token_texts(number), self.prompts.spans.names_of(row)

    def token_texts(self, number: int) -> list[str]:
        """Return the text of each token of a prompt; its id for a model without a tokenizer."""
        row = self.rows[number]
        ids: list[int] = self.prompts.clean[row, : int(self.prompts.lengths[row])].tolist()
        if self.tokenizer is None:
            return [f" {token}" for token in ids]
        return _token_texts(ids, self.tokenizer)


def make_task_prompts(
    spec: TaskSpec, model: str, count: int, seed: int, positions: Positions = "none"
) -> TaskPrompts:
    """Make prompts of a task for a model. Raises PromptError."""
    with show_status(f"making prompts for {model}"):
        from acdc_pipeline.prompts import answer_form, make_prompts

        tokenizer = tasks_files.find_tokenizer(model)
        if tokenizer is None:  # then the model's shapes decide which ids there are
            from acdc_pipeline.execution.worker import prompts_for
            from acdc_pipeline.models import load_model

            loaded, form = load_model(model), None
            made = prompts_for(loaded, spec, n=count, seed=seed, positions=positions)
        else:
            made = make_prompts(spec, tokenizer, n=count, seed=seed, positions=positions)
            form = answer_form(spec, tokenizer)
    questions = range(len(made)) if made.whole is None else made.whole.question
    first = {question: row for row, question in reversed(list(enumerate(questions)))}
    rows = sorted(first.values())
    pairs = [
        {
            "clean": made.clean_text[row],
            "corrupted": made.corrupted_text[row],
            **_answer_texts(made, row, tokenizer),
            "tokens": int(made.answer_pos[made.answer_row == row][0]) + 1,
            **({} if made.spans is None else {"spans": made.spans.positions_of(row)}),
        }
        for row in rows
    ]
    return TaskPrompts(made, rows, pairs, form, tokenizer)


def check_word_lists(spec: TaskSpec, model: str) -> list[dict[str, Any]]:
    """Return, for each word list, the words that are single tokens of `model`, and the others."""
    with reserve_stdout():
        from acdc_pipeline.prompts import word_uses

        uses = word_uses(spec)
        if not uses:
            return []
        try:
            tokenizer = tasks_files.load_tokenizer(model)
        except PromptError:
            return []
    usable = [set(use.list_usable(tokenizer)) for use in uses]
    return [
        {
            "list": use.name,
            "words": len(use.words),
            "usable": len(words),
            "dropped": [word for word in use.words if word not in words],
        }
        for use, words in zip(uses, usable, strict=True)
    ]


def _token_texts(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return what each token adds to the text: many tokenizers write the space only between two."""
    texts = [str(tokenizer.decode(ids[:end])) for end in range(len(ids) + 1)]
    return [
        after.removeprefix(before) if after.startswith(before) else str(tokenizer.decode([token]))
        for before, after, token in zip(texts, texts[1:], ids, strict=False)
    ]


def _answer_texts(
    made: PromptSet, row: int, tokenizer: PreTrainedTokenizerBase | None
) -> dict[str, list[str]]:
    """Return the correct and the incorrect answers of the prompt in `row`.

    They are texts, or token ids where there is no tokenizer.
    """

    def tokens_of(row: int) -> list[int]:
        """The token that each position of a row predicts."""
        return [made.correct[a][0] for a in (made.answer_row == row).nonzero().flatten().tolist()]

    if made.whole is None:
        answer = int((made.answer_row == row).nonzero()[0])
        sides = [[[token] for token in side[answer]] for side in (made.correct, made.incorrect)]
    else:
        question, correct = made.whole.question, made.whole.correct
        rows = [other for other, of in enumerate(question) if of == question[row]]
        sides = [[tokens_of(r) for r in rows if correct[r] is side] for side in (True, False)]
    texts = [
        [
            " ".join(map(str, ids)) if tokenizer is None else str(tokenizer.decode(ids))
            for ids in side
        ]
        for side in sides
    ]
    return dict(zip(("correct", "incorrect"), texts, strict=True))
