"""The cache: what a build read is not read again, and never believed when it may be wrong."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acdc_pipeline.store import Store, open_store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.cache import NAME, read_cache, write_cache
from acdc_pipeline.wiki.models import Model, restore_profiles
from acdc_pipeline.wiki.output import digest_of, program_digest
from acdc_pipeline.wiki.runs import CachedRun, StoreContents, read_store
from tests import wiki_store
from tests.unit.wiki.conftest import TINY
from tests.unit.wiki.test_build import files_of


@pytest.fixture
def gathered(tiny_store: Store) -> StoreContents:
    return read_store(tiny_store)


def reseal(data: bytes) -> bytes:
    """A file of one part with the right digest and length, whatever stands in it."""
    line, _, rest = data.partition(b"\n")
    body = rest[40:]
    return line + b"\n" + digest_of(body).encode() + len(body).to_bytes(8, "little") + body


def test_cache_gives_back_every_run_as_it_was_read(gathered: StoreContents, tmp_path: Path):
    write_cache(tmp_path, "this", gathered.cached)
    again = read_cache(tmp_path, "this")
    assert list(again) == [run.run_id for run in gathered.runs]
    for run in gathered.runs:
        found = again[run.run_id].run
        assert (found.spec, found.shape, found.edges) == (run.spec, run.shape, run.edges)
        assert (found.metrics, found.details) == (run.metrics, run.details)
        assert (found.digest, found.measured) == (run.digest, run.measured)
        assert found.profile == run.profile
        assert list(found.scores) == list(run.scores)
        for metric, score in run.scores.items():
            np.testing.assert_array_equal(found.scores[metric].values, score.values)
            np.testing.assert_array_equal(found.scores[metric].low, score.low)


def test_new_runs_are_added_to_the_cache_until_they_are_many(
    gathered: StoreContents, tmp_path: Path
):
    items = gathered.cached
    late = sorted(items, key=lambda run_id: len(items[run_id].run.scores))[:2]
    early = {run_id: item for run_id, item in items.items() if run_id not in late}
    write_cache(tmp_path, "this", early)
    first = (tmp_path / NAME).read_bytes()
    one = early | {late[0]: items[late[0]]}
    write_cache(tmp_path, "this", one, read_cache(tmp_path, "this"))
    assert (tmp_path / NAME).read_bytes()[: len(first)] == first
    assert read_cache(tmp_path, "this").keys() == one.keys()
    # a part of another program, as of a build that was killed while another was installed
    write_cache(tmp_path, "that", items, read_cache(tmp_path, "this"))
    assert read_cache(tmp_path, "this") == {}
    # more than a quarter of the first part, and runs that are gone
    for now, before in ((items, {late[0]: items[late[0]]}), (early, items)):
        write_cache(tmp_path, "this", before)
        write_cache(tmp_path, "this", now, read_cache(tmp_path, "this"))
        whole = (tmp_path / NAME).read_bytes()
        assert read_cache(tmp_path, "this").keys() == now.keys()
        write_cache(tmp_path, "this", now)
        assert (tmp_path / NAME).read_bytes() == whole


def test_gather_reads_what_is_new_or_was_written_since(tiny_store: Store, tmp_path: Path):
    assert tiny_store.folder is not None
    shutil.copytree(tiny_store.folder, tmp_path / "own")
    store = open_store(tmp_path / "own", mode="write")
    known = read_store(store).cached
    assert read_store(store, cached=known).runs_read == 0
    draw = np.random.default_rng(7)
    store.commit(next(wiki_store.circuit_records(TINY[0], "ioi", (0.05,), draw)))
    assert read_store(store, cached=known).runs_read == 1
    touched = next(iter(known))
    os.utime(Path(store.path(touched)) / "run.json", (0, 0))
    again = read_store(store, cached=known)
    assert again.runs_read == 2
    assert len(again.runs) == len(known) + 1


def test_runs_that_are_gone_are_gone_from_the_site_and_from_the_cache(
    tiny_store: Store, tiny_site: Path, tmp_path: Path
):
    assert tiny_store.folder is not None
    shutil.copytree(tiny_store.folder, tmp_path / "own")
    store = open_store(tmp_path / "own", mode="write")
    out = Path(shutil.copytree(tiny_site, tmp_path / "site"))
    first, *others = store.run_ids()
    shutil.rmtree(store.path(first))
    build(store, out, jobs=1)
    assert list(read_cache(out, program_digest())) == others
    assert files_of(out) == files_of(build(store, tmp_path / "fresh", jobs=1).out)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def with_a_flipped_bit(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


def of_another_form(data: bytes) -> bytes:
    return data.replace(b"wiki-cache 4", b"wiki-cache 9", 1)


def without_an_end(data: bytes) -> bytes:
    """The numbers are missing, and the digest is right."""
    length = int.from_bytes(data[67:75], "little")
    return reseal(data[: 75 + length])


def with_other_content(data: bytes) -> bytes:
    packed = zlib.compress(b'{"program":"this","sixes":[],"runs":[]}')
    return reseal(data[:67] + len(packed).to_bytes(8, "little") + packed)


def empty(data: bytes) -> bytes:
    return b""


@pytest.mark.parametrize(
    "spoil", [cut, with_a_flipped_bit, of_another_form, without_an_end, with_other_content, empty]
)
def test_cache_that_is_not_what_was_written_counts_as_nothing(
    gathered: StoreContents, tmp_path: Path, spoil: Callable[[bytes], bytes]
):
    write_cache(tmp_path, "this", gathered.cached)
    path = tmp_path / NAME
    path.write_bytes(spoil(path.read_bytes()))
    assert read_cache(tmp_path, "this") == {}


def test_cache_of_another_version_of_the_program_counts_as_nothing(
    gathered: StoreContents, tmp_path: Path
):
    write_cache(tmp_path, "this", gathered.cached)
    assert read_cache(tmp_path, "that") == {}
    assert read_cache(tmp_path / "nowhere", "this") == {}


def test_site_is_the_same_with_a_cache_and_without(
    tiny_store: Store, tiny_site: Path, tmp_path: Path
):
    """With a cache alone all pages are written from what it says."""
    out = tmp_path / "site"
    out.mkdir()
    for name in (NAME, ".acdc-wiki.json"):
        shutil.copy2(tiny_site / name, out / name)
    built = build(tiny_store, out, jobs=1)
    assert built.written == built.files
    assert files_of(out) == files_of(tiny_site)
    (out / NAME).write_bytes(b"no cache")
    assert build(tiny_store, out, jobs=1).written == 0
    assert (out / NAME).read_bytes() == (tiny_site / NAME).read_bytes()


@pytest.mark.parametrize("is_damaged", [False, True])
def test_new_profile_replaces_nearest_heads_in_whole_pages_of_other_models(
    tiny_store: Store,
    tiny_site: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_damaged: bool,
):
    assert tiny_store.folder is not None
    shutil.copytree(tiny_store.folder, tmp_path / "own")
    store = open_store(tmp_path / "own", mode="write")
    out = Path(shutil.copytree(tiny_site, tmp_path / "site"))
    draw = np.random.default_rng(5)
    grids = wiki_store.score_grids(TINY[0], ("docstring",), draw)
    before = wiki_store.score_grids(TINY[0], ("ioi",), np.random.default_rng((0, 0)))
    for metric, grid in grids.items():
        # every head is of many kinds on the task; what needs no task is as it was
        grid[:] = np.clip(grid + 0.9, -1, 1) if ":" in metric else before[metric]
    store.commit(wiki_store.profile_record(TINY[0], "docstring", grids, draw))
    page = out / "m" / "zoo-gpt2-4l-s0" / "a0.h1.html"
    kept = page.read_bytes()
    if is_damaged:
        # of the right size, and with a list that can be replaced
        page.write_bytes(kept.replace(b"Layer 0 of", b"Layer 9 of"))
    models: list[str] = []

    def note(model: Model, *rest: Any) -> Model:
        models.append(model.slug)
        return restore_profiles(model, *rest)

    monkeypatch.setattr("acdc_pipeline.wiki.model_pages.restore_profiles", note)
    build(store, out, jobs=1)
    assert models == ["zoo-attn-2l", *(["zoo-gpt2-4l-s0"] if is_damaged else [])]
    assert page.read_bytes() != kept
    assert files_of(out) == files_of(build(store, tmp_path / "fresh", jobs=1).out)


def test_known_runs_are_found_by_what_the_listing_says(tiny_store: Store):
    """A run whose listing is another was written since, whatever its name."""
    known = {i: CachedRun("other", k.run) for i, k in read_store(tiny_store).cached.items()}
    assert read_store(tiny_store, cached=known).runs_read == len(known)
