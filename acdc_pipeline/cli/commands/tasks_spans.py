"""`acdc tasks spans`: propose spans for prompts, and write them into prompt pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from acdc_pipeline.cli.commands.task_prompts import TaskPrompts, make_task_prompts
from acdc_pipeline.cli.commands.tasks_files import write_text
from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.options.parsers import output_file
from acdc_pipeline.cli.terminal.files import STDOUT
from acdc_pipeline.cli.terminal.output import print_note
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from acdc_pipeline.specs import TaskSpec
    from acdc_pipeline.specs.prompt_pair import PromptPair

SpansFile = Annotated[
    Path | None,
    typer.Option("--spans", metavar="SPANS.yaml", help="An edited proposal. Default: propose one."),
]


def propose_spans(
    task: shared.TaskName,
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="The model whose tokenizer is used.")
    ],
    prompts: shared.PromptCount = 256,
    seed: shared.PromptSeed = 0,
    spans: SpansFile = None,
    out: Annotated[
        Path,
        typer.Option(
            **output_file("--out"),
            help="A .jsonl: the pairs with their spans. Else the patterns. Default: stdout.",
        ),
    ] = STDOUT,
    force: shared.Force = False,
) -> None:
    """Propose spans for prompts that have none, as patterns in YAML to edit.

    A token that is the same in many prompts is a span, and so is a slot that varies. Edit the
    names, then write the spans into the pairs: --spans SPANS.yaml --out NEW.jsonl.

    Example: acdc tasks spans pairs.jsonl --model zoo:gpt2-4l-s0 --out spans.yaml
    """
    from acdc_pipeline.specs import find_task
    from acdc_pipeline.specs.load import load_yaml
    from acdc_pipeline.specs.span_schema import SpanSchema

    spec = find_task(task)
    pairs = _pairs_of(spec, task) if out.suffix == ".jsonl" else None
    schema = None if spans is None else load_yaml(spans, SpanSchema)
    count = prompts if pairs is None or schema is None else len(pairs)
    made = make_task_prompts(spec, model, count, seed)
    texts, answers = _texts_and_answers(made)

    from acdc_pipeline.prompts.span_schema import propose_schema
    from acdc_pipeline.prompts.span_schema_file import schema_text

    if schema is None:
        schema = propose_schema(texts, answers, _count_special(made))
    if pairs is None:
        write_text(out, schema_text(schema, texts, spec.name), force)
    else:
        if len(made.rows) < len(pairs):
            made = make_task_prompts(spec, model, len(pairs), seed)
        write_text(out, _lines(spec, schema, made, pairs), force)
    if out != STDOUT:
        what = pluralize(len(schema.patterns), "pattern") if pairs is None else "the spans"
        more = f"acdc tasks show {out} --model {model}"
        if pairs is None:
            more = f"acdc tasks spans {task} --model {model} --spans {out} --out NEW.jsonl"
        print_note(f"wrote {what} to {out}; try: {more}")


def _pairs_of(spec: TaskSpec, task: str) -> Sequence[PromptPair]:
    """Return the pairs of a task of pairs. Raises InvalidInput for other tasks."""
    from acdc_pipeline.specs import PairsGenerator

    if isinstance(spec.generator, PairsGenerator):
        return spec.generator.pairs
    raise InvalidInput(
        f"the generator {spec.generator.kind} makes its prompts, and names their spans itself",
        where=task,
        field="--out",
        allowed="a .jsonl for tasks of prompt pairs; a .yaml for others",
    )


def _texts_and_answers(
    made: TaskPrompts,
) -> tuple[list[list[str]], list[dict[int, Literal["correct", "incorrect"]]]]:
    """Return the text of each token of each prompt, and which of them are answers."""
    texts = [made.token_texts(number) for number in range(len(made.rows))]
    if made.prompts.whole is not None:
        return texts, [{} for _ in texts]
    answers: list[dict[int, Literal["correct", "incorrect"]]] = []
    single = all(len(correct) == 1 for correct in made.prompts.correct)
    for row, of_prompt in zip(made.rows, texts, strict=True):
        found: dict[int, Literal["correct", "incorrect"]] = {}
        ids: list[int] = made.prompts.clean[row, : len(of_prompt)].tolist()
        for position, token in enumerate(ids if single else ()):
            if token in made.prompts.correct[row]:
                found[position] = "correct"
            elif token in made.prompts.incorrect[row]:
                found[position] = "incorrect"
        answers.append(found)
    return texts, answers


def _count_special(made: TaskPrompts) -> int:
    """Return how many special tokens are in front of the first prompt."""
    if made.tokenizer is None:
        return 0
    special = {*made.tokenizer.all_special_ids}
    ids: list[int] = made.prompts.clean[made.rows[0]].tolist()
    return next((i for i, token in enumerate(ids) if token not in special), 0)


def _lines(spec: TaskSpec, schema: object, made: TaskPrompts, pairs: Sequence[PromptPair]) -> str:
    """Return the lines of the pairs with their spans. Raises PromptError."""
    from acdc_pipeline.prompts.pairs import list_pairs
    from acdc_pipeline.prompts.span_schema import apply_schema
    from acdc_pipeline.prompts.span_schema_file import pair_line
    from acdc_pipeline.specs import PairsGenerator
    from acdc_pipeline.specs.span_schema import SpanSchema

    assert isinstance(spec.generator, PairsGenerator)
    assert isinstance(schema, SpanSchema)
    texts, answers = _texts_and_answers(made)
    listed = list_pairs(spec.generator, name=spec.name, n=len(pairs), split="all")
    places = [pair.where or spec.name for pair in listed]
    named = apply_schema(schema, texts, answers, places)
    return "".join(pair_line(pair, spans) for pair, spans in zip(pairs, named, strict=True))
