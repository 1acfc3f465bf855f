"""Groups of commands that suggest the nearest name for one they do not know."""

from __future__ import annotations

import sys
from typing import Any

from typer.core import TyperGroup

from acdc_pipeline.cli.settings import settings_for
from acdc_pipeline.errors import UnknownName


class OutputClosed(Exception):
    """Whoever read our output, `head` for one, has seen enough."""


class Group(TyperGroup):
    """Commands in the order they were added."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise UnknownName.among(
                "command", name, self.list_commands(ctx), fix=f"'{ctx.command_path} --help'"
            )
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)


class Root(Group):
    """All commands; `acdc.yaml` gives options their defaults once a command is really run."""

    def invoke(self, ctx: Any) -> Any:
        ctx.default_map = settings_for(self)
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Typer would end with 1, which means drift.
            raise OutputClosed from None
        return result
