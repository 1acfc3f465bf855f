"""Evaluations of runs, in files `evaluations/<run_id>/<evaluation_id>.json`.

A committed run never changes: evaluations of it are stored outside of its folder, one file for each
combination of settings. A file appears atomically and contains its own hash, so that a reader finds
a complete evaluation or reports a damaged one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import acdc_pipeline
from acdc_pipeline.errors import DamagedRun, StoreError
from acdc_pipeline.specs import sha256_of
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.store import layout
from acdc_pipeline.store.backends.base import Backend
from acdc_pipeline.store.codec import json_bytes
from acdc_pipeline.store.errors import damaged_run
from acdc_pipeline.store.figure_shapes import check_figures
from acdc_pipeline.store.record import json_data

FILE_VERSION = 1
"""Version of the file format."""

FIGURES_VERSION = 1
"""Version of the figures, part of the id: raised when the definition of a figure changes."""


@dataclass(frozen=True)
class StoredEvaluation:
    """Figures of the circuit of a run.

    Args:
        settings: everything that determines the figures beside the run, as JSON data: parts,
            sample sizes, seed.
        figures: figures by name, as JSON data; None for those that were not measured.
        wall_seconds: duration, in seconds.
        measured_at: time in seconds since 1970 UTC; used only to find the newer of two figures.

    Raises:
        StoreError: a value is not JSON data: a NaN is a failed computation and not a figure.
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
            object.__setattr__(self, name, json_data(getattr(self, name), f"evaluation.{name}"))
        for name in ("wall_seconds", "measured_at"):
            if not math.isfinite(getattr(self, name)):
                raise StoreError("is no number", field=f"evaluation.{name}")

    @property
    def evaluation_id(self) -> str:
        return evaluation_id(self.run_id, self.settings)


def evaluation_id(run_id: str, settings: Mapping[str, Any]) -> str:
    """Return the first digits of a sha256 over everything that determines the figures."""
    identity = {"run_id": run_id, "settings": dict(settings), "figures_version": FIGURES_VERSION}
    return sha256_of(identity)[: layout.EVALUATION_ID_LENGTH]


def encode_evaluation(evaluation: StoredEvaluation) -> bytes:
    """Return the bytes of its file, which contains the sha256 of its other content."""
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
    return json_bytes({**document, "sha256": sha256_of(document)})


def decode_evaluation(run_id: str, name: str, data: bytes) -> StoredEvaluation | None:
    """Return the evaluation in the file `name` of run `run_id`.

    None for one of another version, which cannot be read; its id differs from those of this one.

    Raises:
        DamagedRun: the content differs from what was written.
    """
    try:
        document: dict[str, Any] = read_json(data)
        versions = (document["file_version"], document["figures_version"])
        if versions != (FILE_VERSION, FIGURES_VERSION) and all(type(v) is int for v in versions):
            return None
        if document.pop("sha256") != sha256_of(document):
            raise _damaged(run_id, name, "content differs from what was written (sha256)")
        figures, settings = _mapping(document["figures"]), _mapping(document["settings"])
        try:
            check_figures(figures, settings)
        except ValueError as error:
            raise _damaged(run_id, name, str(error)) from error
        found = StoredEvaluation(
            run_id=document["run_id"],
            settings=settings,
            figures=figures,
            wall_seconds=float(document["wall_seconds"]),
            environment=_mapping(document["environment"]),
            measured_at=float(document["measured_at"]),
            code_version=str(document["code_version"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, StoreError) as error:
        if isinstance(error, DamagedRun):
            raise
        raise _damaged(run_id, name, f"not an evaluation ({error.__class__.__name__})") from error
    if (found.run_id, f"{found.evaluation_id}.json") != (run_id, name):
        raise _damaged(run_id, name, "is the evaluation of something else")
    return found


@dataclass(frozen=True)
class Evaluations:
    """The evaluations of some runs.

    Args:
        by_run: evaluations of each run that has any, the newest last.
    """

    by_run: Mapping[str, tuple[StoredEvaluation, ...]] = field(default_factory=dict)
    damaged: tuple[DamagedRun, ...] = ()


def read_evaluations(backend: Backend, run_ids: Iterable[str] | None = None) -> Evaluations:
    """Return the evaluations of `run_ids`, or of all runs.

    Damaged ones count as absent and are reported; those of another version are skipped.
    """

    def read(path: str) -> tuple[str, StoredEvaluation | DamagedRun | None]:
        run_id, _, name = path.partition("/")
        try:
            return run_id, read_evaluation(backend, run_id, name)
        except DamagedRun as damage:
            return run_id, damage

    found = backend.map(read, _list(backend, None if run_ids is None else frozenset(run_ids)))
    by_run: dict[str, list[StoredEvaluation]] = {}
    for run_id, item in found:
        if isinstance(item, StoredEvaluation):
            by_run.setdefault(run_id, []).append(item)
    return Evaluations(
        by_run={
            run_id: tuple(sorted(some, key=lambda e: (e.measured_at, e.evaluation_id)))
            for run_id, some in by_run.items()
        },
        damaged=tuple(item for _, item in found if isinstance(item, DamagedRun)),
    )


def read_evaluation(backend: Backend, run_id: str, name: str) -> StoredEvaluation | None:
    """Return the evaluation in the file `name`, None if there is none. Raises DamagedRun."""
    data = backend.read(layout.EVALUATIONS, run_id, name)
    return None if data is None else decode_evaluation(run_id, name, data)


def _list(backend: Backend, wanted: frozenset[str] | None) -> list[str]:
    """Return the files of the evaluations of `wanted` runs as `<run_id>/<name>`, in order."""
    backend.refresh()
    if wanted is None:
        found = list(backend.find(layout.EVALUATIONS))
    else:
        listed = sorted(wanted & backend.names(layout.EVALUATIONS))
        files = backend.map(lambda run_id: backend.find(layout.EVALUATIONS, run_id), listed)
        found = [f"{i}/{name}" for i, some in zip(listed, files, strict=True) for name in some]
    split = ((path, *path.partition("/")) for path in sorted(found))
    return [
        path
        for path, run_id, _, name in split
        if layout.is_run_id(run_id)
        and layout.evaluation_id_of(name)
        and (wanted is None or run_id in wanted)
    ]


def _damaged(run_id: str, name: str, problem: str) -> DamagedRun:
    return damaged_run(
        run_id,
        problem,
        field=f"{layout.EVALUATIONS}/{name}",
        fix=f"acdc evaluate {run_id[:8]}: a damaged evaluation counts as absent and is replaced",
    )


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value
