"""`acdc tasks mib`: prompt pairs from a data set of the MIB benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acdc_pipeline.cli.commands.tasks_files import load_tokenizer, write_text
from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.options.parsers import output_file
from acdc_pipeline.cli.terminal.files import STDOUT
from acdc_pipeline.cli.terminal.output import print_note
from acdc_pipeline.text import pluralize


def mib_prompts(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="ioi, mcqa, arithmetic-addition, arithmetic-subtraction, arc-easy, arc-challenge",
        ),
    ],
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model whose tokenizer is used.")
    ],
    mib_data: shared.MibData = None,
    split: Annotated[
        str, typer.Option(metavar="SPLIT", help="train, validation or test")
    ] = "train",
    prompts: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most so many, from the first on.")
    ] = 100,
    out: Annotated[
        Path | None,
        typer.Option(**output_file("--out", "PAIRS.jsonl"), help="Default: mib-TASK_MODEL.jsonl."),
    ] = None,
    force: shared.Force = False,
) -> None:
    """Write the prompts of a MIB task for one model's tokenizer, as a task of prompt pairs.

    Runs on such a file are what `acdc compare --mib` submits.

    Example: acdc tasks mib ioi hf:openai-community/gpt2 --mib-data mib-data
    """
    from acdc_pipeline.prompts.mib import MIB_MODELS, check_data_folder, mib_pairs
    from acdc_pipeline.specs import ModelRef
    from acdc_pipeline.specs.auto_circuit import pair_lines
    from acdc_pipeline.specs.catalogue import pairs_name
    from acdc_pipeline.workflows.mib import PREFIX
    from acdc_pipeline.workflows.mib_data import read_mib_rows

    check_data_folder(mib_data)
    rows = read_mib_rows(task, split, mib_data)
    pairs = mib_pairs(task, rows, load_tokenizer(model), prompts)
    name = ModelRef.parse(model).name
    short = MIB_MODELS.get(name, Path(name).name)
    target = Path(f"{PREFIX}{task}_{short}.jsonl") if out is None else out
    write_text(target, pair_lines(pairs), force)
    if target != STDOUT:
        print_note(
            f"wrote {pluralize(len(pairs), 'pair')} to {target}, a task called "
            f"'{pairs_name(target)}'; try: acdc discover {target} {model} "
            "--method eap-ig-inputs --metric logit_diff"
        )
