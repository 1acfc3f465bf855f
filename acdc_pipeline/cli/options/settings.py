"""The project's `acdc.yaml` as defaults of options: below command line and environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.core import TyperGroup

from acdc_pipeline.errors import InvalidInput


def settings_for(command: Any) -> dict[str, Any]:
    """Click's `default_map` for `command` and all below it. Raises InvalidInput."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise InvalidInput(
            "the current directory does not exist any more", fix="go to one that does"
        ) from None
    if not any((folder / "acdc.yaml").is_file() for folder in (here, *here.parents)):
        return {}
    from acdc_pipeline.specs import find_settings

    values = {name: value for name, value in find_settings().plain().items() if value is not None}
    return _spread(command, values)


def _spread(command: Any, values: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(command, TyperGroup):
        return values
    return {name: _spread(below, values) for name, below in command.commands.items()}
