"""`acdc runs export` into files, and what `acdc runs show` leaves behind."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from acdc_pipeline.store import open_store
from tests import records
from tests.command_line import Outcome, acdc, start_acdc


@pytest.fixture
def run_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_url: str) -> str:
    """A stored run of three edges, and an empty working directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    record = records.record()
    open_store(store_url).commit(record)
    return record.spec.run_id()


def export(capsys, run_id: str, *more: str) -> Outcome:
    return acdc(capsys, "runs", "export", run_id, *more)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("c.graphml", b"<?xml"),
        ("c.DOT", b"digraph"),
        ("c.gv", b"digraph"),
        ("c.parquet", b"PAR1"),
        ("c.svg", b"<svg"),
        ("c.json", b"{"),
        ("c", b"{"),
    ],
)
def test_format_is_what_the_files_name_says(capsys, run_id, name: str, begins: bytes):
    assert export(capsys, run_id, "--out", name).code == 0
    assert Path(name).read_bytes().startswith(begins)


def test_format_that_is_asked_for_fits_names_that_say_nothing_else(capsys, run_id):
    for name in ("c.json", "c.txt"):
        assert export(capsys, run_id, "--out", name, "--format", "node-link").code == 0
        assert "nodes" in json.loads(Path(name).read_text())


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (("--out", "c.csv"), ("c.csv: '.csv' is the suffix of no format", ".graphml", "--format")),
        (
            ("--out", "c.graphml", "--format", "dot"),
            ("named like graphml, and --format is dot", "leave --format out", "*.dot"),
        ),
        (("--out", "none/c.json"), ("its folder does not exist", "mkdir -p none")),
        (("--out", "there.json"), ("there.json: exists already", "--force")),
        (("--out", ""), ("--out: the name of the file is empty", "- for stdout")),
        (("--out", "."), (".: is a folder",)),
    ],
)
def test_export_that_would_surprise_is_refused_and_writes_nothing(
    capsys, run_id, more: tuple[str, ...], parts: tuple[str, ...]
):
    Path("there.json").write_text("mine")
    export(capsys, run_id, *more).refuses(*parts)
    assert [path.name for path in Path().iterdir()] == ["there.json"]
    assert Path("there.json").read_text() == "mine"


def test_export_replaces_a_file_where_it_is_forced_to(capsys, run_id):
    Path("there.json").write_text("mine")
    assert export(capsys, run_id, "--out", "there.json", "--force").code == 0
    assert "nodes" in json.loads(Path("there.json").read_text())


def test_export_through_a_link_replaces_the_file_and_keeps_link_and_permissions(capsys, run_id):
    Path("there.json").write_text("mine")
    Path("there.json").chmod(0o640)
    Path("link.json").symlink_to("there.json")
    export(capsys, run_id, "--out", "link.json").refuses("link.json: exists already")
    assert export(capsys, run_id, "--out", "link.json", "--force").code == 0
    assert Path("link.json").is_symlink()
    assert "nodes" in json.loads(Path("there.json").read_text())
    assert stat.S_IMODE(Path("there.json").stat().st_mode) == 0o640


def test_export_through_a_link_to_nothing_makes_what_it_names(capsys, run_id):
    Path("link.json").symlink_to("new.json")
    assert export(capsys, run_id, "--out", "link.json").code == 0
    assert Path("link.json").is_symlink()
    assert "nodes" in json.loads(Path("new.json").read_text())


def test_export_to_a_loop_of_links_is_refused(capsys, run_id):
    Path("a").symlink_to("b")
    Path("b").symlink_to("a")
    export(capsys, run_id, "--out", "a").refuses("a: is a link that leads nowhere")


def test_pipe_is_written_to_and_stays_a_pipe(capsys, run_id):
    os.mkfifo("pipe")
    for command in (("export", run_id, "--out", "pipe"), ("show", run_id, "--svg", "pipe")):
        got: list[str] = []
        reader = threading.Thread(target=lambda got=got: got.append(Path("pipe").read_text()))
        reader.start()
        assert acdc(capsys, "runs", *command).code == 0
        reader.join(timeout=10)
        assert got[0].startswith(("{", "<svg"))
        assert stat.S_ISFIFO(Path("pipe").stat().st_mode)


