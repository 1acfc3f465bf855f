"""Do two processes see the same store? One lights a beacon in it, the other looks for it.

A folder of the same name on the disk of another machine is another store: what is committed there
is lost to everybody else.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store import layout
from acdc_pipeline.store.faults import store_faults
from acdc_pipeline.store.store import Store


def _new_name() -> str:
    # Named like a trial of writing, which is what it is: the cleaning of a store removes it where
    # the process that lit it was killed.
    return f"probe.{secrets.token_hex(8)}"


@dataclass(frozen=True)
class Beacon:
    """An empty file in a store, by a name that nobody else has.

    Args:
        store: where it is lit.
        name: what to look for.
    """

    store: Store
    name: str = field(default_factory=_new_name)

    def light(self) -> None:
        """Lets others see it. Raises StoreError where the store cannot be written."""
        with store_faults(self.store.url):
            if self.store.place.folder is not None:
                (self.store.place.folder / layout.TMP).mkdir(parents=True, exist_ok=True)
            self.store.place.fs.pipe_file(self._path, b"")

    def put_out(self) -> None:
        """Removes it, if it is lit. Raises StoreError where that fails."""
        with store_faults(self.store.url), suppress(FileNotFoundError):
            self.store.place.fs.rm_file(self._path)

    def check_seen(self, here: str) -> None:
        """Raises StoreError unless this process, on the machine `here`, sees it too."""
        with store_faults(self.store.url):
            self.store.place.fs.invalidate_cache()
            seen = self.store.place.fs.exists(self._path)
        if not seen:
            raise StoreError(
                f"is another store on {here} than where the sweep was started",
                where=self.store.url,
                fix="use a folder that all nodes share, or an object store: "
                "--store s3://bucket/path",
            )

    @property
    def _path(self) -> str:
        return self.store.place.path(layout.TMP, self.name)
