from __future__ import annotations

import shlex

from acdc_pipeline import __version__
from acdc_pipeline.execution.submission import other_version, run_command
from acdc_pipeline.execution.submission.submission import VERSION_VARIABLE


def test_equal_versions_and_no_job_at_all_say_nothing():
    assert other_version({}) is None
    assert other_version({VERSION_VARIABLE: __version__}) is None


def test_different_versions_are_both_named():
    said = other_version({VERSION_VARIABLE: "99.0"}) or ""
    assert "99.0" in said
    assert __version__ in said


def test_command_of_a_job_names_the_files_that_travel_and_quotes_what_a_shell_would_read():
    command = run_command("s3://bucket/a b; rm -rf $HOME", "--retry-failed")
    assert shlex.split(command) == [
        f"{VERSION_VARIABLE}={__version__}",
        *("python", "-m", "acdc_pipeline", "run", "sweep.yaml", "--executor", "ray"),
        *("--profile", "profile.yaml", "--store", "s3://bucket/a b; rm -rf $HOME"),
        "--retry-failed",
    ]
    assert "$HOME'" in command
