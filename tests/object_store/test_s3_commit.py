"""Commits to a real S3 server, by processes that race, die, or lose the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from acdc_pipeline.errors import StoreFailed
from acdc_pipeline.store import Store, StoredEvaluation, open_store
from acdc_pipeline.store.backends.base import ABANDONED, COMMITTED, NO_RUN
from acdc_pipeline.store.codec import encode
from tests import records
from tests.faulty_proxy import Verdict, at_marker, faulty_proxy
from tests.s3_server import S3Server
from tests.support import REPOSITORY

RECORD = records.record()
RUN_ID = RECORD.spec.run_id()
WHOLE_RUN = len([*encode(RECORD), "_COMMIT.json"])


@pytest.fixture
def store(bucket: str) -> Store:
    return open_store(f"s3://{bucket}/some/runs", mode="write")


def through(url: str, bucket: str) -> Store:
    """The store, reached through the server at `url`."""
    return open_store(f"s3://{bucket}/some/runs", options={"endpoint_url": url})


def of_runs(keys: list[str]) -> list[str]:
    return [key for key in keys if key.startswith("some/runs/runs/")]


def leftovers(store: Store, *, older_than: float) -> list[str]:
    return [item.why for item in store.leftovers(older_than=older_than, now=time.time() + 1)]


def driver(url: str, bucket: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "tests/unit/store/race_driver.py", f"s3://{bucket}/some/runs", str(count)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "AWS_ENDPOINT_URL": url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_s3_store_gives_back_what_was_committed(store: Store, bucket: str, s3_server: S3Server):
    other = records.record(seed=1)
    assert store.commit(RECORD)
    assert store.commit(other)
    assert not store.commit(RECORD)
    assert store.get(RUN_ID) == RECORD
    assert store.read_file(RUN_ID, "edges.parquet").startswith(b"PAR1")
    assert store.run_ids() == sorted([RUN_ID, other.spec.run_id()])
    assert {s.run_id for s in store.summaries()} == set(store.run_ids())
    assert store.resolve(RUN_ID[:6]) == RUN_ID
    assert (store.damaged(), leftovers(store, older_than=0.0)) == ([], [])
    assert len(of_runs(s3_server.keys(bucket))) == 2 * WHOLE_RUN


def test_s3_store_that_was_tried_out_holds_nothing(store: Store, bucket: str, s3_server: S3Server):
    """The trial also finds out that the server lets only one of two writers create an object."""
    store.check_writable()
    assert s3_server.keys(bucket) == []


def test_s3_run_that_was_damaged_is_replaced(store: Store, bucket: str, s3_server: S3Server):
    store.commit(RECORD)
    [edges] = [key for key in s3_server.keys(bucket) if key.endswith("edges.parquet")]
    s3_server.client("s3").put_object(Bucket=bucket, Key=edges, Body=b"damaged")
    assert [error.where for error in store.damaged()] == [f"run {RUN_ID}"]
    assert store.commit(RECORD)
    assert store.get(RUN_ID) == RECORD
    # The damaged attempt is what is left; its age does not matter, because a whole run is there.
    assert leftovers(store, older_than=1e6) == [COMMITTED]


@pytest.mark.slow
def test_s3_commit_of_eight_racing_processes_is_won_by_one(bucket: str, s3_server: S3Server):
    all_there, first_eight = threading.Barrier(8), iter(range(8))

    def together(method: str, path: str) -> Verdict:
        """Holds every marker back until eight have come; then one after the other goes in.

        The server that stands in for S3 looks and then puts, in threads; S3 does both at once.
        """
        if method == "PUT" and path.endswith("/_COMMIT.json"):
            if next(first_eight, None) is not None:
                all_there.wait(timeout=300)
            return "pass alone"
        return "pass"

    with faulty_proxy(s3_server.url, together) as proxy, driver(proxy.url, bucket, 8) as racers:
        assert racers.stdin is not None
        assert racers.stdout is not None
        assert [racers.stdout.readline() for _ in range(8)] == ["ready\n"] * 8
        answers, _ = racers.communicate("go\n")
    assert sorted(answers.split()) == ["False"] * 7 + ["True"]
    assert len(of_runs(s3_server.keys(bucket))) == WHOLE_RUN
    store = through(s3_server.url, bucket)
    assert store.get(RUN_ID) == RECORD
    assert leftovers(store, older_than=0.0) == []


@pytest.mark.slow
def test_s3_writer_killed_before_its_marker_leaves_no_run_and_what_it_left_can_be_removed(
    bucket: str, s3_server: S3Server
):
    at_the_marker, killed = threading.Event(), threading.Event()

    def hold_the_marker(method: str, path: str) -> Verdict:
        if path.endswith("/_COMMIT.json") and method == "PUT":
            at_the_marker.set()
            killed.wait()
            return "go away"
        return "pass"

    with (
        faulty_proxy(s3_server.url, hold_the_marker) as proxy,
        driver(proxy.url, bucket, 1) as writer,
    ):
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
        at_the_marker.wait()
        # The driver and its child are a session of their own.
        os.killpg(writer.pid, signal.SIGKILL)
        killed.set()
    store = through(s3_server.url, bucket)
    assert len(s3_server.keys(bucket)) == WHOLE_RUN - 1
    assert (store.run_ids(), store.damaged(), store.has(RUN_ID)) == ([], [], False)
    assert leftovers(store, older_than=3600.0) == []
    [item] = store.leftovers(older_than=0.0, now=time.time() + 1)
    assert (item.why, item.run_id) == (ABANDONED, RUN_ID)
    store.remove(item)
    assert s3_server.keys(bucket) == []
    assert store.commit(RECORD)


def test_s3_commit_whose_answer_is_lost_is_ours(bucket: str, s3_server: S3Server):
    """The client asks again, and is told that there is a marker: its own."""
    with faulty_proxy(s3_server.url, at_marker("lose the answer")) as proxy:
        assert through(proxy.url, bucket).commit(RECORD)
    assert through(s3_server.url, bucket).get(RUN_ID) == RECORD
    assert len(of_runs(s3_server.keys(bucket))) == WHOLE_RUN


def test_s3_server_that_goes_away_in_the_middle_of_a_commit_does_no_damage(
    bucket: str, s3_server: S3Server
):
    with faulty_proxy(s3_server.url, at_marker("go away")) as proxy:
        store = through(proxy.url, bucket)
        with pytest.raises(StoreFailed) as caught:
            store.commit(RECORD)
    assert "the object store does not answer" in str(caught.value)
    assert caught.value.exit_code == 3
    again = through(s3_server.url, bucket)
    assert (again.run_ids(), again.damaged()) == ([], [])
    assert again.commit(RECORD)
    assert again.get(RUN_ID) == RECORD
    assert leftovers(again, older_than=1e6) == [COMMITTED]


def test_s3_server_that_goes_away_after_the_marker_has_committed_the_run(
    bucket: str, s3_server: S3Server
):
    """The marker arrived, nobody heard of it, and the server is gone: the files must stay."""
    arrived = at_marker("lose the answer")
    seen: list[str] = []

    def lose_and_leave(method: str, path: str) -> Verdict:
        if seen:
            return "go away"
        verdict = arrived(method, path)
        if verdict != "pass":
            seen.append(path)
        return verdict

    with faulty_proxy(s3_server.url, lose_and_leave) as proxy:
        store = through(proxy.url, bucket)
        with pytest.raises(StoreFailed):
            store.commit(RECORD)
    again = through(s3_server.url, bucket)
    assert again.get(RUN_ID) == RECORD
    assert not again.commit(RECORD)
    assert leftovers(again, older_than=0.0) == []


def test_s3_bucket_that_vanishes_before_a_commit_is_a_failure_that_names_it(
    bucket: str, store: Store, s3_server: S3Server
):
    s3_server.client("s3").delete_bucket(Bucket=bucket)
    with pytest.raises(StoreFailed) as caught:
        store.commit(RECORD)
    assert f"the bucket '{bucket}' does not exist" in str(caught.value)
    assert caught.value.exit_code == 3


def test_s3_bucket_that_turns_read_only_before_a_commit_is_a_failure_and_leaves_nothing(
    bucket: str, s3_server: S3Server
):
    key, secret = s3_server.reader()
    with s3_server.guarded():
        options = {"key": key, "secret": secret}
        store = open_store(f"s3://{bucket}/some/runs", options=options)
        assert store.run_ids() == []
        with pytest.raises(StoreFailed, match="permission denied: Access Denied"):
            store.commit(RECORD)
    assert s3_server.keys(bucket) == []


def test_s3_evaluation_beside_a_run_is_given_back_and_goes_with_its_run(store: Store):
    store.commit(records.record())
    run_id = records.spec().run_id()
    kept = StoredEvaluation(run_id, {"seed": 0}, {"metric": "kl", "curve": None}, 1.0, {}, 1000.0)
    store.add_evaluation(kept)
    assert store.evaluation(run_id, kept.evaluation_id) == kept
    assert store.evaluations().by_run == {run_id: (kept,)}
    assert store.has(run_id)
    assert leftovers(store, older_than=0.0) == []
    store.backend.fs.rm(store.backend.path("runs", run_id), recursive=True)
    assert leftovers(store, older_than=0.0) == [NO_RUN]
