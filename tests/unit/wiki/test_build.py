"""Building: the same runs make the same bytes, and only what differs is written."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from acdc_pipeline.errors import ExecutionFailed, InvalidInput, SpecError
from acdc_pipeline.store import RunRecord, Store, StoredEvaluation, open_store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.cache import NAME as CACHE
from acdc_pipeline.wiki.output import (
    BUILDING,
    LOCK,
    NAME,
    check_folder,
    lock_folder,
    read_manifest,
)
from acdc_pipeline.wiki.processes import map_in_processes
from tests import records, wiki_store
from tests.unit.wiki.conftest import TINY
from tests.wiki_pages import Page

_DASHES = re.compile(r'<td class="n"[^>]*>–')
"""Cells of a table that say that nothing was measured."""


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but the cache, which says when files of the store were written."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != CACHE
    }


def new_circuit() -> RunRecord:
    """A run of the first model that `tiny_store` does not have."""
    draw = np.random.default_rng(99)
    return next(wiki_store.circuit_records(TINY[0], "induction", (0.05,), draw))


@pytest.fixture
def own_store(tiny_store: Store, tmp_path: Path) -> Store:
    """A copy of the store that a test may change."""
    assert tiny_store.folder is not None
    shutil.copytree(tiny_store.folder, tmp_path / "own")
    return open_store(tmp_path / "own", mode="write")


@pytest.fixture
def own_site(tiny_site: Path, tmp_path: Path) -> Path:
    """A copy of the site that a test may change."""
    return Path(shutil.copytree(tiny_site, tmp_path / "site"))


def test_build_gives_identical_bytes_in_one_process_and_in_two(
    tiny_store: Store, tiny_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("acdc_pipeline.wiki.model_pages._FEW_HEADS", 1)
    monkeypatch.setattr("acdc_pipeline.wiki.runs._FEW_RUNS", 1)
    monkeypatch.setattr("acdc_pipeline.wiki.runs._RUNS_PER_BATCH", 2)
    two = build(tiny_store, tmp_path / "two", jobs=2)
    assert files_of(two.out) == files_of(tiny_site)
    contents = {name: data for name, data in files_of(two.out).items() if name != NAME}
    assert len(contents) == two.files == two.written
    assert two.bytes == sum(map(len, contents.values()))


def test_build_under_another_hash_seed_finds_every_model_as_it_was(
    tiny_store: Store, tiny_site: Path, tmp_path: Path
):
    """Sets have another order there; the manifest says by what a model is known."""
    code = (
        "import sys; from pathlib import Path\n"
        "from acdc_pipeline.store import open_store; from acdc_pipeline.wiki.build import build\n"
        "build(open_store(sys.argv[1]), Path(sys.argv[2]), jobs=1)"
    )
    command = [sys.executable, "-c", code, str(tiny_store.folder), str(tmp_path / "site")]
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "1"}, check=True)
    assert (tmp_path / "site" / NAME).read_bytes() == (tiny_site / NAME).read_bytes()


def test_build_whose_worker_is_killed_says_so():
    with pytest.raises(ExecutionFailed, match="was killed"):
        list(map_in_processes(os._exit, [9, 9], jobs=2))


def test_build_over_its_own_site_writes_nothing(tiny_store: Store, own_site: Path, tiny_site: Path):
    again = build(tiny_store, own_site, jobs=1)
    assert (again.written, again.removed) == (0, 0)
    assert files_of(own_site) == files_of(tiny_site)


def test_build_after_a_new_run_writes_that_model_and_equals_a_fresh_build(
    own_store: Store, own_site: Path, tmp_path: Path
):
    kept = own_site / "m" / "zoo-gpt2-4l-s0" / "a0.h0.html"
    before = kept.stat()
    own_store.commit(new_circuit())
    again = build(own_store, own_site, jobs=1)
    fresh = build(own_store, tmp_path / "fresh", jobs=1)
    assert files_of(own_site) == files_of(fresh.out)
    assert (own_site / "t" / "induction" / "zoo-attn-2l.html").is_file()
    assert again.written < fresh.written / 2
    # written anew, it would be another file
    assert kept.stat().st_ino == before.st_ino


def test_build_after_runs_are_gone_removes_their_pages_and_nothing_else(
    own_store: Store, own_site: Path, tmp_path: Path
):
    beside = own_site / "m" / "zoo-gpt2-4l-s0" / "mine.txt"
    beside.write_text("keep")
    for run_id in own_store.run_ids():
        if own_store.get(run_id).spec.model == "zoo:gpt2-4l-s0":
            shutil.rmtree(own_store.path(run_id))
    again = build(own_store, own_site, jobs=1)
    # two heads, the model's page and that of its scores, its circuit, seven files of data
    assert again.removed == 12
    assert [path.name for path in beside.parent.iterdir()] == ["mine.txt"]
    beside.unlink()
    beside.parent.rmdir()
    assert files_of(own_site) == files_of(build(own_store, tmp_path / "fresh", jobs=1).out)


def test_build_that_was_killed_is_made_whole_by_the_next(
    tiny_store: Store, own_site: Path, tiny_site: Path
):
    (own_site / BUILDING).touch()
    # of the right size, and wrong
    page = own_site / "m" / "zoo-attn-2l" / "a0.h0.html"
    page.write_bytes(b"x" * page.stat().st_size)
    (own_site / "index.html").unlink()
    build(tiny_store, own_site, jobs=1)
    assert files_of(own_site) == files_of(tiny_site)


def test_build_restores_pages_that_were_cut_or_deleted(
    tiny_store: Store, own_site: Path, tiny_site: Path
):
    (own_site / "m" / "zoo-attn-2l" / "a0.h0.html").write_bytes(b"")
    (own_site / "assets" / "wiki.css").unlink()
    assert build(tiny_store, own_site, jobs=1).written == 2
    assert files_of(own_site) == files_of(tiny_site)


def test_build_leaves_a_damaged_run_out_and_names_it(own_store: Store, own_site: Path):
    run_id = next(
        run_id
        for run_id in own_store.run_ids()
        if "graph.json" in {path.name for path in Path(own_store.path(run_id)).iterdir()}
    )
    path = Path(own_store.path(run_id)) / "graph.json"
    path.write_bytes(path.read_bytes().replace(b"logits", b"sticol"))
    (damage,) = build(own_store, own_site, jobs=1).site.damaged
    assert run_id in damage
    assert run_id in (own_site / "about.html").read_text()
    mentioned = [p for p in own_site.rglob("t/*/zoo*.html") if run_id[:8] in p.read_text()]
    assert mentioned == []


def test_build_of_an_empty_store_says_so_on_its_home_page(tmp_path: Path):
    built = build(open_store(tmp_path / "nothing"), tmp_path / "site", jobs=1)
    assert built.site.models == ()
    assert "There is no run in" in (built.out / "index.html").read_text()


def test_build_of_heads_without_circuits_and_of_circuits_without_heads(tmp_path: Path):
    store = open_store(tmp_path / "store", mode="write")
    store.commit(dataclasses.replace(records.record(), heads=(), profile=None))
    draw = np.random.default_rng(0)
    grids = wiki_store.score_grids(TINY[1], ["ioi"], draw)
    record = wiki_store.profile_record(TINY[1], "ioi", grids, draw)
    assert record.profile is not None
    # as profiles of earlier versions are
    new = ("typical", "attribution")
    older = {key: part for key, part in record.profile.items() if key not in new}
    store.commit(dataclasses.replace(record, profile=older))
    out = build(store, tmp_path / "site", jobs=1).out
    bare = (out / "m" / "zoo-attn-2l" / "a0.h1.html").read_text()
    assert "Its scores were not measured." in bare
    assert "In the circuit of ioi (up to τ = 0.01)." in bare
    profiled = (out / "m" / "zoo-gpt2-4l-s0" / "a0.h1.html").read_text()
    assert "No circuit was searched for in this model." in profiled
    assert "the profile is of an earlier version" in profiled
    assert 'id="shown"' not in profiled
    assert "class=why" not in profiled


@pytest.mark.parametrize("present", ["letter.txt", ".hidden"])
def test_out_folder_with_other_files_is_refused_before_anything_is_written(
    tiny_store: Store, tmp_path: Path, present: str
):
    (tmp_path / present).write_text("mine")
    with pytest.raises(InvalidInput, match="holds other files"):
        build(tiny_store, tmp_path, jobs=1)
    assert [path.name for path in tmp_path.iterdir()] == [present]


def test_out_that_is_a_file_is_refused(tmp_path: Path):
    (tmp_path / "site").write_text("mine")
    with pytest.raises(InvalidInput, match="is a file"):
        check_folder(tmp_path / "site")


def test_manifest_that_names_files_outside_is_not_followed(
    tiny_store: Store, own_site: Path, tmp_path: Path
):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    document = json.loads((own_site / NAME).read_bytes())
    document["files"] |= {"../victim.txt": ["0", 4], str(victim): ["0", 4]}
    (own_site / NAME).write_text(json.dumps(document))
    build(tiny_store, own_site, jobs=1)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"version": 99}', '{"version": 1}'])
def test_manifest_of_another_form_counts_as_none(tmp_path: Path, text: str):
    (tmp_path / NAME).write_text(text)
    assert read_manifest(tmp_path).files == {}


def test_date_of_the_site_is_that_of_the_environment_if_it_names_one(
    tiny_store: Store, own_site: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    built = build(tiny_store, own_site, jobs=1)
    assert built.site.newest is not None
    assert built.site.newest.isoformat() == "1970-01-02"
    # the date stands in the facts of the build and in the changes, so that a new day is no new site
    assert built.written == 8
    assert "1970-01-02" in (own_site / "data" / "build.js").read_text()


def test_task_file_with_a_mistake_is_named(tiny_store: Store, tmp_path: Path):
    project = tmp_path / "project"
    (project / "tasks" / "ioi").mkdir(parents=True)
    (project / "tasks" / "ioi" / "task.yaml").write_text("name: ioi\n")
    with pytest.raises(SpecError, match="title"):
        build(tiny_store, tmp_path / "site", project=project, jobs=1)
    assert not (tmp_path / "site").exists()


def test_build_beside_another_in_the_same_folder_is_refused_and_leaves_it_alone(tmp_path: Path):
    store = open_store(tmp_path / "store")
    with lock_folder(tmp_path / "site"), pytest.raises(ExecutionFailed, match="another build"):
        build(store, tmp_path / "site", jobs=1)
    assert not (tmp_path / "site").exists()
    build(store, tmp_path / "site", jobs=1)
    assert not (tmp_path / "site" / LOCK).exists()


def test_build_shows_what_was_measured_of_a_run_and_a_dash_for_what_was_not(
    own_store: Store, own_site: Path
):
    slug = "zoo-" + TINY[0].ref.partition(":")[2]
    page, overview = own_site / f"t/ioi/{slug}.html", own_site / "t/ioi/index.html"
    assert "Above null" not in page.read_text() + overview.read_text()
    before = files_of(own_site)
    ids = [
        s.run_id
        for s in own_store.summaries()
        if s.spec.model == TINY[0].ref and s.edges_kept is not None
    ]
    figures = {
        "metric": "kl",
        "null": {"drawn": 40, "percentile": 0.875, "faithfulness": [], "metrics": {}},
        "curve": None,
        "cpr": None,
        "completeness": [
            {"parts": [], "circuit": 0.0, "model": 0.0, "incompleteness": value}
            for value in (0.25, 0.75)
        ],
        "minimality": [{"part": "m0", "score": s, "without": []} for s in (0.5, 0.001, 0.2)],
    }
    for run_id in ids:
        kept = StoredEvaluation(run_id, {"seed": 0, "draws": 1}, figures, 1.0, {}, 1000.0)
        own_store.add_evaluation(kept)
    # a damaged one is named, and shown nowhere
    damaged = f"evaluations/{ids[0]}/{'0' * 16}.json"
    Path(own_store.url, damaged).write_text("{")
    built = build(own_store, own_site, jobs=1)
    assert [line for line in built.site.damaged if "0000.json" in line]
    shown = Page(page)
    assert "Above null" in shown.text
    assert re.search("88.%.{0,2}of 40", shown.text)
    assert re.search("50.%", shown.text)  # incompleteness, on average
    assert "2 of 3" in shown.text
    rows = page.read_text().split('id="evaluation"')[1].split("</table>")[0]
    # CMD, CPR, worst knockout, scrubbing, fresh prompts, stability, transfer of each circuit
    assert len(_DASHES.findall(rows)) == 7 * len(ids)
    assert "Above null" in overview.read_text()
    document = json.loads((own_site / f"data/{slug}.json").read_text())
    cut = document["circuits"][0]["cuts"][0]["evaluation"]
    assert (cut["above_null"], cut["null_circuits"], cut["stability"]) == (0.875, 40, None)
    # the other model's pages are what they were
    other = "zoo-" + TINY[1].ref.partition(":")[2]
    after = files_of(own_site)
    same = [name for name in before if f"/{other}" in name and name.endswith(".html")]
    assert same
    assert all(after[name] == before[name] for name in same)
    # the same bytes as a build from nothing, and none when nothing changed
    assert build(own_store, own_site, jobs=1).written == 0
    assert files_of(build(own_store, own_site.parent / "anew", jobs=1).out) == after


def test_build_shows_dashes_for_circuits_that_were_not_evaluated_beside_one_that_was(
    own_store: Store, own_site: Path
):
    first, *others = [s.run_id for s in own_store.summaries() if s.edges_kept is not None]
    assert others
    figures = {
        "metric": "kl",
        "null": {"drawn": 40, "percentile": 0.875, "faithfulness": [], "metrics": {}},
        "curve": [],
        "cmd": 0.25,
        "cpr": 0.75,
        "cmd_interval": [0.125, 0.5],
        "cpr_interval": None,
        "ablations": {
            name: {
                "metrics": {
                    "kl": {"circuit": 0.0, "model": 0.0, "ablated": 1.0, "faithfulness": share}
                },
                "forwards": 1,
                "donors": None,
            }
            for name, share in (("adversarial", 0.0625), ("zero", 0.375))
        },
    }
    own_store.add_evaluation(StoredEvaluation(first, {"seed": 0}, figures, 1.0, {}, 1000.0))
    build(own_store, own_site, jobs=1)
    evaluated = [p for p in own_site.glob("t/*/zoo*.html") if 'id="evaluation"' in p.read_text()]
    (page,) = evaluated
    rows = page.read_text().split('id="evaluation"')[1].split("</table>")[0].split("<tr>")[1:]
    assert sorted(len(_DASHES.findall(row)) for row in rows[1:]) == [7, 10]
    # CMD before CPR, with an interval where it has one; ablations in the order of evaluations
    assert rows[0].index("CMD") < rows[0].index("CPR")
    assert [row.count("0.125 to 0.500") for row in rows[1:]].count(1) == 1
    under = page.read_text().split("Faithfulness under each ablation")[1].split("</table>")[0]
    assert under.index("zero") < under.index("adversarial")
    assert re.search("38.%.*6.2.%", under, re.DOTALL)
    assert len(_DASHES.findall(under)) == 2
