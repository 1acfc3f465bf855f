"""Names inside a store, and the check that stands between a name and a path."""

from __future__ import annotations

import re

from acdc_pipeline.errors import StoreError
from acdc_pipeline.specs.run import RUN_ID_LENGTH

RUNS = "runs"
TMP = "tmp"
CHECKPOINTS = "checkpoints"
FAILED = "failed"
"""Why runs failed, beside the runs that did not."""
EVALUATIONS = "evaluations"
"""What `evaluate` found of runs, beside them: a run itself never changes."""
QUARANTINE = "quarantine"
"""Where a damaged run goes when a whole one takes its place."""

MARKER = "_COMMIT.json"
FAILURE = "FAILED.json"
RUN = "run.json"
GRAPH = "graph.json"
EDGES = "edges.parquet"
NODES = "nodes.parquet"
STEPS = "steps.parquet"
HEADS = "heads.parquet"
PROFILE = "profile.json"
FILES = (EDGES, NODES, STEPS, HEADS, PROFILE, GRAPH, RUN)

_RUN_ID = re.compile(rf"[0-9a-f]{{{RUN_ID_LENGTH}}}", re.ASCII)
EVALUATION_ID_LENGTH = 16
_EVALUATION = re.compile(rf"([0-9a-f]{{{EVALUATION_ID_LENGTH}}})\.json", re.ASCII)
_ATTEMPT = re.compile(r"[0-9a-f]{16}", re.ASCII)


def is_run_id(name: str) -> bool:
    """Whether `name` has the form of a run id."""
    return _RUN_ID.fullmatch(name) is not None


def is_attempt(name: str) -> bool:
    """Whether `name` has the form of an attempt's name."""
    return _ATTEMPT.fullmatch(name) is not None


def evaluation_id_of(name: str) -> str | None:
    """The id of the evaluation in a file of that name; None for any other file."""
    match = _EVALUATION.fullmatch(name)
    return None if match is None else match[1]


def checked_run_id(name: str) -> str:
    """`name`, if it is a run id. Raises StoreError before it could become a path."""
    if not is_run_id(name):
        raise StoreError(
            f"{name!r} is not a run id", allowed=f"{RUN_ID_LENGTH} digits of 0-9 and a-f"
        )
    return name
