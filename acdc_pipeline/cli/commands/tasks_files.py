"""`acdc tasks import` and `acdc tasks export`: prompts from and for other tools."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.options.numbers import MOST_PROMPTS, MOST_SEED, whole
from acdc_pipeline.cli.terminal.files import STDOUT, check_new, file_for, write_bytes
from acdc_pipeline.cli.terminal.output import note, stdout_kept_clean
from acdc_pipeline.cli.terminal.progress import waiting
from acdc_pipeline.cli.terminal.streams import flush, put
from acdc_pipeline.cli.terminal.words import counted
from acdc_pipeline.errors import InvalidInput, PromptError

if TYPE_CHECKING:
    from acdc_pipeline.specs import TaskSpec
    from acdc_pipeline.specs.prompt_pair import PromptPair

Force = Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")]


def import_prompts(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A prompt file of auto-circuit.")],
    out: Annotated[
        Path | None,
        typer.Option(
            parser=file_for("--out"),
            metavar="PAIRS.jsonl",
            help="Default: the same name, ending in .jsonl; - for stdout.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Turn a prompt file of auto-circuit (JSON with "prompts") into pairs that are a task.

    Example: acdc tasks import prompts.json --out prompts.jsonl
    """
    from acdc_pipeline.specs.auto_circuit import pair_lines, read_auto_circuit

    target = file.with_suffix(".jsonl") if out is None else out
    if target not in (STDOUT, target.with_suffix(".jsonl")):
        raise InvalidInput(
            "pairs are a task only in a file of this kind", where=str(target), allowed="*.jsonl"
        )
    pairs = read_auto_circuit(file)
    _write(target, pair_lines(pairs), force)
    if target != STDOUT:
        note(f"wrote {counted(len(pairs), 'pair')} to {target}; try: acdc tasks check {target}")
        if any(isinstance(pair.clean, str) for pair in pairs):
            note(
                "texts of such a file begin without a beginning-of-sequence token; "
                "a task.yaml with `kind: pairs` and `bos: true` gives them one"
            )


def export_prompts(
    task: shared.TaskName,
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="Whose tokenizer makes the prompts.")
    ],
    prompts: Annotated[
        int,
        typer.Option(
            parser=whole("--prompts", 1, MOST_PROMPTS), metavar="N", help="How many prompt pairs."
        ),
    ] = 64,
    seed: Annotated[
        int,
        typer.Option(
            parser=whole("--seed", 0, MOST_SEED), metavar="N", help="Seed of the prompts."
        ),
    ] = 0,
    out: Annotated[
        Path,
        typer.Option(parser=file_for("--out"), metavar="FILE", help="Default: stdout."),
    ] = STDOUT,
    force: Force = False,
) -> None:
    """Write the prompts of a task as auto-circuit reads them, for one model's tokenizer.

    Texts are without a beginning-of-sequence token. Prompts of token ids are written as ids, with
    all that the model sees, and so are their answers.

    Example: acdc tasks export ioi --model zoo:gpt2-4l-s0 --out ioi.json
    """
    from acdc_pipeline.specs import find_task
    from acdc_pipeline.specs.auto_circuit import auto_circuit_document

    spec = find_task(task)
    with stdout_kept_clean(), waiting(f"making prompts for {model}"):
        document = auto_circuit_document(_pairs(spec, model, prompts, seed))
    _write(out, json.dumps(document, ensure_ascii=False, indent=1) + "\n", force)
    if out != STDOUT:
        note(f"wrote {counted(len(document['prompts']), 'prompt')} to {out}")


def _pairs(spec: TaskSpec, model: str, n: int, seed: int) -> Iterable[PromptPair]:
    from acdc_pipeline.models import locate
    from acdc_pipeline.models.bridge import load_tokenizer
    from acdc_pipeline.prompts.written import written_pairs
    from acdc_pipeline.specs import ModelRef

    tokenizer = load_tokenizer(locate(ModelRef.parse(model)).directory)
    if tokenizer is None:
        raise PromptError("has no tokenizer to make prompts with", where=model)
    return written_pairs(spec, tokenizer, n=n, seed=seed)


def _write(target: Path, text: str, force: bool) -> None:
    if target == STDOUT:
        put(text.encode())
        flush()
        return
    if not force:
        check_new(target)
    write_bytes(target, text.encode())
