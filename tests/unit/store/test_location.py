from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store import default_location, open_store
from acdc_pipeline.store.backends.object import ObjectBackend
from acdc_pipeline.store.location import open_backend


def test_location_environment_comes_first(tmp_path: Path):
    (tmp_path / "acdc.yaml").touch()
    assert default_location({"ACDC_STORE": "s3://bucket/runs"}, tmp_path) == "s3://bucket/runs"


def test_location_empty_environment_counts_as_none(tmp_path: Path):
    assert default_location({"ACDC_STORE": ""}, tmp_path) == str(tmp_path / "acdc-results")


def test_location_in_a_project_is_its_results_folder(tmp_path: Path):
    (tmp_path / "acdc.yaml").touch()
    inside = tmp_path / "notebooks"
    inside.mkdir()
    assert default_location({}, inside) == str(tmp_path / "results" / "runs")


def test_location_stays_when_the_folder_becomes_a_project(tmp_path: Path):
    (tmp_path / "acdc-results" / "runs" / "5d2d").mkdir(parents=True)
    (tmp_path / "acdc.yaml").touch()
    inside = tmp_path / "tasks"
    inside.mkdir()
    for folder in (tmp_path, inside):
        assert default_location({}, folder) == str(tmp_path / "acdc-results")


def test_location_of_a_project_with_runs_is_not_given_up_for_an_older_one(tmp_path: Path):
    (tmp_path / "acdc-results" / "runs" / "5d2d").mkdir(parents=True)
    (tmp_path / "results" / "runs" / "runs" / "3f2a").mkdir(parents=True)
    (tmp_path / "acdc.yaml").touch()
    assert default_location({}, tmp_path) == str(tmp_path / "results" / "runs")


def test_location_of_a_project_is_not_an_empty_older_store(tmp_path: Path):
    (tmp_path / "acdc-results" / "runs").mkdir(parents=True)
    (tmp_path / "acdc.yaml").touch()
    assert default_location({}, tmp_path) == str(tmp_path / "results" / "runs")


def test_location_outside_a_project_is_beside_the_user(tmp_path: Path):
    assert default_location({}, tmp_path) == str(tmp_path / "acdc-results")


def test_open_store_without_a_location_takes_the_default(store_url: str):
    assert open_store().url == store_url


@pytest.mark.parametrize("form", ["{}", "file://{}", "{}/", "{}/../store"])
def test_open_store_of_a_local_folder_in_any_form_is_that_folder(form: str, tmp_path: Path):
    store = open_store(form.format(tmp_path / "store"))
    assert store.folder == tmp_path / "store"
    assert store.url == str(tmp_path / "store")


def test_open_store_relative_stays_where_it_was_when_the_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    store = open_store("results")
    monkeypatch.chdir("/")
    assert store.folder == tmp_path / "results"


def test_open_store_to_read_creates_nothing(tmp_path: Path):
    store = open_store(tmp_path / "store")
    assert (store.run_ids(), store.summaries(), store.damaged()) == ([], [], [])
    assert not store.has("0" * 20)
    assert list(tmp_path.iterdir()) == []


def test_open_store_to_write_makes_it_and_leaves_no_probe(tmp_path: Path):
    open_store(tmp_path / "a" / "store", mode="write")
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))
    assert left == ["a", "a/store", "a/store/runs", "a/store/tmp"]


def test_open_store_that_is_a_file_is_refused(tmp_path: Path):
    path = tmp_path / "store"
    path.touch()
    with pytest.raises(StoreError) as caught:
        open_store(path)
    assert str(caught.value).startswith(f"{path}: is a file, not a folder")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nosuch://bucket/runs", "'nosuch' is not a kind of store"),
        (" ", "no name"),
        ("zip://x", "runs cannot be written to zip://"),
        ("http://localhost:1/x", "runs cannot be written to http://"),
        ("dir://x", "cannot be opened"),
        ("s3://", "names no bucket"),
    ],
)
def test_open_store_of_no_known_kind_is_refused(url: str, says: str):
    with pytest.raises(StoreError) as caught:
        open_store(url)
    assert says in str(caught.value)
    assert "s3://" in str(caught.value.allowed)


def test_backend_in_memory_has_no_folder_and_no_bucket():
    backend = open_backend("memory://runs")
    assert isinstance(backend, ObjectBackend)
    assert (backend.folder, backend.bucket) == (None, None)
