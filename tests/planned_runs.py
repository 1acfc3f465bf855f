"""Runs ready to be handed to workers, without a model behind them."""

from __future__ import annotations

from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.specs import RunSpec, TaskSpec
from tests import records

TASK = TaskSpec.from_plain(
    {
        "name": "made_up",
        "title": "Made up",
        "behaviour": "a -> b",
        "source": {"paper": "none"},
        "generator": {
            "kind": "pairs",
            "bos": False,
            "pairs": [{"clean": [0, 1], "corrupted": [2, 1], "correct": [3], "incorrect": []}],
        },
        "metrics": {"discovery": "kl", "report": []},
    }
)


def planned(
    *, model: str = "zoo:attn-2l", prompts: int = 64, seed: int = 0, threshold: float = 0.01
) -> PlannedRun:
    """A run; one that differs in anything is another run."""
    base = records.spec(seed)
    method = base.method.model_copy(update={"threshold": threshold})
    changes = {"model": model, "model_revision": model, "prompts": prompts, "method": method}
    return PlannedRun(RunSpec.model_validate({**base.model_dump(), **changes}), TASK)
