"""Tables at the widths that terminals have."""

from __future__ import annotations

import json
import logging
import re
import time

import pytest

from acdc_pipeline.cli.terminal.errors import print_error
from acdc_pipeline.cli.terminal.output import (
    print_facts,
    print_json,
    print_line,
    print_note,
    terminal_width,
)
from acdc_pipeline.cli.terminal.progress import Lines
from acdc_pipeline.cli.terminal.streams import show_log_records
from acdc_pipeline.cli.terminal.tables import Column, fit_columns, print_table
from acdc_pipeline.cli.terminal.text import format_age, format_span, shorten, wrap
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.text import format_number, pluralize, without_rounding
from tests.command_line import Outcome, acdc

WIDTHS = (60, 80, 100, 160)

COLUMNS = (
    Column("run"),
    Column("model", "name"),
    Column("KL", "number"),
    Column("said", "prose", rank=1),
    Column("seconds", "number", rank=2),
)
ROW = {
    "run": "3f2a91c0",
    "model": "hf:some-organisation/some-model",
    "KL": "0.0125",
    "said": "as many words as do not fit on one line of a terminal that people have",
    "seconds": "12.5",
}


@pytest.fixture
def at(capsys, monkeypatch):
    """Runs a command as if on a terminal of some width."""

    def run(width: int, *arguments: str) -> Outcome:
        capsys.readouterr()
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        return acdc(capsys, *arguments)

    return run


@pytest.fixture
def two_runs(capsys) -> list[str]:
    """The ids of two runs that differ in their seed."""
    more = (["--threshold", "0.0125"], ["--threshold", "0.0125", "--seed", "1"])
    target = ("discover", "compiled_or", "zoo:compiled-or", "--prompts", "8", "--json")
    return [acdc(capsys, *target, *options).document["run_id"] for options in more]


def test_column_of_the_highest_rank_goes_first_and_rank_0_stays():
    left_out = {width: fit_columns(COLUMNS, [ROW], width).left_out for width in (200, 60, 50, 10)}
    assert left_out == {200: (), 60: (), 50: ("seconds",), 10: ("said", "seconds")}


def test_column_that_is_the_same_in_every_row_goes_before_one_that_tells_them_apart():
    rows = [ROW, ROW | {"run": "90cc71aa", "seconds": "3.0"}]
    assert fit_columns(COLUMNS, rows, 50).left_out == ("said",)
    assert fit_columns(COLUMNS, rows, 35).left_out == ("said", "seconds")


def test_column_without_a_value_goes_before_a_name_is_cut():
    none = ROW | {"said": "–", "seconds": "–"}
    layout = fit_columns(COLUMNS, [none], 60)
    assert layout.left_out == ("seconds",)
    assert layout.widths["model"] == len(ROW["model"])
    assert fit_columns(COLUMNS, [none], 200).left_out == ()


def test_terminal_narrower_than_the_least_table_has_a_block_for_each_row(at, two_runs):
    listed = at(40, "runs", "list")
    first, second = ({} for _ in two_runs)
    for block, said in zip((first, second), listed.out.strip().split("\n\n"), strict=True):
        block |= dict(re.split(r" {2,}", line, maxsplit=1) for line in said.splitlines())
    assert {first["run"], second["run"]} == {run[:8] for run in two_runs}
    assert {first["seed"], second["seed"]} == {"0", "1"}
    assert first["model"] == second["model"] == "zoo:compiled-or"
    assert max(map(len, listed.out.splitlines())) <= 40
    assert "no room" not in listed.err


@pytest.mark.parametrize("width", [*WIDTHS, 45, 20])
def test_numbers_and_ids_have_their_whole_width_wherever_they_are_shown(width: int):
    layout = fit_columns(COLUMNS, [ROW], width)
    for column in layout.columns:
        if column.kind in ("whole", "number"):
            assert layout.widths[column.name] >= len(ROW[column.name])
    assert layout.width <= width or not any(column.rank for column in layout.columns)


def test_off_a_terminal_rows_are_whole_and_the_rule_is_as_long(capsys):
    text = "word " * 80 + "end"
    print_table((Column("run"), Column("said", "prose")), [{"run": "3f2a91c0", "said": text}])
    _, rule, row = capsys.readouterr().out.splitlines()
    assert rule == "─" * len(row)
    assert row == f"3f2a91c0  {text}"


@pytest.mark.parametrize(("columns", "width"), [("60", 60), ("", None), ("0", None), ("x", None)])
def test_columns_limit_a_table_into_a_pipe(monkeypatch, columns: str, width: int | None):
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_width() == width


def test_table_off_a_terminal_shows_everything_in_one_line():
    layout = fit_columns(COLUMNS, [ROW], None)
    assert layout.left_out == ()
    assert all(layout.widths[name] >= len(text) for name, text in ROW.items())


@pytest.mark.parametrize("width", WIDTHS)
def test_runs_list_fits_and_cuts_no_number_and_no_id(at, two_runs, width: int):
    listed = at(width, "runs", "list")
    assert listed.code == 0
    assert max(map(len, listed.out.splitlines())) <= width
    _, _, *rows = listed.out.splitlines()
    assert sorted(row.split()[0] for row in rows) == sorted(run[:8] for run in two_runs)
    assert all("acdc 0.0125" in row for row in rows)
    assert ("no room at 60 columns for:" in listed.err) == (width == 60)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("what", ["tasks", "models"])
def test_lists_of_what_ships_fit_and_cut_no_name(at, capsys, width: int, what: str):
    listed = at(width, what, "list")
    assert listed.code == 0
    assert max(map(len, listed.out.splitlines())) <= width
    for name in (
        ("docstring", "compiled_reverse") if what == "tasks" else ("zoo:compiled-induction",)
    ):
        assert name in listed.out


