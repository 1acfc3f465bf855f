"""What a regression asks: its cells, the models that stand in for others, where baselines are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from acdc_pipeline.errors import AcdcError, InvalidInput

if TYPE_CHECKING:
    from acdc_pipeline.execution.planned import PlannedRun
    from acdc_pipeline.regression.cell import CellSpec
    from acdc_pipeline.specs import ModelRef
    from acdc_pipeline.specs.names import Dtype
    from acdc_pipeline.workflows.sweep import Refusal

FOLDER = Path("results") / "baselines"


@dataclass(frozen=True)
class Asked:
    """A cell, with the run that answers it or the reason why none can.

    Args:
        cell: the question.
        planned: the run; None where `error` says why there is none.
        error: such as a model that is not there.
    """

    cell: CellSpec
    planned: PlannedRun | None
    error: AcdcError | None = None


def asked_of(
    sweep: str, dtype: Dtype, stand_ins: Mapping[ModelRef, ModelRef]
) -> tuple[str, tuple[Asked, ...]]:
    """The name of a sweep and its cells. Loads nothing, writes nothing.

    Runs that find no circuit, such as profiles, are no cells.

    Raises:
        InvalidInput: the sweep is not valid, or a stand-in is a model of the sweep itself.
    """
    from acdc_pipeline.regression.cell import cell_of, check_distinct
    from acdc_pipeline.specs import ProfileMethod, find_sweep
    from acdc_pipeline.workflows.sweep import plan_sweep

    spec = find_sweep(sweep)
    plan = plan_sweep(spec, dtype=dtype, stand_ins=stand_ins)
    own = {str(new): str(old) for old, new in stand_ins.items()}
    found = [
        Asked(cell_of(run.run, own.get(run.run.model, run.run.model)), run)
        for run in plan.runs
        if not isinstance(run.run.method, ProfileMethod)
    ]
    found += [
        Asked(_refused(refusal, own), None, refusal.error)
        for refusal in plan.refused
        if not isinstance(refusal.cell.method, ProfileMethod)
    ]
    check_distinct((asked.cell for asked in found), spec.name)
    return spec.name, tuple(found)


def parse_stand_ins(texts: Iterable[str]) -> dict[ModelRef, ModelRef]:
    """`OLD=NEW` as models and those that take their place. Raises InvalidInput."""
    from acdc_pipeline.specs import ModelRef

    found: dict[ModelRef, ModelRef] = {}
    for text in texts:
        old, sign, new = text.partition("=")
        if not (old and sign and new):
            raise InvalidInput(
                f"'{text}' does not name two models",
                field="--replace",
                allowed="OLD=NEW, as in zoo:gpt2-4l-s0=dir:out/model",
            )
        was, now = ModelRef.parse(old), ModelRef.parse(new)
        if was in found or now in found.values():
            raise InvalidInput(f"'{text}' names a model again", field="--replace")
        found[was] = now
    return found


def check_stand_ins(sweep: str, stand_ins: Mapping[ModelRef, ModelRef]) -> None:
    """Raises InvalidInput where a model to be replaced is not in the sweep, or its stand-in is."""
    from acdc_pipeline.models.zoo.catalogue import list_zoo
    from acdc_pipeline.specs import find_sweep

    models = find_sweep(sweep).model_refs(list_zoo())
    for old, new in stand_ins.items():
        if old not in models:
            raise InvalidInput(
                f"{old} is not in the sweep",
                field="--replace",
                allowed=", ".join(map(str, models)),
            )
        if new in models:
            raise InvalidInput(f"{new} is in the sweep itself", field="--replace")


def baselines_folder(given: Path | None) -> Path:
    """Where baselines are: as given, else in the project's folder, else those that ship."""
    if given is not None:
        return given
    from acdc_pipeline.specs import bundled, find_project

    project = find_project()
    if project is not None and (project / FOLDER).is_dir():
        return project / FOLDER
    shipped = bundled() / FOLDER
    return shipped if shipped.is_dir() else folder_to_write(None)


def folder_to_write(given: Path | None) -> Path:
    """Where new baselines go: as given, else into the project's folder, else below this one."""
    if given is not None:
        return given
    from acdc_pipeline.specs import find_project

    return (find_project() or Path.cwd()) / FOLDER


def check_baselines(folder: Path, written: Path | None) -> None:
    """Raises InvalidInput where baselines cannot be: found out before the runs.

    Args:
        folder: where they are read.
        written: where new ones go; None where none are made.
    """
    for path in (folder, *(() if written is None else (written,))):
        if path.exists() and not path.is_dir():
            raise InvalidInput("is not a folder", where=str(path), field="--baselines")
    if written is None:
        return
    there = next(p for p in (written, *written.absolute().parents) if p.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise InvalidInput(
            f"cannot be written: no new file may be made in {there}",
            where=str(written),
            field="--baselines",
        )


def _refused(refusal: Refusal, own: Mapping[str, str]) -> CellSpec:
    from acdc_pipeline.regression.cell import CellSpec
    from acdc_pipeline.specs import circuit_method

    cell, model = refusal.cell, str(refusal.cell.model)
    return CellSpec(
        task=cell.task.name,
        model=own.get(model, model),
        method=circuit_method(cell.method),
        prompts=cell.task.prompts_for(cell.prompts),
        seed=cell.seed,
        dtype=cell.dtype,
    )
