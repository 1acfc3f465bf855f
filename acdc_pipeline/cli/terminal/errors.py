"""What goes wrong, said on stderr in one form."""

from __future__ import annotations

import errno

import typer

from acdc_pipeline.cli.terminal.output import note
from acdc_pipeline.cli.terminal.streams import tell
from acdc_pipeline.errors import AcdcError, ExecutionFailed, InvalidInput, with_suggestion

UNEXPECTED = 3

_INDENT = "      "
_LONGEST = 200


def complain(error: AcdcError) -> None:
    """Writes `acdc: …` to stderr, what is allowed and the fix on indented lines below."""
    note(told(error), indent=_INDENT)


def told(error: AcdcError) -> str:
    """The message of `complain`, without the newline at its end."""
    return "acdc: " + str(error).replace("\n", f"\n{_INDENT}")


def from_system(error: OSError) -> int:
    """Says which file the system refused, and gives the exit code for it.

    What commands expect of their files they say themselves. This is for a name that no file can
    have, wherever it was asked for, and for a file that went away or changed hands meanwhile.
    """
    name = str(error.filename)
    kind = InvalidInput if error.errno == errno.ENAMETOOLONG else ExecutionFailed
    where = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
    fault = kind(f"cannot be used: {error.strerror or error}", where=where)
    complain(fault)
    return fault.exit_code


def from_usage(error: typer.TyperException) -> int:
    """Says what was wrong with the command line, and gives the exit code for it."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "acdc"
    if type(error).__name__ == "NoArgsIsHelpError":
        tell(error.format_message() + "\n")
        return InvalidInput.exit_code
    complain(_usage_error(error, command))
    return InvalidInput.exit_code


def _usage_error(error: typer.TyperException, command: str) -> InvalidInput:
    where = command.partition(" ")[2] or None
    fix = f"'{command} --help'"
    if option := getattr(error, "option_name", None):
        context = getattr(error, "ctx", None)
        known = [name for p in context.command.params for name in p.opts] if context else []
        options = [name for name in known if name.startswith("--")]
        if type(error).__name__ == "NoSuchOption":
            allowed = with_suggestion(", ".join([*options, "--help"]), option, options)
            return InvalidInput(f"unknown option '{option}'", where=where, allowed=allowed, fix=fix)
    message = error.format_message().rstrip(".")
    return InvalidInput(message[:1].lower() + message[1:], where=where, fix=fix)