def test_runs_list_has_a_column_for_what_the_runs_differ_in(capsys, two_runs):
    head, *_ = acdc(capsys, "runs", "list").out.splitlines()
    assert "seed" in head
    for same in ("prompts", "metric", "ablation", "dtype", "weights"):
        assert same not in head


def test_runs_list_has_no_column_for_what_only_some_methods_have(capsys, two_runs):
    target = ("discover", "compiled_or", "zoo:compiled-or", "--prompts", "8", "--json")
    acdc(capsys, *target, "--method", "eap-ig-inputs", "--share", "0.25")
    head, *_ = acdc(capsys, "runs", "list").out.splitlines()
    assert "seed" in head
    for lacking in ("order", "difference", "rank", "steps"):
        assert lacking not in head.split()


def test_output_into_a_pipe_has_no_blanks_at_the_ends_of_lines(capsys, two_runs):
    for command in (["runs", "list"], ["runs", "show", two_runs[0]], ["doctor"]):
        shown = acdc(capsys, *command)
        assert [line for line in shown.out.splitlines() if line != line.rstrip()] == []


def test_long_lists_into_a_pipe_wrap_at_words(capsys):
    said = acdc(capsys, "models", "list").err.splitlines()
    assert max(map(len, said)) <= 100
    assert any("Cohere (Command R)" in line for line in said)


def test_name_loses_its_middle():
    assert shorten("hf:some-organisation/some-model", 11) == "hf:so…model"
    assert shorten("short", 11) == "short"


def test_text_wraps_between_words_and_keeps_long_ones_whole():
    assert wrap("a path is /some/where/else here", 12) == "a path is\n/some/where/else\nhere"


def test_number_has_three_digits_whatever_they_are():
    values = (None, 0.0, 0.96, 1.0, 20.0, 345.4, 12345.0, 0.0000476)
    shown = ["–", "0", "0.960", "1.00", "20.0", "345", "1.23e+04", "4.76e-05"]
    assert [format_number(value) for value in values] == shown


def test_divergence_below_zero_by_rounding_is_shown_as_zero():
    values = (-2.98e-08, 0.0, 2.98e-08, -0.5, None)
    shown = ["0", "0", "2.98e-08", "-0.500", "–"]
    assert [format_number(without_rounding(value)) for value in values] == shown


def test_span_of_time_names_its_two_largest_units():
    seconds = (0.2, 59.4, 78.0, 3725.0, 360000.0)
    assert [format_span(s) for s in seconds] == [
        "0 s",
        "59 s",
        "1 min 18 s",
        "1 h 2 min",
        "100 h 0 min",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "1 minute"),
        (119.9, "1 minute"),
        (3599, "59 minutes"),
        (3600, "1 hour"),
        (86399, "23 hours"),
        (86400, "1 day"),
        (2 * 86400 - 1, "1 day"),
        (400 * 86400, "400 days"),
    ],
)
def test_age_is_in_the_largest_whole_unit_rounded_down(seconds: float, text: str):
    assert format_age(float(seconds)) == text


def test_one_of_a_thing_is_singular():
    assert [pluralize(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    assert [pluralize(n, "search") for n in (1, 2)] == ["1 search", "2 searches"]


def test_table_and_lines_hold_nothing_that_a_terminal_obeys(capsys):
    hostile = "zoo:\x1b]0;title\x07\x1b[2J\u202e\x9b\r"
    print_table((Column("model", "name"),), [{"model": hostile}])
    print_facts({"model": hostile})
    print_line(hostile)
    print_note(hostile)
    print_error(InvalidInput("is bad", where=hostile))
    print_json({"model": hostile})
    with show_log_records():
        logging.getLogger("acdc_pipeline.here").warning(hostile)
    lines = Lines(time.monotonic)
    lines.begin(hostile, None, "", "line")
    shown = "".join(capsys.readouterr())
    assert shown.count("title") == 8
    assert not set("\x1b\x07\u202e\x9b\r") & set(shown)


def test_json_of_control_characters_is_that_of_the_same_text(capsys):
    text = "\x00\x1b\x7f\x9b\u2028\u202e\u2069 é 木\n\t"
    print_json({"a": text})
    assert json.loads(capsys.readouterr().out) == {"a": text}


@pytest.mark.parametrize("width", [None, 45, 60])
def test_many_rows_are_printed_as_rich_renders_them(capsys, monkeypatch, width):
    columns = (
        Column("run"),
        Column("model", "name"),
        Column("n", "number"),
        Column("note", rank=1),
    )
    rows = [
        {
            "run": f"{i:08x}",
            "model": "hf:organisation/model"[: 3 + i % 19],
            "n": "–" if i % 2 else str(i * i),
            "note": "" if i % 3 else "a b",
        }
        for i in range(40)
    ]
    printed = []
    for rendered in (1000, 5):
        monkeypatch.setattr("acdc_pipeline.cli.terminal.tables._RENDERED", rendered)
        print_table(columns, rows, width=width)
        printed.append(capsys.readouterr().out)
    assert printed[1] == printed[0]
    assert len(printed[0].splitlines()) == 42


@pytest.mark.parametrize("cell", ["学習", "two\nlines", "é"])
def test_rows_that_are_not_plain_are_rendered_by_rich(capsys, monkeypatch, cell):
    columns = (Column("name"), Column("n", "number"))
    rows = [{"name": "a", "n": "1"}, {"name": cell, "n": "2"}, {"name": "b", "n": "3"}]
    printed = []
    for rendered in (1000, 1):
        monkeypatch.setattr("acdc_pipeline.cli.terminal.tables._RENDERED", rendered)
        print_table(columns, rows)
        printed.append(capsys.readouterr().out)
    assert printed[1] == printed[0]
