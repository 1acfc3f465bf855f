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
_ATTEMPT = re.compile(r"[0-9a-f]{16}", re.ASCII)


def is_run_id(name: str) -> bool:
    """Whether `name` has the form of a run id."""
    return _RUN_ID.fullmatch(name) is not None


def is_attempt(name: str) -> bool:
    """Whether `name` has the form of an attempt's name."""
    return _ATTEMPT.fullmatch(name) is not None


def checked_run_id(name: str) -> str:
    """`name`, if it is a run id. Raises StoreError before it could become a path."""
    if not is_run_id(name):
        raise StoreError(
            f"{name!r} is not a run id", allowed=f"{RUN_ID_LENGTH} digits of 0-9 and a-f"
        )
    return name
