"""The entry point: assembles the commands, turns failures into messages and exit codes.

0 done; 1 `regress` found drift; 2 usage or invalid input; 3 execution failed or incomplete;
4 baseline missing or incompatible; 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer
from typer.main import get_command

from acdc_pipeline import __version__
from acdc_pipeline.cli.app import App, MethodCommand, OutputClosed, Root
from acdc_pipeline.cli.commands import (
    compare,
    demo,
    discover,
    doctor,
    evaluate,
    heads,
    jobs,
    models,
    plan,
    regress,
    run,
    runs,
    submit,
    tasks,
    wiki,
)
from acdc_pipeline.cli.options.completion import join_split_words
from acdc_pipeline.cli.terminal import errors, streams
from acdc_pipeline.cli.terminal.interrupts import INTERRUPTED, MESSAGE
from acdc_pipeline.errors import AcdcError, escape_control_characters

app = App(
    name="acdc",
    cls=Root,
    help="Find the circuits inside transformer language models.",
    epilog="Example: acdc discover ioi zoo:gpt2-4l-s0 --threshold 0.01",
)
app.command("demo", short_help="Find circuits in the bundled models.")(demo.demo)
app.command("discover", cls=MethodCommand)(discover.discover)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("heads")(heads.heads)
app.command("plan")(plan.plan)
app.command("run")(run.run)
app.command("submit")(submit.submit)
app.command("status")(jobs.status)
app.command("logs")(jobs.logs)
app.command("cancel")(jobs.cancel)
app.command("regress")(regress.regress)
app.add_typer(runs.app, name="runs")
app.add_typer(tasks.app, name="tasks")
app.add_typer(models.app, name="models")
app.add_typer(wiki.app, name="wiki")
app.command("doctor", short_help="Check what works on this machine.")(doctor.doctor)


def _print_version(value: bool | None) -> None:
    if value:
        streams.write_stdout(f"acdc {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool | None,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = None,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of the process, and return its exit code."""
    streams.open_missing_streams()
    join_split_words(os.environ)
    try:
        with streams.show_log_records():
            code = _run(arguments)
    except AcdcError as error:
        errors.print_error(error)
        return error.exit_code
    except typer.TyperException as error:
        return errors.report_usage_error(error)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (OutputClosed, BrokenPipeError):
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is None:
            return _report_bug()
        return errors.report_system_error(error)
    except Exception:  # noqa: BLE001  (uncaught, it would exit with 1: drift)
        return _report_bug()
    if code == INTERRUPTED:
        streams.write_stderr(MESSAGE)
    return int(code or 0)


def _report_bug() -> int:
    streams.write_stderr(escape_control_characters(traceback.format_exc()))
    errors.print_error(AcdcError("this is a bug in acdc", fix="report it with the lines above"))
    return errors.UNEXPECTED


@cache
def _command() -> Any:
    """Build the commands, once in a process: it takes longer than most of them."""
    return get_command(app)


def _run(arguments: Sequence[str] | None) -> int | None:
    try:
        code = _command().main(arguments, prog_name="acdc", standalone_mode=False)
    except OSError as error:
        if error.filename is None:
            # raises if it was stdout that failed when Typer or rich wrote to it
            streams.write_stdout("\n")
            streams.flush_stdout()
        raise
    streams.flush_stdout()
    return code


if __name__ == "__main__":
    sys.exit(main())
