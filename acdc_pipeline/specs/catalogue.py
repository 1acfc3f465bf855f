"""Finding tasks, worker profiles and sweeps by name.

The order is always: an explicit path, the project folder, the files that ship with the package.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

from acdc_pipeline.errors import SpecError, UnknownName
from acdc_pipeline.specs.base import Spec
from acdc_pipeline.specs.circuit_reference import ReferenceCircuit
from acdc_pipeline.specs.files import display_path
from acdc_pipeline.specs.generators import PairsGenerator
from acdc_pipeline.specs.load import load_yaml
from acdc_pipeline.specs.pair_lines import read_pair_lines
from acdc_pipeline.specs.profile import WorkerProfile
from acdc_pipeline.specs.project import bundled_folder, find_project
from acdc_pipeline.specs.sweep import SweepSpec
from acdc_pipeline.specs.task import OWN_PROMPTS, REFERENCE, TaskMetrics, TaskSpec

_S = TypeVar("_S", bound=Spec)

_TASKS = "'acdc tasks list' shows all, 'acdc tasks new NAME' starts a new one"


def find_task(name_or_path: str | Path, project: Path | None = None) -> TaskSpec:
    """The task called `name_or_path`: a name, a task folder, its `task.yaml`, or a `.jsonl`.

    Raises:
        UnknownName: no such task; names the nearest.
        SpecError: the file has a problem.
    """
    text = str(name_or_path)
    if text.endswith(".jsonl"):
        return task_from_pairs(Path(text))
    return load_yaml(task_file(name_or_path, project), TaskSpec)


def task_file(name_or_path: str | Path, project: Path | None = None) -> Path:
    """The `task.yaml` that `find_task` reads. Raises UnknownName."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return path
    if (path / "task.yaml").is_file():
        return path / "task.yaml"
    known = list_tasks(project)
    if str(name_or_path) not in known:
        raise UnknownName.among("task", str(name_or_path), known, fix=_TASKS)
    return known[str(name_or_path)]


def list_tasks(project: Path | None = None) -> dict[str, Path]:
    """Every task by name with its `task.yaml`; those of the project take precedence."""
    return _files("tasks/*/task.yaml", project)


def find_reference(
    name_or_path: str | Path, project: Path | None = None
) -> ReferenceCircuit | None:
    """The published circuit of a task, or None without one."""
    if str(name_or_path).endswith(".jsonl"):
        return None
    path = task_file(name_or_path, project).with_name(REFERENCE)
    return load_yaml(path, ReferenceCircuit) if path.is_file() else None


def find_profile(name_or_path: str | Path, project: Path | None = None) -> WorkerProfile:
    """The worker profile called `name_or_path`. Raises UnknownName or SpecError."""
    return _find_yaml("worker profile", "workers", name_or_path, WorkerProfile, project)


def find_sweep(name_or_path: str | Path, project: Path | None = None) -> SweepSpec:
    """The sweep called `name_or_path`. Raises UnknownName or SpecError."""
    return _find_yaml("sweep", "deploy/sweeps", name_or_path, SweepSpec, project)


def list_profiles(project: Path | None = None) -> dict[str, Path]:
    """Every worker profile by name with its file; those of the project take precedence."""
    return _files("workers/*.yaml", project)


def list_sweeps(project: Path | None = None) -> dict[str, Path]:
    """Every sweep by name with its file; those of the project take precedence."""
    return _files("deploy/sweeps/*.yaml", project)


def task_from_pairs(path: Path) -> TaskSpec:
    """A task made from a `.jsonl` of prompt pairs, named after the file.

    No beginning-of-sequence token is put in front: the model sees the prompts as they are.

    Raises:
        SpecError: a line is not a prompt pair.
    """
    pairs, lines = read_pair_lines(path)
    return TaskSpec(
        name=pairs_name(path),
        title=path.stem,
        behaviour=f"prompt pairs of {path.name}",
        source=OWN_PROMPTS,
        generator=PairsGenerator(kind="pairs", bos=False, file=path.name, pairs=pairs, lines=lines),
        metrics=TaskMetrics(discovery="kl", report=("logit_diff", "accuracy")),
    )


def pairs_name(path: Path) -> str:
    """The name of the task that a `.jsonl` of prompt pairs is."""
    return re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_") or "pairs"


def is_task_path(text: str) -> bool:
    """Whether `text` is the path of a task and not its name."""
    path = Path(text)
    return path.suffix in (".jsonl", ".yaml", ".yml") or (path / "task.yaml").is_file()


def _files(pattern: str, project: Path | None) -> dict[str, Path]:
    """The files that match `pattern`, by name: that of the folder for `*/`, else of the file."""
    found: dict[str, Path] = {}
    for root in (project or find_project(), bundled_folder()):
        for path in () if root is None else root.resolve().glob(pattern):
            found.setdefault(path.parent.name if "*/" in pattern else path.stem, path)
    return dict(sorted(found.items()))


def _find_yaml(
    noun: str, folder: str, name_or_path: str | Path, kind: type[_S], project: Path | None
) -> _S:
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return load_yaml(path, kind)
    found = _files(f"{folder}/*.yaml", project)
    if str(name_or_path) not in found:
        raise UnknownName.among(noun, str(name_or_path), found)
    return load_yaml(found[str(name_or_path)], kind)


def check_name(task: TaskSpec, path: Path) -> None:
    """Raise SpecError unless the task in `path` has the name of its folder."""
    folder = path.resolve().parent.name
    if task.name != folder:
        raise SpecError(
            f"'{task.name}' is not the name of the folder",
            where=display_path(path),
            field="name",
            allowed=folder,
        )
