from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import pytest

from acdc_pipeline.store import open_store
from tests import records
from tests.command_line import acdc, start_acdc


@pytest.fixture
def store(store_url: str) -> str:
    """A store with one run, which has a circuit and the score of a head."""
    record = dataclasses.replace(records.record(), profile=None)
    open_store(store_url, mode="write").commit(record)
    return store_url


def test_wiki_build_says_where_the_pages_are_and_how_to_see_them(
    capsys, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    shown = acdc(capsys, "wiki", "build", "--out", "site")
    assert shown.code == 0, shown.err
    for part in ("1 run in", "1, 2 heads", "Open site/index.html", "acdc wiki serve --out site"):
        assert part in shown.out
    assert (tmp_path / "site" / "m" / "zoo-attn-2l" / "a0.h1.html").is_file()


def test_wiki_build_json_is_one_document_with_the_counts(capsys, store: str, tmp_path: Path):
    out = tmp_path / "site"
    found = acdc(capsys, "wiki", "build", "--out", out, "--json").document
    assert found["index"] == str(out / "index.html")
    assert (found["models"], found["heads"], found["circuits"], found["runs"]) == (1, 2, 1, 1)
    assert found["written"] == found["files"] > 10
    again = acdc(capsys, "wiki", "build", "--out", out, "--json").document
    assert again == {**found, "written": 0}


def test_wiki_build_counts_tasks_with_circuits_only(capsys, store_url: str, tmp_path: Path):
    record = dataclasses.replace(records.record(), profile=None)
    measured = dataclasses.replace(record.heads[0], metric="direct_effect@1:docstring")
    open_store(store_url, mode="write").commit(dataclasses.replace(record, heads=(measured,)))
    shown = acdc(capsys, "wiki", "build", "--out", tmp_path / "site")
    assert "1 of 1 task" in shown.out


def test_wiki_build_puts_pages_beside_the_results_where_nothing_else_is_said(
    capsys, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    acdc(capsys, "wiki", "build")
    assert (tmp_path / "acdc-wiki" / "index.html").is_file()
    (tmp_path / "acdc.yaml").write_text("")
    acdc(capsys, "wiki", "build")
    assert (tmp_path / "results" / "wiki" / "index.html").is_file()


def test_wiki_build_names_what_it_leaves_out(capsys, store: str, tmp_path: Path):
    run_id = records.spec().run_id()
    (Path(store) / "runs" / run_id / "run.json").write_bytes(b"{}")
    notes = tmp_path / "notes" / "nobody"
    notes.mkdir(parents=True)
    (notes / "a0.h0.md").write_text("text")
    shown = acdc(capsys, "wiki", "build", "--out", tmp_path / "site", "--notes", notes.parent)
    assert shown.code == 0
    assert f"left out: run {run_id}" in shown.err
    assert "nobody/a0.h0.md" in shown.err
    assert "the wiki is empty" in shown.err


def test_wiki_build_of_a_store_that_is_not_there_leaves_the_wiki_as_it_was(
    capsys, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    acdc(capsys, "wiki", "build", "--out", tmp_path / "site")
    before = sorted(path.name for path in (tmp_path / "site").rglob("*"))
    shown = acdc(
        capsys, "wiki", "build", "--out", tmp_path / "site", "--store", tmp_path / "mistyped"
    )
    shown.refuses("--store: the store does not exist")
    monkeypatch.chdir(tmp_path)
    shown = acdc(capsys, "wiki", "build", "--store", tmp_path / "mistyped")
    shown.refuses("acdc: mistyped: --store: the store does not exist")
    assert sorted(path.name for path in (tmp_path / "site").rglob("*")) == before


def test_wiki_build_refuses_a_folder_of_other_things(capsys, store: str, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    acdc(capsys, "wiki", "build", "--out", tmp_path).refuses("--out", "holds other files")


def test_wiki_build_refuses_notes_that_are_not_there(capsys, store: str, tmp_path: Path):
    acdc(capsys, "wiki", "build", "--out", tmp_path / "site", "--notes", tmp_path / "none").refuses(
        "--notes", "is not a folder"
    )
    assert not (tmp_path / "site").exists()


def test_wiki_serve_without_pages_says_what_makes_them(capsys, tmp_path: Path):
    acdc(capsys, "wiki", "serve", "--out", tmp_path).refuses("holds no wiki", "acdc wiki build")


def test_wiki_serve_ends_with_130_on_ctrl_c(capsys, store: str, tmp_path: Path):
    acdc(capsys, "wiki", "build", "--out", tmp_path / "site")
    with start_acdc("wiki", "serve", "--out", tmp_path / "site", "--port", "0") as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert "at http://127.0.0.1:" in line
    assert process.returncode == 130


def test_wiki_headvis_names_the_models_that_it_knows(capsys, store: str, tmp_path: Path):
    acdc(capsys, "wiki", "headvis", "zoo:none", "--out", tmp_path / "data").refuses(
        "profiled model", "zoo:none"
    )
    assert not (tmp_path / "data").exists()


def test_wiki_publish_sends_once_and_says_which_hosts_it_fits(
    capsys, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    acdc(capsys, "wiki", "build", "--out", "site")
    planned = acdc(capsys, "wiki", "publish", "public", "--out", "site", "--dry-run")
    assert "would send" in planned.out
    assert not (tmp_path / "public").exists()
    shown = acdc(capsys, "wiki", "publish", "public", "--out", "site", "--host", "netlify")
    assert shown.code == 0, shown.err
    for part in ("published to", "GitHub Pages", "within its limits"):
        assert part in shown.out
    again = acdc(capsys, "wiki", "publish", "public", "--out", "site", "--json").document
    assert (again["written"], again["removed"]) == ([], [])
    assert again["exceeded"]["Cloudflare Pages"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no place was named"),
        (("public", "--git", "gh-pages"), "two places were named"),
        (("public", "--host", "geocities"), "--host: 'geocities' is not known"),
        (("public", "--url", "example.org"), "--url: 'example.org' is not the address of a site"),
        (("site/public",), "is inside of the wiki"),
    ],
)
def test_wiki_publish_refuses_what_it_cannot_do(
    capsys, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, said: str
):
    monkeypatch.chdir(tmp_path)
    acdc(capsys, "wiki", "build", "--out", "site")
    acdc(capsys, "wiki", "publish", "--out", "site", *arguments).refuses(said)
    assert not (tmp_path / "public").exists()
