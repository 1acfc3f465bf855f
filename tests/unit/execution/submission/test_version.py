from __future__ import annotations

from acdc_pipeline import __version__
from acdc_pipeline.execution.submission import other_version
from acdc_pipeline.execution.submission.version import VARIABLE


def test_equal_versions_and_no_job_at_all_say_nothing():
    assert other_version({}) is None
    assert other_version({VARIABLE: __version__}) is None


def test_different_versions_are_both_named():
    said = other_version({VARIABLE: "99.0"}) or ""
    assert "99.0" in said
    assert __version__ in said
