"""`acdc tasks import` and `acdc tasks export`: prompts from and for other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.options.parsers import output_file
from acdc_pipeline.cli.terminal.files import STDOUT, check_new
from acdc_pipeline.cli.terminal.output import print_note
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.streams import flush_stdout, write_stdout
from acdc_pipeline.errors import InvalidInput, PromptError
from acdc_pipeline.files import write_bytes
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def import_prompts(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A prompt file of auto-circuit.")],
    out: Annotated[
        Path | None,
        typer.Option(
            **output_file("--out", "PAIRS.jsonl"),
            help="Default: the same name, ending in .jsonl; - for stdout.",
        ),
    ] = None,
    force: shared.Force = False,
) -> None:
    """Convert a prompt file of auto-circuit (JSON with "prompts") into a task of prompt pairs.

    Example: acdc tasks import prompts.json --out prompts.jsonl
    """
    from acdc_pipeline.specs.auto_circuit import pair_lines, read_auto_circuit

    target = file.with_suffix(".jsonl") if out is None else out
    if target not in (STDOUT, target.with_suffix(".jsonl")):
        raise InvalidInput(
            "prompt pairs are a task only in a file of this kind",
            where=str(target),
            allowed="*.jsonl",
        )
    pairs = read_auto_circuit(file)
    write_text(target, pair_lines(pairs), force)
    if target != STDOUT:
        print_note(
            f"wrote {pluralize(len(pairs), 'pair')} to {target}; try: acdc tasks check {target}"
        )
        if any(isinstance(pair.clean, str) for pair in pairs):
            print_note(
                "texts of such a file begin without a beginning-of-sequence token; "
                "a task.yaml with `kind: pairs` and `bos: true` adds one"
            )


def export_prompts(
    task: shared.TaskName,
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="The model whose tokenizer is used.")
    ],
    prompts: shared.PromptCount = 64,
    seed: shared.PromptSeed = 0,
    out: Annotated[Path, typer.Option(**output_file("--out"), help="Default: stdout.")] = STDOUT,
    force: shared.Force = False,
) -> None:
    """Write the prompts of a task as auto-circuit reads them, for one model's tokenizer.

    Texts are without a beginning-of-sequence token. Prompts of token ids, and their answers, are
    written as ids, with every token that the model sees.

    Example: acdc tasks export ioi --model zoo:gpt2-4l-s0 --out ioi.json
    """
    from acdc_pipeline.specs import find_task
    from acdc_pipeline.specs.auto_circuit import auto_circuit_document

    spec = find_task(task)
    with show_status(f"making prompts for {model}"):
        from acdc_pipeline.prompts.make import export_pairs

        pairs = export_pairs(spec, load_tokenizer(model), n=prompts, seed=seed)
        document = auto_circuit_document(pairs)
    write_text(out, json.dumps(document, ensure_ascii=False, indent=1) + "\n", force)
    if out != STDOUT:
        print_note(f"wrote {pluralize(len(document['prompts']), 'prompt')} to {out}")


def load_tokenizer(model: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model. Raises PromptError if it has none."""
    tokenizer = find_tokenizer(model)
    if tokenizer is None:
        raise PromptError("has no tokenizer to make prompts with", where=model)
    return tokenizer


def find_tokenizer(model: str) -> PreTrainedTokenizerBase | None:
    """Load the tokenizer of a model; None if it has none."""
    from acdc_pipeline.models import locate
    from acdc_pipeline.models.bridge import load_tokenizer as load_from
    from acdc_pipeline.specs import ModelRef

    return load_from(locate(ModelRef.parse(model)).directory)


def write_text(target: Path, text: str, force: bool) -> None:
    """Write text to stdout or a file. Raises InvalidInput if the file exists without `force`."""
    if target == STDOUT:
        write_stdout(text.encode())
        flush_stdout()
        return
    if not force:
        check_new(target)
    write_bytes(target, text.encode())
