"""The text of errors: one line for the problem, nothing that a terminal obeys, lists last."""

from __future__ import annotations

import pickle

import pytest

from acdc_pipeline.errors import (
    AcdcError,
    InvalidInput,
    UnknownName,
    escape_control_characters,
    nearest,
)
from acdc_pipeline.specs import find_task, method_for


def test_error_shows_control_characters_as_escapes():
    error = InvalidInput(
        "no such file: a\x1b[2Jb\nfix: rm", where="x\r\x9b.yaml", field="\u202ename", fix="ab\x07"
    )
    assert str(error) == (
        "x\\r\\x9b.yaml: \\u202ename: no such file: a\\x1b[2Jb\\nfix: rm\nfix: ab\\x07"
    )
    assert error.field == "\u202ename"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("text", ["", "plain", "tab\tand\nline", "é – 木", "a\\x1b"])
def test_text_without_control_characters_is_unchanged(text: str):
    assert escape_control_characters(text) == text


def test_unknown_name_with_a_near_one_is_not_followed_by_a_long_list():
    names = ["kl", *(f"metric_{index}" for index in range(10))]
    near = UnknownName.among("metric", "kll", names)
    assert str(near).splitlines() == [
        "unknown metric 'kll'; did you mean 'kl'?",
        "fix: 'acdc discover --help' shows all",
    ]
    assert near.allowed == ", ".join(sorted(names))
    far = UnknownName.among("metric", "xyz", names)
    assert f"allowed: {far.allowed}\n" in str(far)
    short = UnknownName.among("executor", "rya", ["local", "ray"])
    assert str(short) == "unknown executor 'rya'; did you mean 'ray'?\nallowed: local, ray"


def test_problem_that_suggests_nothing_is_followed_by_what_is_allowed():
    assert str(AcdcError("is bad", allowed="1 to 3")) == "is bad\nallowed: 1 to 3"


def test_of_equally_near_names_the_first_is_suggested():
    assert nearest("gpt2-4l", ["gpt2-4l-s0", "gpt2-4l-s1", "gpt2-4l-s2"]) == "gpt2-4l-s0"
    assert nearest("x", []) is None


def test_aliases_of_methods_are_suggested():
    with pytest.raises(UnknownName, match="did you mean 'eap-ig'"):
        method_for("eap-igg", {}, find_task("ioi"), where="discover")
