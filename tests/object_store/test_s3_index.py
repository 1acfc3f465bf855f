"""The index of a store in S3: requests that a list takes, and what happens where it is wrong."""

from __future__ import annotations

import pytest

from acdc_pipeline.store import Store, open_store
from acdc_pipeline.store.codec import encode
from acdc_pipeline.store.index import Wanted
from tests import records
from tests.faulty_proxy import Verdict, faulty_proxy
from tests.s3_server import S3Server

RUNS = 5


@pytest.fixture
def store(bucket: str) -> Store:
    store = open_store(f"s3://{bucket}/some/runs", mode="write")
    for seed in range(RUNS):
        assert store.commit(records.record(seed))
    return store


def index_keys(s3_server: S3Server, bucket: str) -> list[str]:
    return [key for key in s3_server.keys(bucket) if key.startswith("some/runs/index/")]


def test_s3_list_from_the_index_reads_no_run(store: Store, bucket: str, s3_server: S3Server):
    requests: list[str] = []

    def record_request(method: str, path: str) -> Verdict:
        requests.append(f"{method} {path}")
        return "pass"

    expected = store.summaries()
    with faulty_proxy(s3_server.url, record_request) as proxy:
        options = {"endpoint_url": proxy.url}
        through = open_store(f"s3://{bucket}/some/runs", options=options)
        assert through.summaries() == expected
    assert not [request for request in requests if "run.json" in request.partition("?")[0]]
    assert not [request for request in requests if not request.startswith(("GET", "HEAD"))]


def test_s3_index_that_is_deleted_damaged_or_incomplete_is_corrected(
    store: Store, bucket: str, s3_server: S3Server
):
    expected, client = store.summaries(), s3_server.client("s3")
    first, second, *_ = index_keys(s3_server, bucket)
    client.delete_object(Bucket=bucket, Key=first)
    client.put_object(Bucket=bucket, Key=second, Body=b"damaged")
    later = records.record(RUNS)
    assert store.backend.commit(later.spec.run_id(), encode(later))
    found = open_store(store.url).find(Wanted())
    assert (found.stored, found.damaged) == (RUNS + 1, {})
    assert [s for s in found.summaries if s.spec.seed < RUNS] == expected
    before = index_keys(s3_server, bucket)
    assert store.summaries() == list(found.summaries)
    assert index_keys(s3_server, bucket) == before
    store.backend.fs.rm(store.backend.path("index"), recursive=True)
    assert store.summaries() == list(found.summaries)
    [key] = index_keys(s3_server, bucket)
    assert f"/{RUNS + 1}-" in key
