"""Small sweeps: tasks of token ids, models that are tiny or nothing but a configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.specs import SweepSpec, TaskSpec, parse
from tests import records

PAIRS = (
    {"clean": [1, 2, 3], "corrupted": [4, 2, 3], "correct": 5},
    {"clean": [2, 3, 1], "corrupted": [5, 3, 1], "correct": 6},
)
"""Prompt pairs that every model with eight tokens can read."""

SWEEP: dict[str, Any] = {
    "name": "small",
    "tasks": ["compiled_or"],
    "models": ["zoo:compiled-or"],
    "methods": [{"name": "acdc", "thresholds": [0.1]}],
    "prompts": 8,
    "seeds": [0],
}
"""One model, one task, one threshold."""


def id_task(name: str, pairs: Sequence[dict[str, Any]] = PAIRS) -> TaskSpec:
    """A task of token ids."""
    return parse(
        {
            "name": name,
            "title": name,
            "behaviour": "token ids",
            "source": {"paper": "none"},
            "generator": {"kind": "pairs", "bos": False, "pairs": list(pairs)},
            "metrics": {"discovery": "kl", "report": ["accuracy"]},
        },
        TaskSpec,
        f"{name}.yaml",
    )


def write_pairs(path: Path, pairs: Sequence[dict[str, Any]] = PAIRS) -> Path:
    """A `.jsonl` of prompt pairs, which is a task."""
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return path


def write_sweep(path: Path, **changes: Any) -> Path:
    """A sweep file: `SWEEP` with `changes` (JSON is YAML)."""
    path.write_text(json.dumps(SWEEP | changes))
    return path


def sweep(**changes: Any) -> SweepSpec:
    """`SWEEP` with `changes`."""
    return parse(SWEEP | changes, SweepSpec, "small.yaml")


def write_shape(directory: Path, **config: Any) -> Path:
    """A model directory that can be planned with and not loaded: GPT-2's shape, empty weights."""
    data = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 16,
        "vocab_size": 40,
        "n_positions": 32,
    }
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps({**data, **config}))
    (directory / "model.safetensors").write_bytes(b"")
    return directory


def planned(seed: int = 0) -> PlannedRun:
    """The run of `records.record(seed)`."""
    return PlannedRun(records.spec(seed), id_task("ioi"))
