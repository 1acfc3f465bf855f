"""Groups of commands, what their help looks like, and the nearest name for an unknown one."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from acdc_pipeline.cli.options.settings import settings_for
from acdc_pipeline.cli.terminal.streams import flush
from acdc_pipeline.errors import UnknownName

_TYPE = re.compile(r" <\w+>$")


class OutputClosed(Exception):
    """Whoever read our output, `head` for one, has seen enough."""


class Command(TyperCommand):
    """A command whose help calls an argument `TASK`, not `{TASK}` or `TASK <str>`."""

    # what commands that ask for their context say it is
    context_class = typer.Context

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        write = formatter.write_dl
        formatter.write_dl = lambda rows: write(
            [(_TYPE.sub("", name), text) for name, text in rows]
        )
        super().format_options(ctx, formatter)
        formatter.write_dl = write


class Group(TyperGroup):
    """Commands in the order they were added, each with the whole first sentence of its help."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise UnknownName.among(
                "command", name, self.list_commands(ctx), fix=f"'{ctx.command_path} --help'"
            )
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, c.get_short_help_str(limit=1000)) for name, c in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Root(Group):
    """All commands; `acdc.yaml` gives options their defaults once a command is really run."""

    def invoke(self, ctx: Any) -> Any:
        ctx.default_map = settings_for(self)
        try:
            result = super().invoke(ctx)
            flush()
        except BrokenPipeError:
            # Typer would end with 1, which means drift.
            raise OutputClosed from None
        return result


class App(typer.Typer):
    """A Typer application in the form of all of ours: `App(help=…)`."""

    def __init__(self, *, cls: type[Group] = Group, **more: Any) -> None:
        super().__init__(cls=cls, no_args_is_help=True, rich_markup_mode=None, **more)

    def command(self, name: str | None = None, **more: Any) -> Any:
        return super().command(name, cls=Command, **more)