def test_stdout_by_name_is_where_the_shell_sends_it(run_id: str, tmp_path: Path):
    """`> file` and `>> file` belong to the shell: the file is neither replaced nor cut off."""
    file = tmp_path / "all.txt"
    file.write_text("before\n")
    inode = file.stat().st_ino
    command = ("runs", "export", run_id, "--out", "/dev/stdout", "--format", "dot")
    with file.open("a") as stream, start_acdc(*command, stdout=stream) as process:
        _, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert file.read_text().startswith("before\ndigraph")
    assert file.stat().st_ino == inode


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_stdout_by_any_of_its_names_is_stdout(capsys, run_id, name: str):
    shown = export(capsys, run_id, "--out", name, "--format", "dot")
    assert (shown.code, shown.out.split()[0], shown.err) == (0, "digraph", "")


def test_stderr_by_name_is_written_to(capfd, run_id):
    drawn = acdc(capfd, "runs", "show", run_id, "--svg", "/dev/stderr")
    assert drawn.code == 0
    assert "drawing" in drawn.out
    assert drawn.err.startswith("<svg")


def test_stream_that_is_not_open_is_refused(capsys, run_id):
    export(capsys, run_id, "--out", "/dev/fd/99").refuses("/dev/fd/99: cannot be written")


def test_dash_is_stdout(capsys, run_id):
    shown = export(capsys, run_id, "--out", "-", "--format", "dot")
    assert (shown.code, shown.out.split()[0], shown.err) == (0, "digraph", "")
    drawn = acdc(capsys, "runs", "show", run_id, "--svg", "-").out
    assert drawn.startswith("<svg")
    assert drawn.rstrip().endswith("</svg>")
    shared = acdc(capsys, "runs", "compare", run_id, run_id, "--svg", "-").out
    assert shared.startswith("<svg")
    assert list(Path().iterdir()) == []
    acdc(capsys, "runs", "show", run_id, "--svg", "-", "--json").refuses("exclude one another")


def test_runs_show_replaces_a_drawing_only_where_it_is_forced_to(capsys, run_id):
    Path("mine.svg").write_text("mine")
    acdc(capsys, "runs", "show", run_id, "--svg", "mine.svg").refuses(
        "mine.svg: exists already", "--force"
    )
    assert Path("mine.svg").read_text() == "mine"
    assert acdc(capsys, "runs", "show", run_id, "--svg", "mine.svg", "--force").code == 0
    assert Path("mine.svg").read_text().startswith("<svg")


def test_runs_show_names_edges_by_score_best_first(capsys, run_id):
    shown = acdc(capsys, "runs", "show", run_id).out
    (best,) = [line for line in shown.splitlines() if line.startswith("input->a0.h1<q>")]
    assert best.split()[-1] == "0.100"
    assert shown.index("input->a0.h1<q>") < shown.index("a0.h1->logits")
    assert "more, see" not in shown


def test_runs_show_names_no_more_edges_than_fit_and_says_where_the_rest_is(
    capsys, run_id, monkeypatch
):
    monkeypatch.setattr("acdc_pipeline.cli.commands.runs.MAX_EDGES_NAMED", 2)
    shown = acdc(capsys, "runs", "show", run_id).out
    assert f"… and 1 more, see acdc runs export {run_id[:8]}\n" in shown


def test_runs_show_without_svg_writes_no_file(capsys, run_id):
    shown = acdc(capsys, "runs", "show", run_id)
    assert shown.code == 0
    assert list(Path().iterdir()) == []
    assert acdc(capsys, "runs", "show", run_id, "--json").document["drawing"] is None


def test_runs_unknown_prefix_is_refused(capsys, run_id):
    for command in ("show", "export"):
        acdc(capsys, "runs", command, "zzzz").refuses("unknown run 'zzzz'", "acdc runs list")


def test_runs_export_unknown_format_suggests_the_nearest(capsys, run_id):
    acdc(capsys, "runs", "export", run_id, "--format", "grafml").refuses("mean 'graphml'?")
