"""The task of a stored run, found again by the hash of its definition."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from acdc_pipeline.errors import InvalidInput, SpecError, UnknownName
from acdc_pipeline.specs.catalogue import find_task, is_task_path, pairs_name
from acdc_pipeline.specs.run import RunSpec
from acdc_pipeline.specs.task import TaskSpec


def task_of_run(run: RunSpec, given: str | None = None) -> TaskSpec:
    """Return the task of `run`: the one whose definition has the run's hash.

    Args:
        given: name, folder or file of the task. None to look for it: by name, then for a folder
            `NAME` or `tasks/NAME`, or a `.jsonl` called like the task, in the current folder.

    Raises:
        UnknownName: there is no task of this name.
        SpecError: the file `given` has a problem.
        InvalidInput: the task has another definition than that of the run.
    """
    name, run_id = run.task, run.run_id()[:8]
    if given is not None:
        task = find_task(given)
        if not _is_task_of(task, run):
            raise InvalidInput(
                f"'{given}' is not the task of this run, '{name}': its definition has another hash",
                where=run_id,
                field="--task",
                fix="give the task as it was when the run was made, or run `acdc discover` again",
            )
        return task
    by_name = False
    for candidate in _candidates(name):
        try:
            task = find_task(candidate)
        except UnknownName:
            continue
        except SpecError:
            if candidate == name:
                raise
            continue
        if _is_task_of(task, run):
            return task
        by_name = True
    if by_name:
        raise InvalidInput(
            f"the task '{name}' has changed since this run was made",
            where=run_id,
            fix="give it as it was: --task FOLDER or --task FILE; or run `acdc discover` again, "
            "and evaluate that run",
        )
    raise UnknownName(
        f"the run's task '{name}' is neither a known task nor a file {name}.jsonl in this folder",
        where=run_id,
        fix=f"if it was a file of prompt pairs, give it again: --task {name}.jsonl",
    )


def is_found_again(given: str, name: str) -> bool:
    """Return whether `task_of_run` finds the task `name` here without its path `given`."""
    path = Path(given)
    if not is_task_path(given):
        return True
    if path.suffix == ".jsonl":
        return path.resolve().parent == Path.cwd()
    folder = path.resolve().parent if path.suffix in (".yaml", ".yml") else path.resolve()
    return folder in (Path.cwd() / name, Path.cwd() / "tasks" / name)


def _is_task_of(task: TaskSpec, run: RunSpec) -> bool:
    """Return whether prompts, answers and, if the run has them, spans are those of `run`."""
    same = task.definition_hash() == run.task_hash
    return same and (not run.spans_hash or task.spans_hash() == run.spans_hash)


def _candidates(name: str) -> Iterator[str | Path]:
    yield name
    yield Path("tasks") / name / "task.yaml"
    yield from (path for path in sorted(Path().glob("*.jsonl")) if pairs_name(path) == name)
