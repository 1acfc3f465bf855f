"""JSON Schemas of YAML and JSONL files, for completion and checks in editors.

`python -m benchmarks.docs_pages.json_schemas docs/schemas` writes them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from acdc_pipeline.specs.base import Spec
from acdc_pipeline.specs.circuit_reference import ReferenceCircuit
from acdc_pipeline.specs.profile import WorkerProfile
from acdc_pipeline.specs.project import Settings
from acdc_pipeline.specs.prompt_pair import PromptPair
from acdc_pipeline.specs.sweep import SweepSpec
from acdc_pipeline.specs.task import TaskSpec

SCHEMAS: Mapping[str, type[Spec]] = {
    "task": TaskSpec,
    "circuit": ReferenceCircuit,
    "sweep": SweepSpec,
    "worker-profile": WorkerProfile,
    "prompt-pair": PromptPair,
    "settings": Settings,
}


def schema_texts() -> dict[str, str]:
    """The contents of every schema file by file name."""
    return {
        f"{name}.schema.json": json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema"}
            | kind.model_json_schema(mode="validation"),
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
        for name, kind in SCHEMAS.items()
    }


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema into `folder`, and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in schema_texts().items():
        (folder / name).write_text(text, encoding="utf-8")
        paths.append(folder / name)
    return paths


if __name__ == "__main__":
    for written in write_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas")):
        sys.stdout.write(f"{written}\n")
