"""A wiki published to a real S3 server."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store import open_store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.publish.publish import publish
from acdc_pipeline.wiki.publish.targets import StorageTarget
from tests import records


@pytest.fixture
def site(tmp_path: Path) -> Path:
    store = open_store(tmp_path / "store", mode="write")
    store.commit(dataclasses.replace(records.record(), profile=None))
    return build(store, tmp_path / "site", jobs=1).out


def test_a_wiki_in_a_bucket_is_sent_once_with_media_types(bucket: str, site: Path):
    place = f"s3://{bucket}/wiki"
    published = publish(site, StorageTarget(place), url="https://example.org/", keep=1)
    fs = S3FileSystem()
    assert len(fs.find(place)) == published.files + 1  # and the record
    types = {name: fs.info(f"{place}/{name}", refresh=True) for name in ("index.html", "feed.json")}
    assert types["index.html"]["ContentType"] == "text/html; charset=utf-8"
    assert types["feed.json"]["ContentType"].startswith("application/json")
    assert fs.cat_file(f"{place}/about.html") == (site / "about.html").read_bytes()
    again = publish(site, StorageTarget(place), url="https://example.org/", keep=1)
    assert (again.written, again.removed) == ((), ())
    without = publish(site, StorageTarget(place))
    assert set(without.removed) == {"sitemap.xml"}
    fs.invalidate_cache()
    assert not fs.exists(f"{place}/sitemap.xml")


def test_a_bucket_that_is_not_there_is_named(site: Path):
    with pytest.raises(StoreError, match="bucket"):
        publish(site, StorageTarget("s3://no-such-bucket-here/wiki"))
