"""Claims of several drivers on one store: each run has one driver, and a dead one blocks no run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from acdc_pipeline.store import Store, layout, open_store
from acdc_pipeline.store.claims import Claim, Claims
from tests.support import REPOSITORY

RUN, OTHER = "a" * 20, "b" * 20


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield open_store(tmp_path / "store", "write")
        return
    url = f"memory://bucket/{tmp_path.name}"
    yield open_store(url)
    memory = fsspec.filesystem("memory")
    if memory.exists(url):
        memory.rm(url, recursive=True)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def driver(store: Store, clock: Clock, lease: float = 60.0) -> Claims:
    return Claims(store.backend, lease, clock=clock, renew=False)


def claim_files(store: Store) -> list[str]:
    return sorted(n for n in store.backend.names(layout.CLAIMS) if n.endswith(".json"))


def test_claim_of_one_driver_keeps_others_from_the_run(store: Store, clock: Clock):
    with driver(store, clock) as first, driver(store, clock) as second:
        assert (first.others(), second.others()) == (set(), set())
        assert first.take(RUN)
        assert first.take(RUN)  # it is its own already
        assert not second.take(RUN)
        assert second.others() == {RUN}
        assert not second.take(RUN)
        assert second.take(OTHER)
        assert first.others() == {OTHER}
        first.release(RUN)
        assert second.others() == set()
        assert second.take(RUN)
    assert claim_files(store) == []


def test_claim_of_eight_racing_drivers_is_given_to_one(store: Store, clock: Clock):
    drivers = [driver(store, clock) for _ in range(8)]
    together = threading.Barrier(8)
    taken: list[bool] = []

    def take(claims: Claims) -> None:
        together.wait()
        taken.append(claims.take(RUN))

    threads = [threading.Thread(target=take, args=(claims,)) for claims in drivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 7 + [True]
    for claims in drivers:
        claims.__exit__(None, None, None)


def test_claim_that_is_renewed_does_not_lapse_and_one_that_is_not_does(store: Store, clock: Clock):
    first, second = driver(store, clock), driver(store, clock)
    first.take(RUN)
    for _ in range(5):
        assert second.others() == {RUN}
        clock.now += 59
        first.renew_all()
    assert second.others() == {RUN}
    clock.now += 59
    assert second.others() == {RUN}
    clock.now += 1
    assert second.others() == set()
    assert second.take(RUN)
    assert claim_files(store) == [f"{RUN}.0.json", f"{RUN}.1.json"]
    # the first was only suspended: it sees that the run is no longer its own
    assert first.others() == {RUN}
    second.release(RUN)
    assert claim_files(store) == []


def test_claim_is_not_lapsed_for_a_driver_that_sees_it_for_the_first_time(
    store: Store, clock: Clock
):
    first = driver(store, clock)
    first.take(RUN)
    clock.now += 1e6  # the time of the claim's file does not count, whatever clock wrote it
    second = driver(store, clock)
    assert second.others() == {RUN}


def test_claim_that_has_lapsed_goes_to_one_of_several_drivers(store: Store, clock: Clock):
    first = driver(store, clock)
    first.take(RUN)
    takers = [driver(store, clock) for _ in range(3)]
    assert [taker.others() for taker in takers] == [{RUN}] * 3
    clock.now += 60
    assert [taker.others() for taker in takers] == [set()] * 3
    assert [taker.take(RUN) for taker in takers] == [True, False, False]


def test_claim_lapses_by_the_lease_of_its_driver(store: Store, clock: Clock):
    first = driver(store, clock, lease=10.0)
    first.take(RUN)
    taker = driver(store, clock, lease=1000.0)
    assert taker.others() == {RUN}
    clock.now += 10
    assert taker.others() == set()


def test_claim_that_is_not_looked_at_again_is_not_taken_over(store: Store, clock: Clock):
    first, second = driver(store, clock), driver(store, clock)
    first.take(RUN)
    assert second.others() == {RUN}
    clock.now += 1e6
    assert not second.take(RUN)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"driver": "x"}', b"\xff"])
def test_claim_of_another_form_holds_for_a_lease(store: Store, clock: Clock, content: bytes):
    store.backend.put_if_absent(content, layout.CLAIMS, layout.claim_name(RUN, 3))
    taker = driver(store, clock)
    assert taker.others() == {RUN}
    clock.now += 60
    assert taker.others() == set()
    assert taker.take(RUN)
    taker.release(RUN)
    assert claim_files(store) == []


def test_claim_reads_back_as_it_was_written():
    claim = Claim("0123456789abcdef", "host", None, 60.0, 7)
    assert Claim.parse(claim.encode()) == claim


def test_claims_are_renewed_by_a_thread_until_the_driver_ends(store: Store):
    path = (layout.CLAIMS, layout.claim_name(RUN, 0))
    with Claims(store.backend, lease=0.03) as claims:
        claims.take(RUN)
        first = store.backend.read(*path)
        seen = threading.Event()
        while not seen.wait(0.01) and store.backend.read(*path) == first:
            pass
    assert store.backend.read(*path) is None
    assert threading.active_count() < 50


def test_claims_that_cannot_be_renewed_raise_nothing(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    claims = driver(store, clock)
    claims.take(RUN)
    monkeypatch.setattr(type(store.backend), "write_cache", refuse)
    claims.renew_all()


KILLED = """
import sys, time
from acdc_pipeline.store import open_store
from acdc_pipeline.store.claims import Claims
with Claims(open_store(sys.argv[1]).backend, lease=1e6) as claims:
    assert claims.take(sys.argv[2])
    print("claimed", flush=True)
    time.sleep(600)
"""


def test_claim_of_a_process_that_was_killed_on_this_machine_lapses_at_once(tmp_path: Path):
    store = open_store(tmp_path / "store", "write")
    command = [sys.executable, "-c", KILLED, store.url, RUN]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        with Claims(store.backend) as claims:
            assert claims.others() == {RUN}
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert claims.others() == set()
            assert claims.take(RUN)
    assert claim_files(store) == []
