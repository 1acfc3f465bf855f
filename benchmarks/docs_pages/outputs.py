"""Renew the outputs of commands that a page shows.

    python -m benchmarks.docs_pages.outputs docs/speed.md            every output: over an hour
    python -m benchmarks.docs_pages.outputs docs/speed.md real       of commands that contain "real"

In the page, a comment before a fenced block names the command whose standard output the block is:

    <!-- output of: python -m benchmarks.real -->

Timings need a machine that does nothing else.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

OUTPUT = re.compile(
    r"<!-- output of: (?P<command>[^\n]+?) -->\n```\n(?P<shown>.*?)```\n", re.DOTALL
)


def shown_commands(page: str) -> list[str]:
    """The commands whose output `page` shows, in their order."""
    return [found["command"] for found in OUTPUT.finditer(page)]


def with_output(page: str, command: str, output: str) -> str:
    """The page with `output` in place of what it shows for `command`."""

    def renewed(found: re.Match[str]) -> str:
        if found["command"] != command:
            return found[0]
        return f"<!-- output of: {command} -->\n```\n{output.rstrip()}\n```\n"

    return OUTPUT.sub(renewed, page)


def output_of(command: str) -> str:
    """What `command` writes to standard output; `python` is the interpreter that runs this."""
    program, *arguments = shlex.split(command)
    words = [sys.executable if program == "python" else program, *arguments]
    return subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True).stdout


def renew(path: Path, containing: str = "") -> None:
    """Run the commands of a page that contain some text, and write each output at once."""
    for command in shown_commands(path.read_text(encoding="utf-8")):
        if containing in command:
            print(command, flush=True)
            output = output_of(command)
            page = with_output(path.read_text(encoding="utf-8"), command, output)
            path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    renew(Path(sys.argv[1]), *sys.argv[2:3])
