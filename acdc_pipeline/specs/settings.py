"""Settings of a project: the `acdc.yaml` at its root."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from acdc_pipeline.specs.base import Spec
from acdc_pipeline.specs.load import parse
from acdc_pipeline.specs.project import find_project
from acdc_pipeline.specs.yaml_file import read_yaml, shown


class Settings(Spec):
    """What a project says once instead of on every command line.

    The command line and the environment (`ACDC_STORE`, …) win over it. Nothing here decides a
    result.

    Args:
        store: where runs are kept: a URL, or a folder relative to the project.
        device: where to compute.
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
    """The settings of the project at or above `start`; all None where it has none.

    A relative store is given as it lies, below the project folder.

    Raises:
        SpecError: `acdc.yaml` has a problem.
    """
    project = find_project(start)
    path = project / "acdc.yaml" if project else None
    if project is None or path is None or not path.is_file():
        return Settings()
    data = read_yaml(path)
    settings = parse({} if data is None else data, Settings, shown(path))
    if settings.store is None or "://" in settings.store:
        return settings
    return settings.model_copy(update={"store": str(project / Path(settings.store).expanduser())})
