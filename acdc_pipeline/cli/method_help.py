"""Help on the parameters of methods, filled in from the methods themselves when it is shown."""

from __future__ import annotations

from typing import Any

from acdc_pipeline.cli.app import Command


class MethodCommand(Command):
    """A command with options for the parameters of methods.

    In the help of an option, `{methods}` stands for the names of all methods, `{owners}` for those
    of the methods that have the parameter, and `{default}` for its default.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters of the command, with complete help."""
        params = super().get_params(ctx)
        for param in params:
            text = getattr(param, "help", None)
            if text and "{" in text:
                param.help = text.format_map(_values(param.name))  # pyright: ignore
        return params


def _values(parameter: str) -> dict[str, str]:
    # Local, since the specs would slow down the help of all commands.
    from acdc_pipeline.specs import METHODS

    owners = [name for name, method in METHODS.items() if parameter in method.parameters()]
    defaults = {METHODS[owner].defaults().get(parameter) for owner in owners}
    return {
        "methods": ", ".join(METHODS),
        "owners": ", ".join(owners),
        "default": " or ".join(f"{value}" for value in sorted(defaults - {None}, key=str)),
    }
