"""Errors on stderr, all in one form, and their exit codes."""

from __future__ import annotations

import errno

import typer

from acdc_pipeline.cli.terminal.output import print_note
from acdc_pipeline.cli.terminal.streams import write_stderr
from acdc_pipeline.errors import AcdcError, ExecutionFailed, InvalidInput, nearest, suggest

UNEXPECTED = 3
"""Exit code of a bug; 1 would mean drift."""

_INDENT = "      "

_LIKENESS = 0.6

_ELSEWHERE = {
    "--top-n": ("--top", "--edges"),
    "--topn": ("--top", "--edges"),
    "--ig-steps": ("--steps",),
    "--n-prompts": ("--prompts",),
}
"""Options of EAP-IG and similar programs, and those that mean the same here."""

_MAX_NAME = 200


def print_error(error: AcdcError) -> None:
    """Write `acdc: …` to stderr, with what is allowed and the fix on indented lines below."""
    print_note(error_text(error), indent=_INDENT)


def error_text(error: AcdcError) -> str:
    """Return the message that `print_error` writes."""
    return "acdc: " + str(error).replace("\n", f"\n{_INDENT}")


def report_system_error(error: OSError) -> int:
    """Print which file the system refused, and return the exit code.

    Commands check the files they are given themselves. This is for names that no file can have
    and for files that disappear or change owner while a command runs.
    """
    name = str(error.filename)
    kind = InvalidInput if error.errno == errno.ENAMETOOLONG else ExecutionFailed
    where = name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…"
    failure = kind(f"cannot be used: {error.strerror or error}", where=where)
    print_error(failure)
    return failure.exit_code


def report_usage_error(error: typer.TyperException) -> int:
    """Print what is wrong with the command line, and return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        write_stderr(error.format_message() + "\n")
    else:
        print_error(_usage_error(error))
    return InvalidInput.exit_code


def _usage_error(error: typer.TyperException) -> InvalidInput:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "acdc"
    where = command.partition(" ")[2] or None
    fix = f"'{command} --help'"
    option = getattr(error, "option_name", None)
    if option and type(error).__name__ == "NoSuchOption":
        known = [name for p in context.command.params for name in p.opts] if context else []
        options = [name for name in known if name.startswith("--")]
        allowed = ", ".join([*options, "--help"])
        problem = f"unknown option '{option}'{suggest(_nearest_option(option, options))}"
        return InvalidInput(problem, where=where, allowed=allowed, fix=fix)
    message = error.format_message().rstrip(".")
    if where == "compare" and "unexpected extra argument" in message:
        fix = "compare two runs: 'acdc runs compare RUN RUN'"
    return InvalidInput(message[:1].lower() + message[1:], where=where, fix=fix)


def _nearest_option(option: str, options: list[str]) -> str | None:
    """The option to suggest for an unknown one; None if none is near."""
    if same := [name for name in _ELSEWHERE.get(option, ()) if name in options]:
        return same[0]
    close = nearest(option.lstrip("-"), [name[2:] for name in options], cutoff=_LIKENESS)
    return None if close is None else f"--{close}"
