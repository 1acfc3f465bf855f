"""Commits one run again and again, each time in a process that stops at a later moment.

    python crash_driver.py FOLDER SIGNAL

The k-th child commits to the store FOLDER/k and sends itself SIGNAL at the k-th operation the
interpreter reports (opening, making, renaming, listing, removing a file, …). Each child's number is
printed once it was stopped; the first child that gets to the end without is the last. After
SIGSTOP the driver waits for a line on its standard input before it lets the child go on.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from acdc_pipeline.store.codec import encode
from acdc_pipeline.store.location import open_backend
from tests import records

RUN_ID = records.record().spec.run_id()
TELLING = ("open", "os.", "shutil.", "fcntl.", "glob.")


def commit_and_stop(folder: Path, files: dict[str, bytes], at: int, number: signal.Signals) -> None:
    seen = 0

    def count(event: str, _: object) -> None:
        nonlocal seen
        if event.startswith(TELLING) and event != "os.kill":
            seen += 1
            if seen == at:
                os.kill(os.getpid(), number)

    sys.addaudithook(count)
    won = open_backend(folder).commit(RUN_ID, files)
    os._exit(0 if won else 1)


def main() -> None:
    folder, number = Path(sys.argv[1]), signal.Signals[sys.argv[2]]
    files = encode(records.record())
    # what a commit imports, children have from here: an import is no moment of a commit
    open_backend(folder / "whole").commit(RUN_ID, files)
    at = 0
    while True:
        at += 1
        child = os.fork()
        if child == 0:
            commit_and_stop(folder / str(at), files, at, number)
        _, status = os.waitpid(child, os.WUNTRACED)
        if os.WIFEXITED(status):
            break
        sys.stdout.write(f"{at}\n")
        sys.stdout.flush()
        if os.WIFSTOPPED(status):
            sys.stdin.readline()
            os.kill(child, signal.SIGCONT)
            _, status = os.waitpid(child, 0)
            sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
