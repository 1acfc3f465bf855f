"""Write the compiled models, the prompts of their tasks, and their page of the documentation.

python -m acdc_pipeline.models.zoo.compiled \
    --out acdc_pipeline/models/zoo/weights --tasks tasks --docs docs
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from acdc_pipeline.models.zoo.compiled.catalogue import PROGRAMS
from acdc_pipeline.models.zoo.compiled.publish import write_model, write_page, write_task_data


def main(arguments: Sequence[str] | None = None) -> None:
    """Write every compiled model below `--out`, optionally task folders and documentation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="directory of model directories")
    parser.add_argument("--tasks", type=Path, help="directory of task folders")
    parser.add_argument("--docs", type=Path, help="directory of compiled-models.md")
    given = parser.parse_args(arguments)
    for program in PROGRAMS:
        sys.stdout.write(f"{write_model(program, given.out)}\n")
        if given.tasks:
            write_task_data(program, given.tasks)
    if given.docs:
        write_page(PROGRAMS, given.docs)


if __name__ == "__main__":
    main()
