"""A sweep prepared for a cluster: its files, its job id, and the command that executes it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from acdc_pipeline import __version__
from acdc_pipeline.errors import SpecError
from acdc_pipeline.execution.submission.job import PREFIX
from acdc_pipeline.execution.submission.portability import check_runtime_env
from acdc_pipeline.execution.submission.task_files import task_files
from acdc_pipeline.specs import (
    SweepSpec,
    TaskSpec,
    WorkerProfile,
    find_profile,
    find_sweep,
    find_task,
    load_yaml,
    sha256_of,
)

SWEEP = "sweep.yaml"
PROFILE = "profile.yaml"

MAX_BYTES = 32 * 2**20
"""Limit of all files together: Ray keeps them in the memory of the head node."""

ID_DIGITS = 20

VERSION_VARIABLE = "ACDC_SUBMITTED_WITH"
"""Holds the version of this package that submitted the job."""

# Allowed in JSON as they are; YAML rejects some and folds others into blanks.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True)
class Bundle:
    """The files of a job: the sweep, the tasks it names, and the worker profile.

    Args:
        sweep: the sweep on the cluster, whose tasks are the copies below `tasks/`.
        tasks: every task by its name in `sweep`.
        profile: the worker profile as written by the user.
        files: contents by path below the working folder of the job.
    """

    sweep: SweepSpec
    tasks: Mapping[str, TaskSpec]
    profile: WorkerProfile
    files: Mapping[str, bytes]

    @property
    def size(self) -> int:
        return sum(map(len, self.files.values()))

    def identity(self) -> dict[str, Any]:
        """Return what identifies a job on these files, without comments and file names."""
        return {
            "sweep": self.sweep.plain(),
            "tasks": {name: task.plain() for name, task in self.tasks.items()},
            "profile": self.profile.plain(),
        }

    def write(self, folder: Path) -> None:
        """Write the files into `folder` and check that they read like the originals.

        Raises:
            SpecError: a copy reads differently, for example because the original changed.
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
    """Return the bundle of a sweep and a worker profile, each a name or a `.yaml`.

    Raises:
        UnknownName: no such sweep, task or profile.
        SpecError: a file is invalid, or all together are too large for a job.
    """
    sweep = find_sweep(sweep_name, project)
    profile = find_profile(profile_name, project)
    check_runtime_env(profile.runtime_env, f"worker profile '{profile_name}'")
    named: dict[str, str] = {}
    tasks: dict[str, TaskSpec] = {}
    files: dict[str, bytes] = {}
    for text in dict.fromkeys(sweep.tasks):
        task, contents = find_task(text, project), task_files(text, project)
        folder = _unused(f"tasks/{task.name}", {PurePosixPath(name).parts[1] for name in files})
        named[text] = f"{folder}/{next(iter(contents))}" if "task.yaml" not in contents else folder
        tasks[named[text]] = task
        files |= {f"{folder}/{name}": content for name, content in contents.items()}
    sweep = _rename_tasks(sweep, named)
    files[SWEEP] = yaml_text(sweep.plain()).encode()
    # The runtime environment is that of the job: Ray rejects a driver that requests it again.
    files[PROFILE] = yaml_text(profile.model_copy(update={"runtime_env": {}}).plain()).encode()
    bundle = Bundle(sweep, tasks, profile, files)
    _check_size(bundle)
    return bundle


@dataclass(frozen=True)
class Submission:
    """A job to submit."""

    bundle: Bundle
    store: str
    entrypoint: str

    @property
    def id(self) -> str:
        """The id of the first attempt, the same for the same submission.

        A hash of the sweep, its tasks, the profile, the store and the version of this package. The
        command is no part of it: `--retry-failed` requests the same runs.
        """
        identity = self.bundle.identity() | {"store": self.store, "version": __version__}
        return PREFIX + sha256_of(identity)[:ID_DIGITS]

    @property
    def metadata(self) -> dict[str, str]:
        return {
            "acdc_sweep": self.bundle.sweep.name,
            "acdc_store": self.store,
            "acdc_version": __version__,
        }

    @property
    def runtime_env(self) -> Mapping[str, Any]:
        """The runtime environment of the worker profile, without the working folder."""
        return self.bundle.profile.plain()["runtime_env"]


def run_command(store: str, *options: str) -> str:
    """Return the shell command that executes a bundle in its folder."""
    words = ["python", "-m", "acdc_pipeline", "run", SWEEP, "--executor", "ray"]
    words += ["--profile", PROFILE, "--store", store, *options]
    return f"{VERSION_VARIABLE}={shlex.quote(__version__)} {shlex.join(words)}"


def other_version(environment: Mapping[str, str]) -> str | None:
    """Return the warning that the cluster has another version than the submitting machine.

    None if the versions are equal, and outside of jobs.
    """
    submitted = environment.get(VERSION_VARIABLE, __version__)
    if submitted == __version__:
        return None
    return (
        f"submitted with acdc {submitted}, executed by acdc {__version__} of this cluster: a file "
        "that one of them accepts may be invalid for the other"
    )


def yaml_text(data: Any) -> str:
    """Return `data` as JSON, which is YAML with every string in quotes.

    The writer of PyYAML leaves the string `1e-3` without quotes: in YAML 1.1 it is not a number.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def _unused(folder: str, taken: set[str]) -> str:
    """Return `folder`, with a number appended if another task has that name."""
    name, number = folder, 1
    while PurePosixPath(name).name in taken:
        number += 1
        name = f"{folder}-{number}"
    return name


def _rename_tasks(sweep: SweepSpec, named: Mapping[str, str]) -> SweepSpec:
    exclude = tuple(
        entry.model_copy(update={"tasks": tuple(named[task] for task in entry.tasks)})
        for entry in sweep.exclude
    )
    tasks = tuple(named[task] for task in sweep.tasks)
    return sweep.model_copy(update={"tasks": tasks, "exclude": exclude})


def _check_size(bundle: Bundle) -> None:
    if bundle.size <= MAX_BYTES:
        return
    largest = max(bundle.files, key=lambda name: len(bundle.files[name]))
    raise SpecError(
        f"the files of the sweep take {bundle.size / 2**20:.1f} MiB",
        where=bundle.sweep.name,
        allowed=f"at most {MAX_BYTES // 2**20} MiB",
        fix=f"the largest is {largest} with {len(bundle.files[largest]) / 2**20:.1f} MiB; "
        "keep fewer prompt pairs or words in it",
    )
