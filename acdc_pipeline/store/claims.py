"""Claims: which driver executes which run, where several drivers share the work of one store.

A claim is a file `claims/<run_id>.<generation>.json`, created only if it is absent, which its
driver rewrites with a higher `beat` while it lives. It has lapsed

- if its content has not changed for as long as its lease, as another driver observed it by its own
  monotonic clock: clocks of two machines, or of a machine and an object store, are never compared;
- at once, if the driver ran under the same kernel and does not hold its lock file any more: a
  process that is killed loses its locks.

A lapsed claim of generation g is taken over by creating that of generation g + 1, so that of
several drivers one succeeds. A driver that was only suspended may go on with a run that was taken
over: the run is then executed twice, and committed once.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from acdc_pipeline.errors import StoreError
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.store import layout
from acdc_pipeline.store.backends.base import Backend
from acdc_pipeline.store.errors import storage_errors, write_errors
from acdc_pipeline.store.locks import hold, is_locked

LEASE = 60.0
"""Seconds after which the run of a driver that died on another machine is taken over."""

LEAST_LEASE = 1.0

_BEATS_PER_LEASE = 3


@dataclass(frozen=True)
class Claim:
    """The content of a claim.

    Args:
        driver: name of the driver, unlike any other.
        kernel: identifies the running kernel of its machine; None where the lock file of the driver
            says nothing, in object stores and on file systems without locks.
        lease: seconds without a new beat after which the claim has lapsed.
    """

    driver: str
    host: str
    kernel: str | None
    lease: float
    beat: int = 0

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def parse(cls, content: bytes) -> Claim | None:
        """Return the claim in a file; None for one that is half written or of another form."""
        try:
            found = read_json(content)
            kernel = found["kernel"]
            return cls(
                driver=str(found["driver"]),
                host=str(found["host"]),
                kernel=None if kernel is None else str(kernel),
                lease=float(found["lease"]),
                beat=int(found["beat"]),
            )
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class _Observed:
    """A claim of another driver: since when its content has been the same."""

    generation: int
    content: bytes
    since: float


class Claims(AbstractContextManager["Claims"]):
    """The claims of one driver, released when it ends.

    Args:
        lease: seconds without a sign of this driver after which others may take its runs.
        clock: a monotonic clock, in seconds.
        renew: whether a thread renews the claims; without it, `renew_all` has to be called.
    """

    def __init__(
        self,
        backend: Backend,
        lease: float = LEASE,
        *,
        clock: Callable[[], float] = time.monotonic,
        renew: bool = True,
    ) -> None:
        self._backend = backend
        self._lease = lease
        self._clock = clock
        self._renew = renew
        self._driver = layout.new_suffix()
        self._own: dict[str, tuple[int, Claim]] = {}
        self._observed: dict[str, _Observed] = {}
        self._alive: set[str] = set()
        self._changing = threading.Lock()
        self._ended = threading.Event()
        self._held = ExitStack()
        self._locking = False
        self._kernel: str | None = None

    def __enter__(self) -> Self:
        if self._renew:
            thread = threading.Thread(target=self._renew_until_ended, daemon=True)
            thread.start()
            self._held.callback(thread.join)
        self._held.callback(self._ended.set)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._held, suppress(StoreError):
            for run_id in list(self._own):
                self.release(run_id)

    def others(self) -> set[str]:
        """Return the runs that other drivers execute, after looking at their claims.

        Raises:
            StoreError: the store cannot be read.
        """
        with storage_errors(self._backend.url):
            self._backend.refresh()
            newest = _newest(self._backend.names(layout.CLAIMS))
            foreign = {i: g for i, g in newest.items() if self._own.get(i, (-1,))[0] < g}
            items = sorted(foreign.items())
            contents = self._backend.map(lambda item: self._read(*item), items)
        now = self._clock()
        observed: dict[str, _Observed] = {}
        for (run_id, generation), content in zip(items, contents, strict=True):
            if content is None:
                continue  # released meanwhile
            before = self._observed.get(run_id)
            if before and (before.generation, before.content) == (generation, content):
                observed[run_id] = before
            else:
                observed[run_id] = _Observed(generation, content, now)
        self._observed = observed
        self._alive = {i for i, seen in observed.items() if not self._has_lapsed(seen, now)}
        return set(self._alive)

    def take(self, run_id: str) -> bool:
        """Claim a run that `others` did not return. Returns whether it is claimed by this driver.

        Raises:
            StoreFailed: the store cannot be written.
        """
        if run_id in self._own:
            return True
        # Whether a claim has lapsed is known from the moment of the last observation alone.
        if run_id in self._alive:
            return False
        seen = self._observed.get(run_id)
        generation = 0 if seen is None else seen.generation + 1
        with write_errors(self._backend.url):
            self._hold_lock()
            host = socket.gethostname()
            claim = Claim(self._driver, host, self._kernel, self._lease)
            name = layout.claim_name(run_id, generation)
            taken = self._backend.put_if_absent(claim.encode(), layout.CLAIMS, name)
        if taken:
            with self._changing:
                self._own[run_id] = generation, claim
        return taken

    def release(self, run_id: str) -> None:
        """Give up the claim of a run, and remove the lapsed ones before it. Raises StoreError."""
        with self._changing:
            claimed = self._own.pop(run_id, None)
        if claimed is None:
            return
        with write_errors(self._backend.url):
            for generation in range(claimed[0] + 1):
                self._backend.remove(layout.CLAIMS, layout.claim_name(run_id, generation))

    def renew_all(self) -> None:
        """Show that this driver lives, in each of its claims."""
        for run_id in list(self._own):
            with self._changing, suppress(StoreError), storage_errors(self._backend.url):
                if run_id in self._own:
                    generation, claim = self._own[run_id]
                    claim = replace(claim, beat=claim.beat + 1)
                    self._own[run_id] = generation, claim
                    name = layout.claim_name(run_id, generation)
                    self._backend.write_cache(claim.encode(), layout.CLAIMS, name)

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(self._lease / _BEATS_PER_LEASE):
            self.renew_all()

    def _read(self, run_id: str, generation: int) -> bytes | None:
        return self._backend.read(layout.CLAIMS, layout.claim_name(run_id, generation))

    def _has_lapsed(self, seen: _Observed, now: float) -> bool:
        claim = Claim.parse(seen.content)
        lease = self._lease if claim is None else claim.lease
        if now - seen.since >= lease:
            return True
        folder = self._backend.folder
        if claim is None or folder is None or claim.kernel is None:
            return False
        return claim.kernel == _kernel() and not is_locked(_lock_file(folder, claim.driver))

    def _hold_lock(self) -> None:
        """Hold the lock file of this driver from its first claim on, in a folder with locks."""
        folder = self._backend.folder
        if folder is None or self._locking:
            return
        self._locking = True
        path = _lock_file(folder, self._driver)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(hold(path))
        if is_locked(path):
            self._kernel = _kernel()


def _newest(names: set[str]) -> dict[str, int]:
    """Return the highest generation of the claims of each run."""
    found: dict[str, int] = {}
    for name in names:
        if parsed := layout.claim_of(name):
            run_id, generation = parsed
            found[run_id] = max(generation, found.get(run_id, 0))
    return found


def _lock_file(folder: Path, driver: str) -> Path:
    # from a file that another process wrote
    return folder / layout.CLAIMS / f"{re.sub('[^0-9a-f]', '', driver)}.lock"


@cache
def _kernel() -> str | None:
    """Return what identifies the running kernel; None where it cannot be known."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return None
