"""Names of files and folders in a store, and the checks before a name becomes a path."""

from __future__ import annotations

import re
import secrets

from acdc_pipeline.errors import StoreError
from acdc_pipeline.specs.run import RUN_ID_LENGTH

RUNS = "runs"
TMP = "tmp"
CHECKPOINTS = "checkpoints"
FAILED = "failed"
"""Causes of failed runs."""
EVALUATIONS = "evaluations"
"""Evaluations of runs, outside of `runs/`: a committed run never changes."""
QUARANTINE = "quarantine"
"""Damaged runs that were replaced by intact ones."""
CLAIMS = "claims"
"""Runs that a driver executes at the moment."""
INDEX = ("index", "v1")
"""The index, a cache; another version of its columns is another folder."""

MARKER = "_COMMIT.json"
FAILURE = "FAILED.json"
RUN = "run.json"
GRAPH = "graph.json"
EDGES = "edges.parquet"
NODES = "nodes.parquet"
STEPS = "steps.parquet"
HEADS = "heads.parquet"
PROFILE = "profile.json"
CONSENSUS = "consensus.json"
TEXT = "text.json"
FILES = (EDGES, NODES, STEPS, HEADS, PROFILE, CONSENSUS, TEXT, GRAPH, RUN)

EVALUATION_ID_LENGTH = 16

_RUN_ID = re.compile(rf"[0-9a-f]{{{RUN_ID_LENGTH}}}", re.ASCII)
_EVALUATION = re.compile(rf"([0-9a-f]{{{EVALUATION_ID_LENGTH}}})\.json", re.ASCII)
SUFFIX = "[0-9a-f]{16}"
"""The form of what `new_suffix` returns, as a regular expression."""
_ATTEMPT = re.compile(SUFFIX, re.ASCII)
# with a second suffix until it is written
_PROBE = re.compile(rf"probe\.{SUFFIX}(?:\.{SUFFIX})?", re.ASCII)


_CLAIM = re.compile(rf"([0-9a-f]{{{RUN_ID_LENGTH}}})\.([0-9]{{1,6}})\.json", re.ASCII)


def is_run_id(name: str) -> bool:
    """Return whether `name` has the form of a run id."""
    return _RUN_ID.fullmatch(name) is not None


def is_attempt(name: str) -> bool:
    """Return whether `name` has the form of an attempt's name."""
    return _ATTEMPT.fullmatch(name) is not None


def is_probe(name: str) -> bool:
    """Return whether `name` has the form of a probe's name."""
    return _PROBE.fullmatch(name) is not None


def new_probe_name() -> str:
    """Return a name for a file that tests the store, unlike any other."""
    return f"probe.{new_suffix()}"


def new_suffix() -> str:
    """Return a suffix that makes the name of a file unlike any other."""
    return secrets.token_hex(8)


def checkpoint_name(run_id: str) -> str:
    """Return the name of the checkpoint of a run, in `checkpoints/`."""
    return f"{run_id}.parquet"


def evaluation_id_of(name: str) -> str | None:
    """Return the id of the evaluation in a file of that name; None for any other file."""
    match = _EVALUATION.fullmatch(name)
    return None if match is None else match[1]


def claim_name(run_id: str, generation: int) -> str:
    """Return the name of a claim of a run, in `claims/`."""
    return f"{run_id}.{generation}.json"


def claim_of(name: str) -> tuple[str, int] | None:
    """Return run and generation of the claim in a file of that name; None for any other file."""
    match = _CLAIM.fullmatch(name)
    return None if match is None else (match[1], int(match[2]))


def checked_run_id(name: str) -> str:
    """Return `name` if it is a run id. Raises StoreError before it could become a path."""
    if not is_run_id(name):
        raise StoreError(
            f"{name!r} is not a run id", allowed=f"{RUN_ID_LENGTH} digits of 0-9 and a-f"
        )
    return name
