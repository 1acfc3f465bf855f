"""Prompts with marked spans."""

from __future__ import annotations

import pytest

from acdc_pipeline.cli.views.span_text import mark_spans, print_marked_prompt


def marked(tokens: list[str], names: list[str]) -> str:
    return "".join(text for _, text in mark_spans(tokens, names))


def test_names_stand_in_brackets_behind_the_space_and_the_rest_has_none():
    tokens = ["<s>", "Then", ",", " John", " Smith", " met", " to"]
    names = ["bos", "rest", "rest", "S1", "S1", "S1+1", "END"]
    assert marked(tokens, names) == "[bos <s>]Then, [S1 John Smith] [S1+1 met] [END to]"


def test_line_feeds_and_control_characters_are_visible():
    assert marked(["a\n", "\x1b[2J"], ["A", "rest"]) == "[A a\\n]\\x1b[2J"


@pytest.mark.parametrize(("variable", "colored"), [("FORCE_COLOR", True), ("NO_COLOR", False)])
def test_spans_have_colors_where_the_terminal_has(variable, colored, monkeypatch, capsys):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, "1")
    print_marked_prompt([" a", " b", " c"], ["A", "rest", "B"], ("A", "rest", "B"))
    out = capsys.readouterr().out
    assert ("\x1b[36m" in out) is colored
    assert ("\x1b[35m" in out) is colored
    assert "[A a]" in out
