"""The entry point: commands put together, failures turned into messages and exit codes.

0 done; 1 `regress` found drift; 2 usage or invalid input; 3 execution failed or incomplete;
4 baseline missing or incompatible; 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from acdc_pipeline import __version__
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
from acdc_pipeline.cli.options.completion import mend_words
from acdc_pipeline.cli.terminal.errors import UNEXPECTED, complain, from_system, from_usage
from acdc_pipeline.cli.terminal.groups import App, OutputClosed, Root
from acdc_pipeline.cli.terminal.interrupts import INTERRUPTED, SAID
from acdc_pipeline.cli.terminal.log_lines import log_shown
from acdc_pipeline.cli.terminal.streams import flush, open_missing, put, tell
from acdc_pipeline.errors import AcdcError

app = App(
    name="acdc",
    cls=Root,
    help="Finds the circuits inside transformer language models.",
    epilog="Example: acdc discover ioi zoo:gpt2-4l-s0 --threshold 0.01",
)
app.command("demo", short_help="Find circuits in the models that ship here.")(demo.demo)
app.command("discover")(discover.discover)
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
app.command("doctor", short_help="Say what works on this machine.")(doctor.doctor)


def _version(asked: bool | None) -> None:
    if asked:
        put(f"acdc {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = None,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and gives its exit code. `arguments` defaults to the process's own."""
    open_missing()
    mend_words(os.environ)
    try:
        with log_shown():
            code = _run(arguments)
    except AcdcError as error:
        complain(error)
        return error.exit_code
    except typer.TyperException as error:
        return from_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (OutputClosed, BrokenPipeError):
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is None:
            return _unforeseen()
        return from_system(error)
    except Exception:  # noqa: BLE001  (the last place to say so: exit 1 means drift)
        return _unforeseen()
    if code == INTERRUPTED:
        tell(SAID)
    return int(code or 0)


def _unforeseen() -> int:
    tell(traceback.format_exc())
    complain(AcdcError("this is a bug in acdc", fix="report it with the lines above"))
    return UNEXPECTED


def _run(arguments: Sequence[str] | None) -> int | None:
    try:
        code = get_command(app).main(arguments, prog_name="acdc", standalone_mode=False)
    except OSError as error:
        if error.filename is None:
            # raises if it is stdout that failed, where Typer or rich wrote to it
            put("\n")
            flush()
        raise
    flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
