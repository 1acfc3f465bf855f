"""Where files may lie and how long they may be."""

from __future__ import annotations

import re

from tests.support import REPOSITORY, source_files

MOST_LINES = 400

# Absolute paths below a person's or a machine's own folder. /home/ray is the home of Ray's images.
MACHINE_PATH = re.compile(r"""(?<![\w.:~}-])/(?:Users|root|work|workspace|home(?!/ray\b))/\w""")
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".sh", ".txt", ".cfg", ""}


def test_python_files_outside_package_tests_and_benchmarks_do_not_exist():
    homes = {"acdc_pipeline", "tests", "benchmarks"}
    strays = [
        str(path.relative_to(REPOSITORY))
        for path in source_files(".py")
        if path.parent != REPOSITORY and path.relative_to(REPOSITORY).parts[0] not in homes
    ]
    assert strays == []


def test_python_files_stay_short_enough_to_hold_one_noun():
    long = {
        str(path.relative_to(REPOSITORY)): lines
        for path in source_files(".py")
        if (lines := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert long == {}


def test_modules_are_named_after_what_they_hold():
    vague = {"utils", "util", "helpers", "common", "misc"}
    strays = [str(p.relative_to(REPOSITORY)) for p in source_files(".py") if vague & _names(p)]
    assert strays == []


def _names(path) -> set[str]:
    return {path.stem, *path.relative_to(REPOSITORY).parts[:-1]}


def test_files_name_no_path_of_one_machine():
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for path in source_files()
        if path.suffix in TEXT and path.name != ".git"  # of a worktree
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []
