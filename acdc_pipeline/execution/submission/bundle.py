"""What travels to the cluster: the sweep, the tasks it names, the worker profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from acdc_pipeline.errors import SpecError
from acdc_pipeline.execution.submission.runtime_env import check_runtime_env
from acdc_pipeline.execution.submission.task_files import task_files
from acdc_pipeline.execution.submission.yaml_text import yaml_text
from acdc_pipeline.specs import (
    SweepSpec,
    TaskSpec,
    WorkerProfile,
    find_profile,
    find_sweep,
    find_task,
    load_yaml,
)

SWEEP = "sweep.yaml"
PROFILE = "profile.yaml"

MOST_BYTES = 32 * 2**20
"""All files together. Ray keeps them in the memory of the head node."""


@dataclass(frozen=True)
class Bundle:
    """A sweep with everything it names, in files of their own.

    Args:
        sweep: as on the cluster: its tasks are the copies below `tasks/`.
        tasks: every task by the name that `sweep` has for it.
        profile: the worker profile as it was written.
        files: contents by path below the job's working folder.
    """

    sweep: SweepSpec
    tasks: Mapping[str, TaskSpec]
    profile: WorkerProfile
    files: Mapping[str, bytes]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))

    def identity(self) -> dict[str, Any]:
        """What a job on these files is, as plain data: comments and file names are no part."""
        return {
            "sweep": self.sweep.plain(),
            "tasks": {name: task.plain() for name, task in self.tasks.items()},
            "profile": self.profile.plain(),
        }

    def write(self, folder: Path) -> None:
        """Writes the files into `folder` and makes sure that they say what the originals say.

        Raises:
            SpecError: a copy reads differently, as where the original changed meanwhile.
        """
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        copies = {name: find_task(folder / name) for name in self.tasks}
        if copies != dict(self.tasks) or load_yaml(folder / SWEEP, SweepSpec) != self.sweep:
            raise SpecError(
                "cannot be copied: a copy does not read like the original",
                where=self.sweep.name,
                fix="submit again; if that does not help, write word lists beside task.yaml",
            )


def bundle_of(
    sweep_name: str | Path, profile_name: str | Path, project: Path | None = None
) -> Bundle:
    """The bundle of a sweep and a worker profile, each a name or a `.yaml`.

    Raises:
        UnknownName: no such sweep, task or profile.
        SpecError: a file has a problem, or all together are too large for a job.
    """
    sweep = find_sweep(sweep_name, project)
    profile = find_profile(profile_name, project)
    check_runtime_env(profile.runtime_env, f"worker profile '{profile_name}'")
    named: dict[str, str] = {}
    tasks: dict[str, TaskSpec] = {}
    files: dict[str, bytes] = {}
    for text in dict.fromkeys(sweep.tasks):
        task, contents = find_task(text, project), task_files(text, project)
        folder = _free(f"tasks/{task.name}", {PurePosixPath(name).parts[1] for name in files})
        named[text] = f"{folder}/{next(iter(contents))}" if "task.yaml" not in contents else folder
        tasks[named[text]] = task
        files |= {f"{folder}/{name}": content for name, content in contents.items()}
    sweep = _renamed(sweep, named)
    files[SWEEP] = yaml_text(sweep.plain()).encode()
    files[PROFILE] = yaml_text(_for_the_driver(profile).plain()).encode()
    bundle = Bundle(sweep, tasks, profile, files)
    _check_size(bundle)
    return bundle


def _free(folder: str, taken: set[str]) -> str:
    """`folder`, or with a number behind it where another task of that name has it."""
    name, number = folder, 1
    while PurePosixPath(name).name in taken:
        number += 1
        name = f"{folder}-{number}"
    return name


def _renamed(sweep: SweepSpec, named: Mapping[str, str]) -> SweepSpec:
    exclude = tuple(
        entry.model_copy(update={"tasks": tuple(named[task] for task in entry.tasks)})
        for entry in sweep.exclude
    )
    tasks = tuple(named[task] for task in sweep.tasks)
    return sweep.model_copy(update={"tasks": tasks, "exclude": exclude})


def _for_the_driver(profile: WorkerProfile) -> WorkerProfile:
    """The profile without its runtime environment, which the job has already.

    Ray refuses a driver that asks for the same once more.
    """
    return profile.model_copy(update={"runtime_env": {}})


def _check_size(bundle: Bundle) -> None:
    if bundle.size <= MOST_BYTES:
        return
    largest = max(bundle.files, key=lambda name: len(bundle.files[name]))
    raise SpecError(
        f"the files of the sweep take {bundle.size / 2**20:.1f} MiB",
        where=bundle.sweep.name,
        allowed=f"at most {MOST_BYTES // 2**20} MiB",
        fix=f"the largest is {largest} with {len(bundle.files[largest]) / 2**20:.1f} MiB; "
        "keep fewer prompt pairs or words in it",
    )
