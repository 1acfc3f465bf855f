from __future__ import annotations

from acdc_pipeline.cli.terminal.progress import (
    Bar,
    Lines,
    SearchProgress,
    shorten_model_paths,
    show_status,
)


def test_lines_speak_at_the_start_and_then_only_when_time_has_passed(capsys):
    now = [0.0]
    lines = SearchProgress(Lines(lambda: now[0]))
    lines.start(100, "ioi on m")
    for tested, seconds in ((1, 1.0), (2, 4.9), (3, 5.0), (4, 6.0), (5, 10.1)):
        now[0] = seconds
        lines.advance(tested, 1, 100 - tested)
    lines.finish()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "ioi on m: searching 100 edges",
        "ioi on m: 3 tested, 1 kept, at most 97 of 100 left",
        "ioi on m: 5 tested, 1 kept, at most 95 of 100 left",
    ]


def test_bar_writes_nothing_to_stdout_and_can_be_used_again(capsys):
    bar = SearchProgress(Bar())
    for _ in range(2):
        bar.start(10, "label [not markup]")
        bar.advance(5, 1, 4)
        bar.finish()
    assert capsys.readouterr().out == ""


def test_waiting_is_shown_on_a_terminal_only(capsys, monkeypatch):
    with show_status("reading zoo:x"):
        pass
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with show_status("reading zoo:x"):
        pass
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading zoo:x" in err
    assert err.endswith("\x1b[2K")  # the line is erased


def test_search_of_many_says_which_one_it_is(capsys):
    lines = SearchProgress(Lines(lambda: 0.0))
    lines.prefix = "[2/8] "
    lines.status("loading")
    lines.start(100, "ioi on m")
    assert capsys.readouterr().err == "[2/8] ioi on m: searching 100 edges\n"


def test_lines_name_each_part_and_then_how_far_it_is_when_time_has_passed(capsys):
    now = [0.0]
    lines = SearchProgress(Lines(lambda: now[0]))
    lines.prefix = "evaluating ioi on m: "
    for number, name in enumerate(("curve", "null"), 1):
        lines.part(name, number, 2)
        for share, seconds in ((0.25, 4.9), (0.5, 5.0), (1.0, 9.0)):
            now[0] = 100.0 * number + seconds
            if number == 2:
                lines.share(share)
    assert capsys.readouterr().err.splitlines() == [
        "evaluating ioi on m: curve: part 1 of 2",
        "evaluating ioi on m: null: part 2 of 2",
        "evaluating ioi on m: null: 25% done",
    ]


def test_bar_over_parts_says_which_part_it_is_at(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    bar = SearchProgress(Bar())
    bar.prefix = "evaluating ioi on m: "
    bar.part("null", 2, 3)
    bar.share(0.5)
    bar.finish()
    out, err = capsys.readouterr()
    assert out == ""
    assert "evaluating ioi on m: null" in err
    assert "part 2 of 3" in err


def test_brief_leaves_out_the_folders_of_a_model_and_nothing_else():
    assert shorten_model_paths("ioi in gguf:/a/b c/d.gguf: null") == "ioi in gguf:…/d.gguf: null"
    assert (
        shorten_model_paths("ioi in gguf:/a/b/d.Q4_1.gguf: null")
        == "ioi in gguf:…/d.Q4_1.gguf: null"
    )
    assert shorten_model_paths("ioi in dir:models/tiny: null") == "ioi in dir:…/tiny: null"
    assert shorten_model_paths("ioi in hf:org/name: null") == "ioi in hf:org/name: null"


def test_lines_of_a_method_that_tests_no_edge_say_what_share_of_the_work_is_done(capsys):
    now = iter([0.0, 6.0, 6.0])
    lines = SearchProgress(Lines(lambda: next(now)))
    lines.tests_edges = False
    lines.start(100, "ioi by eap")
    lines.advance(40, 0, 60)
    assert capsys.readouterr().err.splitlines() == [
        "ioi by eap: scoring 100 edges",
        "ioi by eap: 40% done",
    ]
