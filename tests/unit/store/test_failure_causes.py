"""What is kept of an exception: all parts of ours, the place of any other, no path of a machine."""

from __future__ import annotations

import json
from pathlib import Path

from acdc_pipeline.errors import PromptError
from acdc_pipeline.store.failure import TRACEBACK_LINES, failure_of
from tests.sweeps import planned


def raised(depth: int) -> Exception:
    def fall(left: int) -> None:
        if left:
            fall(left - 1)
        json.loads("{")

    try:
        fall(depth)
    except ValueError as error:
        return error
    raise AssertionError


def test_cause_of_an_error_of_ours_keeps_every_part_and_no_traceback():
    error = PromptError("two tokens", where="a.jsonl:1", field="correct", allowed="one", fix="cut")
    failure = failure_of(planned().run, error, worker="local", attempts=2)
    assert (failure.kind, failure.problem, failure.attempts) == ("PromptError", "two tokens", 2)
    assert failure.traceback == ()
    assert str(failure.error()) == str(error)
    assert type(failure.error()) is PromptError


def test_cause_of_a_bug_keeps_where_it_happened_without_the_folders_of_this_machine():
    failure = failure_of(planned().run, raised(2), worker="local")
    assert failure.kind == "JSONDecodeError"
    assert failure.problem.startswith("Expecting property name")
    assert failure.traceback[-1].startswith("json.decoder.JSONDecodeError: Expecting")
    assert failure.traceback[-2].startswith("json/decoder.py:")
    assert any("test_failure_causes.py" in line and "in fall" in line for line in failure.traceback)
    assert str(Path.cwd()) not in "\n".join(failure.traceback)


def test_cause_of_a_deep_bug_keeps_the_last_lines():
    failure = failure_of(planned().run, raised(50), worker="local")
    assert len(failure.traceback) == TRACEBACK_LINES
    assert failure.traceback[-2].startswith("json/decoder.py:")


def test_cause_without_a_message_is_told_by_its_class():
    failure = failure_of(planned().run, AssertionError(), worker="local")
    assert failure.problem == "AssertionError()"


def test_cause_with_an_endless_message_is_cut():
    failure = failure_of(planned().run, ValueError("x" * 10**6), worker="local")
    assert len(failure.problem) < 3000
