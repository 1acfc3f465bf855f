"""Files that a specification names: only inside its own folder."""

from __future__ import annotations

from pathlib import Path

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs.yaml_file import shown


def inside(folder: Path, name: str, field: str) -> Path:
    """The file `name` of `folder`. Raises SpecError if the name leads out of it."""
    path = folder / name
    if Path(name).is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
        raise SpecError(
            f"'{name}' leads out of the folder",
            where=shown(folder),
            field=field,
            allowed="the name of a file beside this one",
        )
    return path
