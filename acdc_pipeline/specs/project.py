"""The project folder: where a user's own tasks, workers and results are."""

from __future__ import annotations

from pathlib import Path

import acdc_pipeline


def find_project(start: Path | None = None) -> Path | None:
    """The nearest folder at or above `start` (the working directory) that is a project.

    A project holds `acdc.yaml`, or both or either of `tasks/` (with a task in it) and
    `results/baselines/`.
    """
    start = (start or Path.cwd()).resolve()
    return next((folder for folder in (start, *start.parents) if _is_project(folder)), None)


def _is_project(folder: Path) -> bool:
    return (
        (folder / "acdc.yaml").is_file()
        or (folder / "results" / "baselines").is_dir()
        or next((folder / "tasks").glob("*/task.yaml"), None) is not None
    )


def bundled() -> Path:
    """The folder with the tasks, workers and sweeps that come with the package.

    Wheels carry them in `_builtin`; a source checkout has them at its root.
    """
    package = Path(acdc_pipeline.__file__).parent
    builtin = package / "_builtin"
    return builtin if builtin.is_dir() else package.parent
