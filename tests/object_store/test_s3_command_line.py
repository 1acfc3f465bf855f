"""The command line on an object store: found through the environment, and clear when it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import fsspec.config
import pytest
from s3fs import S3FileSystem

from acdc_pipeline.store import open_store
from tests.command_line import Outcome, acdc
from tests.faulty_proxy import at_marker, faulty_proxy
from tests.s3_server import S3Server

TARGET = ("discover", "compiled_or", "zoo:compiled-or", "--json")
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def discovered(capsys: pytest.CaptureFixture[str]) -> Callable[[str], Outcome]:
    """Finds a small circuit and keeps it in the store at a URL."""

    def discover(url: str) -> Outcome:
        # As a new process would: no client, and no endpoint, from before.
        S3FileSystem.clear_instance_cache()
        return acdc(capsys, *TARGET, "--store", url)

    return discover


def test_s3_discover_keeps_its_run_in_the_bucket_and_answers_from_there(
    capsys, discovered: Callable[[str], Outcome], bucket: str
):
    url = f"s3://{bucket}/runs"
    first, second = discovered(url).document, discovered(url).document
    assert (first["cached"], second["cached"]) == (False, True)
    assert (first["store"], first["path"]) == (url, f"{url}/runs/{first['run_id']}")
    listed = acdc(capsys, "runs", "list", "--store", url, "--json").document
    assert [run["run_id"] for run in listed["runs"]] == [first["run_id"]]
    exported = acdc(capsys, "runs", "export", first["run_id"][:6], "--store", url)
    assert "nodes" in json.loads(exported.out)
    assert "nothing to clean" in acdc(capsys, "runs", "clean", "--store", url).err


def test_s3_clean_removes_what_a_writer_left(capsys, bucket: str, s3_server: S3Server):
    key = f"runs/runs/{'0' * 20}/{'a' * 16}/edges.parquet"
    s3_server.client("s3").put_object(Bucket=bucket, Key=key, Body=b"half")
    url = f"s3://{bucket}/runs"
    listed = acdc(capsys, "runs", "clean", "--store", url, "--older-than", "0s")
    assert f"runs/{'0' * 20}/{'a' * 16}" in listed.out
    assert s3_server.keys(bucket) == [key]
    assert acdc(capsys, "runs", "clean", "--store", url, "--older-than", "0s", "--remove").code == 0
    assert s3_server.keys(bucket) == []


def test_s3_bucket_that_does_not_exist_is_refused_before_anything_runs(
    capsys, discovered: Callable[[str], Outcome]
):
    discovered("s3://nowhere/runs").refuses("s3://nowhere/runs", "the bucket 'nowhere'")
    acdc(capsys, "runs", "list", "--store", "s3://nowhere/runs").refuses("the bucket 'nowhere'")


@pytest.mark.parametrize(
    ("key", "secret", "says"),
    [
        ("unknown", "secret", "does not exist in our records"),
        (None, "wrong", "signature"),
        ("", "", "Unable to locate credentials"),
    ],
)
def test_s3_wrong_credentials_are_refused_before_anything_runs(
    discovered: Callable[[str], Outcome],
    bucket: str,
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    key: str | None,
    secret: str,
    says: str,
):
    known, _ = s3_server.reader()
    for name, value in (("ACCESS_KEY_ID", key), ("SECRET_ACCESS_KEY", secret)):
        if value == "":
            monkeypatch.delenv(f"AWS_{name}")
        else:
            monkeypatch.setenv(f"AWS_{name}", known if value is None else value)
    with s3_server.guarded():
        discovered(f"s3://{bucket}/runs").refuses(f"s3://{bucket}/runs", says, "credentials")


def test_s3_bucket_that_may_only_be_read_is_refused_before_anything_runs_and_can_be_read(
    capsys,
    discovered: Callable[[str], Outcome],
    bucket: str,
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
):
    url = f"s3://{bucket}/runs"
    run_id = discovered(url).document["run_id"]
    key, secret = s3_server.reader()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    with s3_server.guarded():
        again = discovered(url)
        assert (again.code, again.document["cached"]) == (0, True)
        assert acdc(capsys, "runs", "show", run_id, "--store", url).code == 0
        discovered(f"s3://{bucket}/other").refuses("permission denied: Access Denied")


def test_s3_server_that_does_not_answer_is_a_failure_and_no_bad_input(
    discovered: Callable[[str], Outcome], bucket: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOBODY)
    failed = discovered(f"s3://{bucket}/runs")
    assert (failed.code, failed.out) == (3, "")
    assert "the object store does not answer" in failed.err
    assert "AWS_ENDPOINT_URL" in failed.err
    assert "Traceback" not in failed.err


def test_s3_server_that_goes_away_while_a_run_is_committed_fails_it_and_the_same_command_completes(
    discovered: Callable[[str], Outcome],
    bucket: str,
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
):
    url = f"s3://{bucket}/runs"
    with faulty_proxy(s3_server.url, at_marker("go away")) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        failed = discovered(url)
    assert (failed.code, failed.out) == (3, "")
    assert failed.err.count("acdc: ") == 1
    assert "does not answer" in failed.err
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    assert open_store(url, options={"endpoint_url": s3_server.url}).run_ids() == []
    again = discovered(url)
    assert (again.code, again.document["cached"]) == (0, False)


@pytest.mark.parametrize("way", ["AWS_ENDPOINT_URL_S3", "AWS profile", "fsspec variable"])
def test_s3_endpoint_is_found_in_every_place_that_the_documentation_names(
    capsys,
    bucket: str,
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    way: str,
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOBODY)
    if way == "AWS_ENDPOINT_URL_S3":
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.url)
    elif way == "AWS profile":
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        config = tmp_path / "config"
        config.write_text(f"[profile minio]\nendpoint_url = {s3_server.url}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        monkeypatch.setenv("AWS_PROFILE", "minio")
    else:
        # fsspec reads its variables when it is imported, which a new process does.
        monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", s3_server.url)
        monkeypatch.setattr(fsspec.config, "conf", {})
        fsspec.config.set_conf_env(fsspec.config.conf)
        monkeypatch.setattr("fsspec.spec.apply_config", fsspec.config.apply_config)
    S3FileSystem.clear_instance_cache()
    listed = acdc(capsys, "runs", "list", "--store", f"s3://{bucket}/runs")
    assert (listed.code, listed.err.count("no run yet")) == (0, 1)
