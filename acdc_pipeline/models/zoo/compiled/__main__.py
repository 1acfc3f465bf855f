"""Writes the shipped directories of the compiled models, and the prompts of their tasks.

python -m acdc_pipeline.models.zoo.compiled --out acdc_pipeline/models/zoo/weights --tasks tasks
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from acdc_pipeline.models.zoo.compiled.catalogue import PROGRAMS
from acdc_pipeline.models.zoo.compiled.directory import write_model, write_task_data


def main(arguments: Sequence[str] | None = None) -> None:
    """Write every compiled model below `--out`, and task data below `--tasks` if it is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="directory of model directories")
    parser.add_argument("--tasks", type=Path, help="directory of task folders")
    given = parser.parse_args(arguments)
    for program in PROGRAMS:
        sys.stdout.write(f"{write_model(program, given.out)}\n")
        if given.tasks:
            write_task_data(program, given.tasks)


if __name__ == "__main__":
    main()
