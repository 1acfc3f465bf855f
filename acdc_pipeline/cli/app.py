"""Groups of commands: the form of their help, suggestions for mistyped names, settings.

Options take their defaults from the project's `acdc.yaml`, below command line and environment.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from acdc_pipeline.cli.terminal.output import PROSE_WIDTH
from acdc_pipeline.cli.terminal.streams import flush_stdout
from acdc_pipeline.errors import InvalidInput, UnknownName

_TYPE = re.compile(r" <\w+>$")


class OutputClosed(Exception):
    """The reader of stdout, such as `head`, has closed it."""


class Command(TyperCommand):
    """A command whose help calls an argument `TASK`, not `{TASK}` or `TASK <str>`.

    The metavar `{metrics}` of an option stands for the names of all metrics.
    """

    # the type that commands annotate their context with
    context_class = typer.Context

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def get_params(self, ctx: Any) -> list[Any]:
        params = super().get_params(ctx)
        for param in params:
            if param.metavar == "{metrics}":
                param.metavar = _metrics()
        return params

    def format_options(self, ctx: Any, formatter: Any) -> None:
        write = formatter.write_dl
        formatter.write_dl = lambda rows: write(
            [(_TYPE.sub("", name), text) for name, text in rows]
        )
        super().format_options(ctx, formatter)
        formatter.write_dl = write


class MethodCommand(Command):
    """A command with options for the parameters of methods.

    In the help of an option, `{owners}` stands for the names of the methods that have the
    parameter, and `{default}` for its default. Options that not all
    methods have are grouped by the kind of the methods that have them.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        params = super().get_params(ctx)
        for param in params:
            text = getattr(param, "help", None)
            if text and "{" in text:
                # not every parameter of Click has a help, so pyright takes no assignment
                setattr(param, "help", text.format_map(_values(param.name)))  # noqa: B010
            setattr(param, "rich_help_panel", _panel(param.name))  # noqa: B010  (as above)
        return params

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels = option_panels(self.get_params(ctx))
        if len(panels) == 1:
            super().format_options(ctx, formatter)
            return
        arguments = [p for p in panels[None] if p.param_type_name == "argument"]
        options = [p for p in panels[None] if p.param_type_name != "argument"]
        common = {"Arguments": arguments, "Options": options}
        for title, params in (common | {t: p for t, p in panels.items() if t}).items():
            rows = [row for param in params if (row := param.get_help_record(ctx))]
            with formatter.section(title):
                formatter.write_dl([(_TYPE.sub("", name), text) for name, text in rows])


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
    """All commands; `acdc.yaml` is read only when one of them is executed."""

    def invoke(self, ctx: Any) -> Any:
        ctx.default_map = default_map(self)
        try:
            result = super().invoke(ctx)
            flush_stdout()
        except BrokenPipeError:
            # Typer would exit with 1, which means drift
            raise OutputClosed from None
        return result


class App(typer.Typer):
    """A Typer application in the form of all of ours: `App(help=…)`."""

    def __init__(self, *, cls: type[Group] = Group, **more: Any) -> None:
        super().__init__(cls=cls, no_args_is_help=True, rich_markup_mode=None, **more)

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **more: Any
    ) -> Any:
        settings = {"max_content_width": PROSE_WIDTH}
        return super().command(name, cls=cls or Command, context_settings=settings, **more)


def option_panels(params: Iterable[Any]) -> dict[str | None, list[Any]]:
    """Return parameters by the title of their group; those of no group come first, under None."""
    panels: dict[str | None, list[Any]] = {None: []}
    for param in params:
        panels.setdefault(getattr(param, "rich_help_panel", None), []).append(param)
    return panels


def default_map(command: Any) -> dict[str, Any]:
    """Return the project's `acdc.yaml` as Click's `default_map` for `command` and all below it."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise InvalidInput(
            "the current directory does not exist any more", fix="change to one that does"
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


def _metrics() -> str:
    from acdc_pipeline.specs.names import METRICS

    return "|".join(METRICS)


def _panel(parameter: str) -> str | None:
    """Return the title of the options of one kind of methods; None if all methods have it."""
    from acdc_pipeline.specs import METHODS

    owners = [method for method in METHODS.values() if parameter in method.parameters()]
    if len(owners) in (0, len(METHODS)):
        return None
    ((kind, _),) = Counter(method.KIND for method in owners).most_common(1)
    return f"Options of methods that {kind}"


def _values(parameter: str) -> dict[str, str]:
    # Local, since the specs would slow down the help of all commands.
    from acdc_pipeline.specs import METHODS

    owners = [name for name, method in METHODS.items() if parameter in method.parameters()]
    return {
        "owners": ", ".join(owners),
        "default": _default_text({o: METHODS[o].defaults().get(parameter) for o in owners}),
    }


def _default_text(defaults: Mapping[str, Any]) -> str:
    """Say the default of each method: `0.1; for hybrid-ensemble 0.01`, the most frequent first."""
    often = Counter(value for value in defaults.values() if value is not None).most_common()
    texts = [f"{value}" for value, _ in often[:1]]
    for value, _ in often[1:]:
        texts.append(f"for {', '.join(o for o, own in defaults.items() if own == value)} {value}")
    return "; ".join(texts)
