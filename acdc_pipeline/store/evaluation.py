"""One evaluation of one run, and the file it is kept in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import acdc_pipeline
from acdc_pipeline.errors import DamagedRun, StoreError
from acdc_pipeline.json_text import read_json
from acdc_pipeline.specs import sha256_of
from acdc_pipeline.store import layout
from acdc_pipeline.store.encode import json_bytes

FILE_VERSION = 1
"""Of the form of the file."""

FIGURES_VERSION = 1
"""Of what the figures mean: part of the id, raised when a measure changes."""


@dataclass(frozen=True)
class StoredEvaluation:
    """What was measured of the circuit of a run.

    Args:
        run_id: the run.
        settings: everything that decides the figures beside the run, as JSON data: which parts
            were measured, how much was drawn, the seed.
        figures: what was measured, by name, as JSON data. None stands for what was not measured.
        wall_seconds: how long it took, in seconds.
        environment: versions, device, dtype.
        measured_at: when, in seconds since 1970 UTC; decides nothing but which of two figures is
            newer.
        code_version: of this package.

    Raises:
        StoreError: a value that JSON cannot hold: a NaN is a failed computation and no figure.
    """

    run_id: str
    settings: Mapping[str, Any]
    figures: Mapping[str, Any]
    wall_seconds: float
    environment: Mapping[str, str]
    measured_at: float
    code_version: str = acdc_pipeline.__version__

    def __post_init__(self) -> None:
        for name in ("settings", "figures"):
            object.__setattr__(self, name, _json_data(getattr(self, name), f"evaluation.{name}"))
        for name in ("wall_seconds", "measured_at"):
            if not math.isfinite(getattr(self, name)):
                raise StoreError("is no number", field=f"evaluation.{name}")

    @property
    def evaluation_id(self) -> str:
        """Its name beside the run."""
        return evaluation_id(self.run_id, self.settings)


def evaluation_id(run_id: str, settings: Mapping[str, Any]) -> str:
    """The first digits of a sha256 over what decides the figures, and over nothing else."""
    decides = {"run_id": run_id, "settings": dict(settings), "figures_version": FIGURES_VERSION}
    return sha256_of(decides)[: layout.EVALUATION_ID_LENGTH]


def encode_evaluation(evaluation: StoredEvaluation) -> bytes:
    """The bytes of its file, which holds the sha256 of all else that it holds."""
    document = {
        "file_version": FILE_VERSION,
        "figures_version": FIGURES_VERSION,
        "run_id": evaluation.run_id,
        "evaluation_id": evaluation.evaluation_id,
        "code_version": evaluation.code_version,
        "settings": dict(evaluation.settings),
        "figures": dict(evaluation.figures),
        "wall_seconds": float(evaluation.wall_seconds),
        "environment": dict(evaluation.environment),
        "measured_at": float(evaluation.measured_at),
    }
    return json_bytes({**document, "sha256": _seal(document)})


def decode_evaluation(run_id: str, name: str, data: bytes) -> StoredEvaluation | None:
    """The evaluation in the file `name` beside run `run_id`.

    None for one of another version: it is neither read nor in the way, since its id differs.

    Raises:
        DamagedRun: it is not what was written.
    """
    try:
        document: dict[str, Any] = read_json(data)
        if _is_of_another_version(document):
            return None
        sealed = document.pop("sha256")
        if sealed != _seal(document):
            raise damaged_evaluation(run_id, name, "content differs from what was written (sha256)")
        found = StoredEvaluation(
            run_id=document["run_id"],
            settings=_mapping(document["settings"]),
            figures=_mapping(document["figures"]),
            wall_seconds=float(document["wall_seconds"]),
            environment=_mapping(document["environment"]),
            measured_at=float(document["measured_at"]),
            code_version=str(document["code_version"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, StoreError) as error:
        if isinstance(error, DamagedRun):
            raise
        raise damaged_evaluation(
            run_id, name, f"not an evaluation ({error.__class__.__name__})"
        ) from error
    if (found.run_id, f"{found.evaluation_id}.json") != (run_id, name):
        raise damaged_evaluation(run_id, name, "is the evaluation of something else")
    return found


def damaged_evaluation(run_id: str, name: str, problem: str) -> DamagedRun:
    """The error for a file that is not the evaluation that was written."""
    return DamagedRun(
        problem,
        where=f"run {run_id}",
        field=f"{layout.EVALUATIONS}/{name}",
        fix=f"acdc evaluate {run_id[:8]}: a damaged evaluation counts as absent and is replaced",
    )


def _is_of_another_version(document: Mapping[str, Any]) -> bool:
    versions = (document["file_version"], document["figures_version"])
    return versions != (FILE_VERSION, FIGURES_VERSION) and all(type(v) is int for v in versions)


def _seal(document: Mapping[str, Any]) -> str:
    return sha256_of(dict(document))


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _json_data(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(dict(data), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise StoreError(f"not JSON data: {error}", field=name) from error
