"""The command that was typed, to be typed again."""

from __future__ import annotations

import shlex

import typer


def same_command(context: typer.Context, *, without: tuple[str, ...] = ()) -> str:
    """`acdc run demo --shard 1/2`: the command of `context` with what was typed behind it.

    What environment and `acdc.yaml` said holds for the next command too, and is left out.

    Args:
        context: of the running command.
        without: names of parameters to leave out.
    """
    words = context.command_path.split()
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in without or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        if parameter.param_type_name == "argument":
            words.append(str(value))
        elif isinstance(value, bool):
            words += [parameter.opts[0]] if value else []
        else:
            given = value if isinstance(value, (list, tuple)) else [value]
            words += [word for one in given for word in (parameter.opts[0], str(one))]
    return shlex.join(words)
