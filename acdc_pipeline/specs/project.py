"""The project folder, which holds a user's tasks, workers and results, and its settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

import acdc_pipeline
from acdc_pipeline.specs.base import Spec
from acdc_pipeline.specs.files import display_path, read_yaml
from acdc_pipeline.specs.load import parse


def find_project(start: Path | None = None) -> Path | None:
    """The nearest folder at or above `start` (the working directory) that is a project.

    A project holds `acdc.yaml`, `results/baselines/`, or `tasks/` with at least one task.
    """
    start = (start or Path.cwd()).resolve()
    return next((folder for folder in (start, *start.parents) if _is_project(folder)), None)


def _is_project(folder: Path) -> bool:
    return (
        (folder / "acdc.yaml").is_file()
        or (folder / "results" / "baselines").is_dir()
        or next((folder / "tasks").glob("*/task.yaml"), None) is not None
    )


def bundled_folder() -> Path:
    """The folder with the tasks, workers and sweeps that ship with the package.

    Wheels carry them in `_builtin`; a source checkout has them at its root.
    """
    package = Path(acdc_pipeline.__file__).parent
    builtin = package / "_builtin"
    return builtin if builtin.is_dir() else package.parent


class Settings(Spec):
    """Defaults of a project for command-line options.

    The command line and the environment (`ACDC_STORE`, …) take precedence. No setting affects a
    result.

    Args:
        store: the store of runs: a URL, or a folder relative to the project.
        device: the device to compute on.
        memory: byte budget of a search, as in `4GiB`.
        threads: CPU threads of torch.
        profile: the worker profile of sweeps, a name or a path.
        address: the cluster that sweeps are submitted to.
    """

    store: str | None = Field(default=None, min_length=1)
    device: str | None = Field(default=None, min_length=1)
    memory: str | None = Field(default=None, min_length=1)
    threads: int | None = Field(default=None, ge=1)
    profile: str | None = Field(default=None, min_length=1)
    address: str | None = Field(default=None, min_length=1)


def find_settings(start: Path | None = None) -> Settings:
    """The settings in the `acdc.yaml` of the project at or above `start`; all None without one.

    The path of a relative store is resolved against the project folder.

    Raises:
        SpecError: `acdc.yaml` has a problem.
    """
    project = find_project(start)
    path = project / "acdc.yaml" if project else None
    if project is None or path is None or not path.is_file():
        return Settings()
    data = read_yaml(path)
    settings = parse({} if data is None else data, Settings, display_path(path))
    if settings.store is None or "://" in settings.store:
        return settings
    return settings.model_copy(update={"store": str(project / Path(settings.store).expanduser())})
